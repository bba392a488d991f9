"""What a task means, said plainly: what the planner thinks between what it sees and its plan.

A small model works out little between two words, so what it would have to work out is written down where it is needed:
where each thing that is named was seen, or that it was not; cubes from left to right before "the leftmost cube" is
decided on; who goes where before a sort is taken apart.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from itk_embodied.training.vlm_text import entry, listed, place
from itk_sim.errors import SimError
from itk_sim.planning import Intent, covers, oracle_outcome
from itk_sim.predicates import holds
from itk_sim.symbols import BOWLS, CUBES, DIRECTIONS, MATS, TABLE, SceneState

_MEANT = {"left_of": "left of", "right_of": "right of", "in_front_of": "in front of", "closed": "close"}
_OUTERMOST = re.compile(r"\b(?:(leftmost|farthest to the left)|rightmost|farthest to the right)\b", re.I)
_SORTED = 3
"""So many placements at least, in two places, are told place by place first."""


def meaning(intents: Sequence[Intent], state: SceneState, text: str) -> str:
    """What a task means, said plainly: the planner's thought after the listing. ``none`` for what it has no words for.

    ``red cube<x10><y12> under blue cube in teal bowl<x20><y18>;open drawer<x25><y17>``. Behind each thing stands where
    it was seen, or ``gone`` where it was not (``hidden`` if it is here all the same), and what will be on top of it
    when its turn comes, if that must go. Behind each wish stands ``done`` where it is, or ``none`` where it never can
    be. Cubes to be swapped are told as in a listing. So every step, and a refusal, can be read off the thought. Before
    the wishes comes what they are made of, where the ``text`` asks for it:
    ``leftmost<x03>red cube<x09>blue cube;``, ``sort in teal bowl red cube,blue cube,on grey mat green cube;``.
    """
    told, seen = [*_outermost(state, text), *_groups(intents, text)], state
    for intent in intents:
        told.append(_wish(intent, seen, state) + _standing(intent, state))
        try:
            state = oracle_outcome([intent], state)[1]
        except SimError:  # the whole plan has more room than its parts; what follows is told as it is now
            continue
    return "goal " + (";".join(told) if intents else "none")


def _outermost(state: SceneState, text: str) -> list[str]:
    """The cubes from the side that the text names."""
    said = _OUTERMOST.search(text)
    if not said:
        return []
    cubes = sorted((cube for cube in state.cubes if listed(state, cube)), key=lambda cube: state.cell(cube)[0])
    side, ordered = ("leftmost", cubes) if said[1] else ("rightmost", cubes[::-1])
    return [side + "".join(f"<x{state.cell(cube)[0]:02d}>{cube}" for cube in ordered)]


def _groups(intents: Sequence[Intent], text: str) -> list[str]:
    """Which cubes go where, in the order in which the text names the places."""
    groups: dict[tuple[str, str], list[str]] = {}
    for relation, *names in intents:
        if len(names) < 2 or names[1] not in (*BOWLS, *MATS):
            return []
        groups.setdefault((relation, names[1]), []).append(names[0])
    if len(intents) < _SORTED or len(groups) != 2:
        return []
    ordered = sorted(groups.items(), key=lambda group: _said_at(group[0][1], text))
    return ["sort " + ",".join(f"{place[0]} {place[1]} {','.join(cubes)}" for place, cubes in ordered)]


def _said_at(name: str, text: str) -> int:
    """Where a bowl or mat is named in a text; at its end where it is not."""
    colour, kind = name.split()
    other = "gray|grey|mat|pad|placemat|square" if kind == "mat" else "bowl|dish|basin|container"  # "the bowl"
    found = re.search(rf"\b({colour})\b", text, re.I) or re.search(rf"\b({other})\b", text, re.I)
    return found.start() if found else len(text)


def _wish(intent: Intent, seen: SceneState, state: SceneState) -> str:
    relation, *names = intent
    if relation == "swap":
        return "swap " + ",".join(entry(state, name) + _covered(name, names, state) for name in names)
    words, things = _MEANT.get(relation, relation), [_found(name, seen) for name in names]
    if relation in ("open", "closed"):
        return f"{words} {things[0]}"
    things[0] += _covered(names[0], names, state)
    if relation not in DIRECTIONS:  # what stands beside may stay covered
        things[1] += _covered(names[1], names, state)
    return f"{things[0]}{'' if things[0].endswith('>') else ' '}{words} {things[1]}"


def _found(name: str, seen: SceneState) -> str:
    """A thing and where it was seen."""
    if name == TABLE:
        return name
    if name not in seen.names:
        return f"{name} gone"
    return f"{name}{place(seen, name)}" if listed(seen, name) else f"{name} hidden"


def _covered(name: str, names: Sequence[str], state: SceneState) -> str:
    """What is on a cube and has no part in the wish itself, from below."""
    above = reversed(covers(name, state) if name in state.cubes else ())
    return "".join(f" under {cube}" for cube in above if listed(state, cube) and cube not in names)


def _standing(intent: Intent, state: SceneState) -> str:
    """Whether a wish is true already or never can be."""
    relation, *names = intent
    if relation == "swap" or any(name not in (*state.names, TABLE) for name in names):
        return ""
    if _never(intent):
        return ",none"
    return ",done" if holds(intent, state) else ""


def _never(intent: Intent) -> bool:
    """Whether a wish can never come true, wherever things are."""
    relation, *names = intent
    if relation in ("open", "closed"):
        return False
    return names[0] not in CUBES or names[0] == names[1] or (relation == "in" and names[1] in CUBES)
