"""Task families of several placements: tower, sort, swap, clear the table, every cube, chains."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from itk_sim import task_phrases
from itk_sim.draft import Draft, Draw
from itk_sim.families import SINGLE, naming
from itk_sim.planning import Intent, covers, in_plan_order
from itk_sim.predicates import holds
from itk_sim.symbols import DRAWER, TABLE, is_bowl, is_mat
from itk_sim.wording import Clause, Wording

_WARM = ("red cube", "orange cube", "yellow cube")
_MOST_IN = {"bowl": 4, "mat": 4, DRAWER: 2}
_SWAP_APART_M, _SWAP_NEAR_M, _SWAP_CONE = 0.085, 0.22, 0.6


def _holders(draw: Draw, *, drawer: bool) -> list[Intent]:
    """("in", bowl), ("on", mat), …: where several cubes can go."""
    state = draw.state
    found: list[Intent] = [("in", bowl) for bowl in state.bowls]
    found += [("on", state.mat)] if state.mat else []
    found += [("in", DRAWER)] if drawer and state.drawer else []
    return [found[i] for i in draw.rng.permutation(len(found))]


def _room(target: str) -> int:
    return _MOST_IN[target if target == DRAWER else target.split()[1]]


def _placed(draw: Draw, cubes: Sequence[str], where: Intent) -> tuple[Intent, ...] | None:
    """Intents that put the cubes there in plan order; None where they do not fit or all are there."""
    relation, target = where
    intents = tuple((relation, cube, target) for cube in in_plan_order(cubes, draw.state))
    there = [cube for cube in draw.state.cubes if holds((relation, cube, target), draw.state)]
    if len({*there, *cubes}) > _room(target) or all(holds(intent, draw.state) for intent in intents):
        return None
    return intents


def _listed(cubes: Sequence[str], say: Wording) -> str:
    """Cubes by their colours: "the red, green and blue cubes"."""
    colours = [cube.split()[0] for cube in cubes]
    if len(cubes) == 1:
        return say.noun(cubes[0])
    *start, last = colours
    noun = say.one(("cubes", "cubes", "blocks", "ones"))
    if say.chance(0.25):
        return f"the {', the '.join(start)} and the {last} {noun[:-1]}"
    if say.chance(0.3):
        return " and ".join([", ".join(f"the {colour} cube" for colour in start), f"the {last} cube"])
    return (
        f"{say.one(('the', 'the', 'both the') if len(cubes) == 2 else ('the',))} {', '.join(start)} and {last} {noun}"
    )


# --- tower, swap ---


def tower(draw: Draw) -> Draft | None:
    """c at the bottom, b on c, a on b."""
    bottoms = [cube for cube in draw.seen if draw.level(cube) == 1]
    c = draw.one(bottoms)
    rest = [cube for cube in draw.seen if cube != c]
    if c is None or len(rest) < 2:
        return None
    b, a = rest[:2]

    def words(say: Wording) -> list[Clause]:
        if say.chance(0.15):  # bare colours, as in "red on green on blue"
            names = {key: say.expand("[the ]" + cube.split()[0]) for key, cube in (("a", a), ("b", b), ("c", c))}
        else:
            names = {"a": say.noun(a), "b": say.noun(b), "c": say.noun(c)}
        return [say.clause(task_phrases.TOWER, **names)]

    return Draft((("on", b, c), ("on", a, b)), words, new=(("on", a, b),))


def swappable(a: str, b: str, draw: Draw) -> bool:
    """Whether a swap of two cubes can be told from the picture: two places on the table that lie clearly left and right
    of, or before and behind, each other; or two different places of which one is not the table."""
    state = draw.state
    one, two = state.support[a], state.support[b]
    if a in covers(b, state) or b in covers(a, state) or DRAWER in (one, two):
        return False
    if one != TABLE or two != TABLE:
        return one != two and not {one, two} & {*covers(a, state), *covers(b, state)}
    dx, dy = np.abs(np.subtract(state.position_m[a], state.position_m[b]))[:2]
    along, across = max(dx, dy), min(dx, dy)
    return bool(along >= _SWAP_APART_M and across <= _SWAP_CONE * along and np.hypot(dx, dy) <= _SWAP_NEAR_M)


def swap(draw: Draw) -> Draft | None:
    cubes = draw.seen
    pairs = [(a, b) for i, a in enumerate(cubes) for b in cubes[i + 1 :] if swappable(a, b, draw)]
    if not pairs:
        return None
    a, b = pairs[0]
    return Draft((("swap", a, b),), lambda say: [say.clause(task_phrases.SWAP, a=say.noun(a), b=say.noun(b))], new=())


# --- sets of cubes ---


def every_cube(draw: Draw) -> Draft | None:
    """Every cube, or all but one, to one place: one step for each that is not there yet."""
    if not draw.all_seen or len(draw.state.cubes) < 2:
        return None
    cubes = draw.state.cubes
    spared = draw.one(cubes) if draw.chance(0.2) and len(cubes) > 2 else None
    for relation, target in _holders(draw, drawer=True):
        if spared and holds((relation, spared, target), draw.state):
            continue
        intents = _placed(draw, [cube for cube in cubes if cube != spared], (relation, target))
        if intents:
            return Draft(intents, partial(_every_clauses, relation, target, spared), new=())
    return None


def _every_clauses(relation: str, target: str, spared: str | None, say: Wording) -> list[Clause]:
    def everyone() -> str:
        whole = say.expand(say.pick(task_phrases.ALL_CUBES))
        return say.expand(say.pick(task_phrases.EXCEPT), all=whole, obj=say.noun(spared)) if spared else whole

    table = naming(task_phrases.EVERY, "all") if spared else task_phrases.EVERY  # who is spared must be said
    return [say.clause(table, **{**say.place_slots("red cube", relation, target), "all": everyone})]


def clear_table(draw: Draw) -> Draft | None:
    """Every cube that is in no bowl and not in the drawer goes into the one there is, or the one the sentence names."""
    state = draw.state
    holders = [where for where in _holders(draw, drawer=True) if where[0] == "in"]
    if not draw.all_seen or not holders:
        return None
    held = (*state.bowls, *((DRAWER,) if state.drawer else ()))
    lying = [cube for cube in state.cubes if not any(holds(("in", cube, holder), state) for holder in held)]
    _, target = holders[0]
    intents = _placed(draw, lying, ("in", target)) if lying else None
    if intents is None:
        return None
    named = len(holders) > 1 or draw.chance(0.5)

    def words(say: Wording) -> list[Clause]:
        clause = say.clause(task_phrases.CLEAR)
        if not named:
            return [clause]
        slots = say.place_slots("red cube", "in", target)
        everyone = say.expand(say.one(task_phrases.ALL_CUBES["train"]))
        return [
            Clause(say.expand(say.one(task_phrases.CLEAR_INTO), do=clause.text, all=everyone, **slots), clause.mode)
        ]

    return Draft(intents, words, new=())


def sort(draw: Draw) -> Draft | None:
    """Some colours here, the others there: warm and cold ones, or as listed."""
    holders = _holders(draw, drawer=False)
    cubes = draw.seen
    if len(holders) < 2 or len(cubes) < 2:
        return None
    by_warmth = draw.chance(0.5) and draw.all_seen
    if by_warmth:
        first = [cube for cube in draw.state.cubes if cube in _WARM]
    else:
        cubes = cubes[: int(draw.rng.integers(2, min(len(cubes), 5) + 1))]
        first = cubes[: int(draw.rng.integers(1, len(cubes)))]
    second = [cube for cube in cubes if cube not in first]
    if not first or not second:
        return None
    one, two = _placed(draw, first, holders[0]), _placed(draw, second, holders[1])
    if one is None or two is None:
        return None
    if not by_warmth and len(first) + len(second) < 3:  # that would be a chain, which keeps the order of the sentence
        return None
    warm_first = draw.chance(0.5)
    said = [intent[1] for intent in ((*one, *two) if warm_first else (*two, *one))]
    order = in_plan_order(said, draw.state, said)
    intents = tuple(intent for cube in order for intent in (*one, *two) if intent[1] == cube)

    def words(say: Wording) -> list[Clause]:
        groups = [_listed(first, say), _listed(second, say)]
        if by_warmth:
            groups = [say.expand(task_phrases.WARM), say.expand(task_phrases.COLD)]
            if say.chance(0.3):
                groups = [f"{group} ({names})" for group, names in zip(groups, _COLOURS, strict=True)]
        parts = [(groups[0], holders[0]), (groups[1], holders[1])]
        (one, in_one), (two, in_two) = parts if warm_first else parts[::-1]
        put = say.place_slots("red cube", *in_one)["put"]
        return [
            say.clause(
                task_phrases.SORT, put=put, one=one, two=two, in_one=say.where(*in_one), in_two=say.where(*in_two)
            )
        ]

    return Draft(intents, words, new=())


_COLOURS = ("red, orange, yellow", "green, blue, purple")


# --- chains ---

_LINKS = ("put_in", "put_in", "put_on", "put_on", "stack", "stack", "left_of", "right_of", "in_front_of", "behind",
          "unstack", "open_drawer", "close_drawer", "put_in_drawer")  # fmt: skip


def chain(draw: Draw) -> Draft | None:
    """Two or three single tasks about different cubes, in the order they are said; some to the same place."""
    if draw.chance(0.25):
        return _together(draw)
    count = 2 if draw.chance(0.7) else 3
    drafts: list[Draft] = []
    for _ in range(12):
        draft = SINGLE[draw.one(_LINKS) or ""](draw)
        if draft is None or not _fits(draft, drafts, draw):
            continue
        drafts.append(draft)
        # What one part moves or builds on stays where that part left it.
        draw = replace(draw, used=draw.used | {name for i in draft.intents for name in i[1:] if not is_fixed(name)})
        if len(drafts) == count:
            break
    else:
        return None
    intents = tuple(intent for draft in drafts for intent in draft.intents)
    new = tuple(i for draft in drafts for i in (draft.intents if draft.new is None else draft.new))
    places = all(len(draft.intents) == 1 and len(draft.intents[0]) == 3 for draft in drafts)
    short = places and draw.chance(0.2)

    def words(say: Wording) -> list[Clause]:
        if short:
            return [_shared_verb(intents, say)]
        return [clause for draft in drafts for clause in draft.say(say)]

    return Draft(intents, words, new)


def _fits(draft: Draft, drafts: Sequence[Draft], draw: Draw) -> bool:
    """Whether a part moves nothing that an earlier one is about; and the drawer is in one part only."""
    if any(intent[1] in draw.used for intent in draft.intents):
        return False
    return not any(DRAWER in i for i in draft.intents) or not any(DRAWER in i for d in drafts for i in d.intents)


def is_fixed(name: str) -> bool:
    """Whether several parts of a task may be about it."""
    return is_bowl(name) or is_mat(name) or name in (DRAWER, TABLE)


def _shared_verb(intents: Sequence[Intent], say: Wording) -> Clause:
    """ "put the red cube in the teal bowl and the blue one on the mat"."""
    parts = [f"{say.noun(obj)} {say.where(relation, target)}" for relation, obj, target in intents]
    glue = say.one((" and ", ", and ", ", then ", " and then "))
    verb = say.one(("put", "put", "put", "place", "place", "move", "set", "bring")) if say.mode == "do" else ""
    return Clause(f"{verb} {', '.join(parts[:-1])}{glue}{parts[-1]}".strip(), say.mode)


def _together(draw: Draw) -> Draft | None:
    """Two or three cubes to one place: "put the red and the blue cube in the teal bowl"."""
    cubes = draw.open_cubes()
    count = 2 if draw.chance(0.75) else 3
    for relation, target in _holders(draw, drawer=True):
        chosen = [cube for cube in cubes if not holds((relation, cube, target), draw.state)][:count]
        if len(chosen) == count and _placed(draw, chosen, (relation, target)):
            intents = tuple((relation, cube, target) for cube in in_plan_order(chosen, draw.state))
            return Draft(intents, partial(_together_clauses, chosen, relation, target))
    return None


def _together_clauses(cubes: Sequence[str], relation: str, target: str, say: Wording) -> list[Clause]:
    slots = {**say.place_slots(cubes[0], relation, target), "all": _listed(cubes, say)}
    return [say.clause(task_phrases.EVERY, **slots)]


GROUP: dict[str, Callable[[Draw], Draft | None]] = {
    "tower": tower,
    "sort": sort,
    "swap": swap,
    "clear_table": clear_table,
    "every_cube": every_cube,
    "chain": chain,
}
