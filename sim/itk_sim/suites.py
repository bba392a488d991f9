"""Named suites of tasks for closed-loop evaluation, made from seeds: scenes that training never sees.

``build("single", 100, seed=0)`` gives 100 task lines (see `itk_sim.task_lines`), families in turn. The same name,
number and seed give the same lines; a longer suite begins with the shorter one.
"""

from __future__ import annotations

import difflib
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from itk_sim import people
from itk_sim.errors import SimError
from itk_sim.families import SINGLE
from itk_sim.group_families import GROUP
from itk_sim.scene import SceneSpec, sample_scene
from itk_sim.splits import Combinations, scene_seed
from itk_sim.symbols import DIRECTIONS
from itk_sim.task_lines import load_jsonl
from itk_sim.tasks import FAMILIES, IMPOSSIBLE, sample_task
from itk_sim.wording import Split

if TYPE_CHECKING:
    from itk_sim.table import Table

__all__ = ["SUITES", "Suite", "build", "load_jsonl"]

_SCENES_PER_TASK = 400


@dataclass(frozen=True)
class Suite:
    """A suite: what its tasks are drawn from, and what it is for."""

    about: str
    families: tuple[str, ...]
    wording: Split = "train"
    combinations: Combinations = "any"
    people: bool = False
    """Whether tasks are put as in `itk_sim.people`, whose families it then has."""
    most: int | None = None
    """It never has more tasks than this."""


_PLACE = ("put_in", "put_on", "stack")
_MULTI = (*GROUP, "put_in_drawer", "take_out_of_drawer", "covered")
SUITES: Mapping[str, Suite] = {
    "single": Suite("one step: in a bowl, on the mat, on a cube", _PLACE),
    "directions": Suite("one step: left of, right of, in front of, behind", DIRECTIONS),
    "drawer": Suite(
        "the drawer: open, close, put in, take out",
        ("open_drawer", "close_drawer", "put_in_drawer", "take_out_of_drawer"),
    ),
    "multi": Suite("several steps", _MULTI),
    "impossible": Suite("what cannot be done: nothing must move", (IMPOSSIBLE,)),
    "held-out-scenes": Suite("one step, only scenes are unseen", (*_PLACE, *DIRECTIONS), combinations="train"),
    "held-out-combinations": Suite(
        "one step with a combination of cube, relation and target that training never has",
        (*_PLACE, *DIRECTIONS),
        combinations="held-out",
    ),
    "held-out-wordings": Suite("wording that training never has", (*SINGLE, *GROUP), "wording", "train"),
    "people": Suite("tasks of all kinds as people would put them", people.families(), people=True),
    "smoke": Suite("six tasks of several kinds", (*_PLACE, "left_of", "open_drawer", "chain"), most=6),
    "all": Suite("every family in turn", FAMILIES),
    **{family: Suite(f"the family {family} alone", (family,)) for family in FAMILIES},
}

_SCENES: Mapping[str, dict[str, Any]] = {
    "put_in": {"min_bowls": 1},
    "put_on": {"mat": True},
    "unstack": {"stacked": True},
    "covered": {"stacked": True, "min_bowls": 1},
    "open_drawer": {"drawer": True, "drawer_open": False},
    "close_drawer": {"drawer": True, "drawer_open": True},
    "put_in_drawer": {"drawer": True},
    "take_out_of_drawer": {"drawer": True, "stacked": True},
    "sort": {"min_bowls": 2, "drawer": False},
    "clear_table": {"min_bowls": 1, "max_cubes": 4},
    "every_cube": {"min_bowls": 1, "max_cubes": 4},
    "chain": {"min_bowls": 1},
}
"""What scenes of a family must have; anything else as it comes. Drawers and stacks turn up in the others as well."""
_PLAIN = {*_PLACE, *DIRECTIONS, "open_drawer", "close_drawer"}
"""Families of one step: their scenes begin with every cube on the bare table."""


def _scene(family: str, rng: np.random.Generator) -> SceneSpec:
    family = people.sampled_as(family)
    wishes = dict(_SCENES.get(family, {}))
    wishes.setdefault("stacked", False if family in _PLAIN else bool(rng.random() < 0.5))
    spec = sample_scene(rng, **wishes)
    is_open = spec.drawer and (bool(rng.random() < 0.4) if spec.drawer_open is None else spec.drawer_open)
    return replace(spec, seed=scene_seed(rng, "held-out"), drawer_open=is_open)


def _line(name: str, number: int, seed: int, table: Table) -> dict[str, Any]:
    suite = SUITES[name]
    family = suite.families[number % len(suite.families)]
    rng = np.random.default_rng([seed, zlib.crc32(name.encode()), number])
    for _ in range(_SCENES_PER_TASK):
        spec = _scene(family, rng)
        try:
            state = table.reset(spec)
            if suite.people:
                task = people.people_task(state, rng, family=family, combinations=suite.combinations)
            else:
                task = sample_task(state, rng, family, suite.wording, suite.combinations)
        except SimError:  # no room for this inventory, or nothing of this family to do: another scene
            continue
        line = {**task.line(), "id": f"{name}-{seed}-{number:03d}", "scene": spec.to_json()}
        return line if task.feasible else {**line, "feasible": False, "refusal": task.refusal}
    raise SimError(f"suite {name!r}: no scene for task {number} of family {family!r} in {_SCENES_PER_TASK} tries")


def build(name: str, episodes: int, seed: int = 0) -> list[dict[str, Any]]:
    """The first ``episodes`` task lines of a suite.

    Raises:
        SimError: there is no such suite, or fewer than one task is asked for.
    """
    if name not in SUITES:
        near = difflib.get_close_matches(name, SUITES, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise SimError(f"suite {name!r} was given; allowed: {', '.join(SUITES)}{hint}")
    if episodes < 1:
        raise SimError(f"{episodes} episodes were asked for; at least 1 is needed")
    from itk_sim.table import Table  # here, so that reading task files needs no physics

    count = min(episodes, SUITES[name].most or episodes)
    with Table() as table:
        return [_line(name, number, seed, table) for number in range(count)]
