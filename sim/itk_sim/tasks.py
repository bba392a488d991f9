"""Tasks in free English for a scene: what is asked, what it means, and how an oracle would do it.

``sample_task(state, rng)`` gives one; the same state and generator give the same task. What a plan does where a cube is
covered, the drawer is closed, or part of the task is done already is laid down in `itk_sim.planning`. Besides that:

- A task's goal holds at the end of its plan and never at the start.
- "Put X in the drawer" leaves a drawer closed that was closed. "Open the drawer and put X in it" leaves it open.
- "Clear the table" puts every cube that is in no bowl and not in the drawer into the only bowl (or drawer) there is;
  where there are more, the sentence names one. A cube on the mat still lies on the table.
- A cube shut in the drawer cannot be seen: only a sentence that says it is in there is about it.
- What cannot be done has no steps, no goal, and a ``refusal``: one sentence that says why.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from itk_sim.draft import Draft, Draw, called_alone, called_by_place
from itk_sim.errors import SimError
from itk_sim.families import SINGLE
from itk_sim.group_families import GROUP
from itk_sim.impossible import refusal
from itk_sim.planning import Intent, oracle_outcome
from itk_sim.predicates import holds
from itk_sim.splits import Combinations, combination_split, steps_allowed
from itk_sim.symbols import DIRECTIONS, DRAWER, TABLE, Predicate, SceneState, Step, is_bowl
from itk_sim.wording import Mode, Split, Wording

IMPOSSIBLE = "impossible"
FAMILIES: tuple[str, ...] = (*SINGLE, *GROUP, IMPOSSIBLE)
MAX_STEPS = 8
_TRIES, _TRIES_OF_MANY = 24, 4
_IMPOSSIBLE_SHARE = 0.1
CALLED_BY_PLACE, _CALLED_ALONE = 0.12, 0.3
_OPPOSITE = {"left_of": "right_of", "right_of": "left_of", "in_front_of": "behind", "behind": "in_front_of"}


@dataclass(frozen=True)
class TaskSpec:
    """One task.

    Attributes:
        id: family and a hash of text and goal.
        family: one of FAMILIES.
        text: what a person asks for.
        scene: SceneSpec as JSON, where the task belongs to a scene that can be set up again.
        goal: predicates that must hold at the end; empty for what cannot be done.
        steps: the oracle's plan; empty for what cannot be done.
        feasible: whether it can be done.
        refusal: why not; empty where it can.
        intents: what the text means, in order (see `itk_sim.planning`); for what cannot be done, what it asks for as
            far as an intent can say it.
    """

    id: str
    family: str
    text: str
    scene: Mapping[str, Any] | None
    goal: tuple[Predicate, ...]
    steps: tuple[Step, ...]
    feasible: bool
    refusal: str
    intents: tuple[Intent, ...] = ()

    def line(self) -> dict[str, Any]:
        """As a line of a task file (see `itk_sim.suites`)."""
        goal = [list(predicate) for predicate in self.goal]
        return {"id": self.id, "family": self.family, "text": self.text, "scene": self.scene, "goal": goal}


def goal_of(
    intents: Sequence[Intent], steps: Sequence[Step], state: SceneState, end: SceneState
) -> tuple[Predicate, ...]:
    """What must hold at the end of a plan: its intents (the last about each cube), where swapped cubes were, and the
    drawer as the plan leaves it, if the plan moves it."""
    placed: dict[str, list[Predicate]] = {}
    for intent in intents:
        if intent[0] == "swap":
            a, b = intent[1:]
            placed[a], placed[b] = _in_place_of(a, b, state), _in_place_of(b, a, state)
        elif intent[0] not in ("open", "closed"):
            placed[intent[1]] = [intent]
    goal = [predicate for predicates in placed.values() for predicate in predicates]
    if end.drawer and (any(step.verb != "place" for step in steps) or any(i[0] in ("open", "closed") for i in intents)):
        goal.append((end.drawer, DRAWER))
    return tuple(goal)


def _in_place_of(cube: str, other: str, state: SceneState) -> list[Predicate]:
    """What holds of ``cube`` once it is where ``other`` was."""
    holder = state.support[other]
    if holder == TABLE and state.support[cube] == TABLE:
        where = next((d for d in DIRECTIONS if holds((d, cube, other), state)), None)
        return [(_OPPOSITE[where], cube, other)] if where else []
    return [("in" if is_bowl(holder) or holder == DRAWER else "on", cube, holder)]


def _solve(
    draft: Draft, state: SceneState, combinations: Combinations
) -> tuple[tuple[Predicate, ...], tuple[Step, ...]] | None:
    """Goal and plan of a draft, or None where it is no good task: done already, not to be done, or too long."""
    if any(holds(intent, state) for intent in (draft.intents if draft.new is None else draft.new)):
        return None
    try:
        steps, end = oracle_outcome(draft.intents, state)
    except SimError:
        return None
    if not 0 < len(steps) <= MAX_STEPS or not steps_allowed(steps, combinations):
        return None
    goal = goal_of(draft.intents, steps, state, end)
    reached, had = (bool(goal) and all(holds(predicate, scene) for predicate in goal) for scene in (end, state))
    return (goal, steps) if reached and not had else None


def _references(
    draft: Draft, state: SceneState, rng: np.random.Generator, by_place: float
) -> dict[str, tuple[str, ...]]:
    """Other ways to call things, for some tasks: the only bowl, and what is moved first by where it is."""
    found = called_alone(state) if rng.random() < _CALLED_ALONE else {}
    first = next((intent for intent in draft.intents if intent[0] not in ("open", "closed", "swap")), None)
    if first is not None and len(draft.intents) == 1 and rng.random() < by_place:
        ways = called_by_place(state, first[1])
        found = {**found, **({first[1]: ways} if ways else {})}
    return found


def _task(
    family: str,
    text: str,
    goal: tuple[Predicate, ...],
    steps: tuple[Step, ...],
    why: str,
    intents: tuple[Intent, ...] = (),
) -> TaskSpec:
    digest = hashlib.sha256(repr((text, goal, steps)).encode()).hexdigest()[:10]
    return TaskSpec(f"{family}-{digest}", family, text, None, goal, steps, not why, why, intents)


def _try(
    family: str,
    state: SceneState,
    rng: np.random.Generator,
    split: Split,
    combinations: Combinations,
    by_place: float,
) -> TaskSpec | None:
    draw = Draw(state, rng)
    mode: Mode = "say" if rng.random() < 0.2 else "do"
    if family == IMPOSSIBLE:
        no = refusal(draw)
        # Else held-out combinations would be known from refusals alone, and learnt as what is always refused.
        if combinations == "train" and any(combination_split(*named) == "held-out" for named in no.named):
            return None
        say = Wording(rng, split, mode=mode)
        return _task(family, say.sentence(no.say(say)), (), (), no.why, no.intents)
    draft = (SINGLE | GROUP)[family](draw)
    solved = _solve(draft, state, combinations) if draft else None
    if draft is None or solved is None:
        return None
    say = Wording(rng, split, _references(draft, state, rng, by_place), mode)
    return _task(family, say.sentence(list(draft.say(say))), *solved, "", draft.intents)


def sample_task(
    state: SceneState,
    rng: np.random.Generator,
    family: str | None = None,
    split: Split = "train",
    combinations: Combinations = "train",
    *,
    by_place: float = CALLED_BY_PLACE,
) -> TaskSpec:
    """A task for a scene.

    Args:
        family: one of FAMILIES; None: one task in ten is impossible, the others are of any family that the scene
            allows, all about equally likely.
        split: "train", "wide" for more ways to say it, or "wording" for held-out wording.
        combinations: which (cube, relation, target) its plan may have (see `itk_sim.splits`): "train" only, at least
            one "held-out", or "any".
        by_place: how many of the tasks that move one cube may call it by where it is ("the leftmost cube").

    Raises:
        SimError: an unknown family, or one that this scene does not allow.
    """
    if family is not None and family not in FAMILIES:
        raise SimError(f"family {family!r} was given; allowed: {', '.join(FAMILIES)}")
    if split not in ("train", "wide", "wording") or combinations not in ("train", "held-out", "any"):
        raise SimError(
            f"split={split!r}, combinations={combinations!r} was given; "
            "allowed: train, wide, wording; train, held-out, any"
        )
    if family is None and combinations != "held-out" and rng.random() < _IMPOSSIBLE_SHARE:
        family = IMPOSSIBLE
    names = [family] if family else [FAMILIES[i] for i in rng.permutation(len(FAMILIES) - 1)]
    for name in names:
        for _ in range(_TRIES if family else _TRIES_OF_MANY):
            task = _try(name, state, rng, split, combinations, by_place)
            if task is not None:
                return task
    raise SimError(f"this scene ({', '.join(state.names)}) has no task of family {family!r}; draw another scene")
