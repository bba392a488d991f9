"""Kinds of steps: the scenes each needs, and the steps of a kind that a state allows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from itk_sim.errors import SimError
from itk_sim.layout import layout_of
from itk_sim.scene import SceneSpec, sample_scene
from itk_sim.symbols import DIRECTIONS, DRAWER, GRID, TABLE, SceneState, Step, is_bowl, is_cube, is_mat


@dataclass(frozen=True)
class Kind:
    """A kind of step and its share of all pairs. ``drawer``/``drawer_open``/``mat``/``bowls``/``stacked`` say what its
    scenes must have (None: as it comes), ``crowd`` how many cubes one of the bowls must hold at least."""

    share: float
    drawer: bool | None = None
    drawer_open: bool | None = None
    mat: bool | None = None
    bowls: int = 0
    stacked: bool | None = None
    crowd: int = 0

    def scene(self, rng: np.random.Generator) -> SceneSpec:
        for _ in range(_DRAWS):
            scene = sample_scene(
                rng,
                min_cubes=max(3, self.crowd + 1),
                drawer=self.drawer,
                drawer_open=self.drawer_open,
                mat=self.mat,
                min_bowls=self.bowls,
                stacked=self.stacked,
            )
            if not self.crowd or _fullest_bowl(layout_of(scene).support) >= self.crowd:
                return scene
        raise SimError(f"none of {_DRAWS} scenes has {self.crowd} cubes in a bowl; ask for fewer")


_DRAWS = 500


def _fullest_bowl(support: Mapping[str, str]) -> int:
    return max(Counter(below for below in support.values() if is_bowl(below)).values(), default=0)


KINDS: Mapping[str, Kind] = {
    "in bowl": Kind(0.14, bowls=1),
    "on mat": Kind(0.09, mat=True),
    "stack": Kind(0.13),
    "unstack": Kind(0.11, stacked=True),
    "on table": Kind(0.03),
    "left_of": Kind(0.05),
    "right_of": Kind(0.05),
    "in_front_of": Kind(0.05),
    "behind": Kind(0.05),
    "at": Kind(0.08),
    "open": Kind(0.055, drawer=True, drawer_open=False),
    "close": Kind(0.055, drawer=True, drawer_open=True),
    "in drawer": Kind(0.055, drawer=True, drawer_open=True),
    "out of drawer": Kind(0.055, drawer=True, drawer_open=True, stacked=True),
}
"""Shares add up to 1. "unstack" takes a cube off what it is on, to the bare table; "on table" moves one that is there
already; "out of drawer" puts it anywhere else."""

RARE: Mapping[str, Kind] = {
    "into a crowd": Kind(0.0, drawer=False, bowls=1, stacked=True, crowd=2),
    "out of a crowd": Kind(0.0, drawer=False, bowls=1, stacked=True, crowd=3),
}
"""Kinds that come by themselves now and then, as some of the others, and are hard to paint: a cube beside two and more
in a bowl, and one from among them. Pairs of these are made where they are asked for."""


def kind_of(name: str) -> Kind:
    """One of KINDS or RARE.

    Raises:
        SimError: there is none of this name.
    """
    found = KINDS.get(name) or RARE.get(name)
    if found is None:
        raise SimError(f"kind {name!r} was given; allowed: {', '.join((*KINDS, *RARE))}")
    return found


def draw_kind(rng: np.random.Generator) -> str:
    shares = np.array([kind.share for kind in KINDS.values()])
    return tuple(KINDS)[int(rng.choice(len(shares), p=shares / shares.sum()))]


def liftable(state: SceneState) -> list[str]:
    """Cubes that can be taken: uncovered, not shut in the drawer, not lost."""
    return [
        cube
        for cube in state.cubes
        if state.on_top_of(cube) is None
        and state.support[cube] != "elsewhere"
        and not (state.support[cube] == DRAWER and state.drawer == "closed")
    ]


def _height(state: SceneState, cube: str) -> int:
    below = state.support[cube]
    return 1 + (_height(state, below) if is_cube(below) else 0)


def _stack_bases(state: SceneState) -> list[str]:
    """Cubes that another may be put on: uncovered, on table, mat or a low stack."""
    return [
        cube
        for cube in liftable(state)
        if not is_bowl(state.support[cube]) and state.support[cube] != DRAWER and _height(state, cube) < 3
    ]


def _places(state: SceneState, cube: str) -> list[Step]:
    """Every other place a cube could be put into or onto."""
    steps = [Step("place", cube, "in", bowl) for bowl in state.bowls if state.support[cube] != bowl]
    steps += [Step("place", cube, "on", TABLE)]
    if state.mat and state.support[cube] != state.mat:
        steps.append(Step("place", cube, "on", state.mat))
    bases = (base for base in _stack_bases(state) if base not in (cube, state.support[cube]))
    return steps + [Step("place", cube, "on", base) for base in bases]


def _random_cell(rng: np.random.Generator, state: SceneState) -> tuple[int, int]:
    """A cell of the part of the picture that the workspace takes up (if it is free shows when it is tried)."""
    right = 0.66 if state.drawer else 0.90
    return int(rng.uniform(0.10, right) * GRID), int(rng.uniform(0.40, 0.70) * GRID)


def candidates(rng: np.random.Generator, state: SceneState, kind: str) -> list[Step]:
    """The steps of a kind that make sense in a state (there may be no room for some of them)."""
    free = liftable(state)
    if kind in ("open", "close"):
        wanted = "closed" if kind == "open" else "open"
        return [Step("open" if kind == "open" else "close")] if state.drawer == wanted else []
    if kind == "in bowl":
        return [Step("place", c, "in", b) for c in free for b in state.bowls if state.support[c] != b]
    if kind in RARE:
        held = Counter(state.support.values())
        full = {bowl for bowl in state.bowls if held[bowl] >= RARE[kind].crowd}
        if kind == "into a crowd":
            return [Step("place", c, "in", b) for c in free for b in full if state.support[c] != b]
        return [step for c in free if state.support[c] in full for step in _places(state, c)]
    if kind == "on mat":
        return [Step("place", c, "on", state.mat) for c in free if state.mat not in (None, state.support[c])]
    if kind == "stack":
        bases = _stack_bases(state)
        return [Step("place", c, "on", b) for c in free for b in bases if b not in (c, state.support[c])]
    if kind == "unstack":
        return [Step("place", c, "on", TABLE) for c in free if state.support[c] != TABLE]
    if kind == "on table":
        return [Step("place", c, "on", TABLE) for c in free if state.support[c] == TABLE]
    if kind == "at":
        return [Step("place", c, "at", None, _random_cell(rng, state)) for c in free for _ in range(4)]
    if kind == "in drawer":
        return [Step("place", c, "in", DRAWER) for c in free if state.support[c] != DRAWER and state.drawer == "open"]
    if kind == "out of drawer":
        inside = [c for c in free if state.support[c] == DRAWER]
        return [step for c in inside for step in _places(state, c)]
    relation = next(direction for direction in DIRECTIONS if direction == kind)
    references = [*state.bowls, *((state.mat,) if state.mat else ())]
    references += [c for c in state.cubes if state.support[c] == TABLE or is_mat(state.support[c])]
    return [Step("place", c, relation, r) for c in free for r in references if r not in (c, state.support[c])]
