"""What a task family draws: intents and how to say them, from a scene as the camera shows it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from itk_sim.planning import Intent, hidden
from itk_sim.symbols import DRAWER, TABLE, SceneState, is_bowl, is_cube
from itk_sim.wording import Clause, Wording

SEEN = 0.05
"""Least share of a cube that the camera must see for a task to be about it."""
_LEFTMOST_GAP = 0.05
_TALLEST = 3

Say = Callable[[Wording], Sequence[Clause]]


@dataclass(frozen=True)
class Draft:
    """A task before its plan is known.

    Attributes:
        intents: what is to be made true, in order (see `itk_sim.planning`).
        say: the clauses that ask for it.
        new: intents that must not hold at the start (the task would partly be done already); default: all.
    """

    intents: tuple[Intent, ...]
    say: Say
    new: tuple[Intent, ...] | None = None


@dataclass(frozen=True, eq=False)
class Draw:
    """A scene to draw from. All lists are in random order."""

    state: SceneState
    rng: np.random.Generator
    used: frozenset[str] = field(default=frozenset())
    """Cubes that a task must not move: an earlier part of it does."""

    def shuffled(self, names: Sequence[str]) -> list[str]:
        return [names[i] for i in self.rng.permutation(len(names))]

    def one(self, names: Sequence[str]) -> str | None:
        return names[int(self.rng.integers(len(names)))] if names else None

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    @property
    def seen(self) -> list[str]:
        """Cubes that the camera sees and that stand somewhere sensible."""
        known = {TABLE, *self.state.names}
        return self.shuffled(
            [
                cube
                for cube in self.state.cubes
                if not hidden(cube, self.state)
                and self.state.visible.get(cube, 1.0) >= SEEN
                and self.state.support[cube] in known
            ]
        )

    @property
    def all_seen(self) -> bool:
        """Whether "every cube" means what the camera shows."""
        return len(self.seen) == len(self.state.cubes)

    def covered(self, cube: str) -> bool:
        return self.state.on_top_of(cube) is not None

    def open_cubes(self) -> list[str]:
        """Seen cubes with nothing on them, not used yet."""
        return [cube for cube in self.seen if not self.covered(cube) and cube not in self.used]

    def level(self, cube: str) -> int:
        """1 for a cube on the table, 2 for one on top of that, …; 9 for one that is in something."""
        holder = self.state.support[cube]
        if is_cube(holder):
            return self.level(holder) + 1
        return 9 if is_bowl(holder) or holder == DRAWER else 1

    def bases(self, obj: str, storeys: int = 1) -> list[str]:
        """Seen cubes that ``obj`` can be stacked on (with ``storeys - 1`` more on top)."""
        return [
            cube
            for cube in self.seen
            if cube != obj and cube not in self.used and self.level(cube) + storeys <= _TALLEST
        ]

    def references(self, obj: str) -> list[str]:
        """Things that ``obj`` can be put beside."""
        cubes = [cube for cube in self.seen if cube != obj and cube not in self.used and self.level(cube) == 1]
        return self.shuffled([*cubes, *self.state.bowls, *((self.state.mat,) if self.state.mat else ())])


def called_by_place(state: SceneState, cube: str) -> tuple[str, ...]:
    """Ways to refer to a cube by where it is, where that means only one: "the leftmost cube", "the cube on the mat"."""
    holder = state.support[cube]
    seen = [name for name in state.cubes if not hidden(name, state)]
    ways: list[str] = []
    if len(seen) == 1:
        ways += ["the cube", "the block", "the only cube"]
    across = sorted(seen, key=lambda name: state.pixel[name][0])
    if len(seen) > 1 and cube == across[0] and _gap(state, across[0], across[1]) > _LEFTMOST_GAP:
        ways += ["the leftmost cube", "the cube farthest to the left", "the leftmost block"]
    if len(seen) > 1 and cube == across[-1] and _gap(state, across[-2], across[-1]) > _LEFTMOST_GAP:
        ways += ["the rightmost cube", "the cube farthest to the right", "the rightmost block"]
    alone = [name for name in state.cubes if state.support[name] == holder] == [cube]
    if is_cube(holder):
        ways += [f"the cube on [top of] the {holder}", f"the block [that is] on [top of] the {holder}"]
    elif is_bowl(holder) and alone:
        ways += [f"the cube [that is] (in|inside) the {holder}", f"the block in the {holder}"]
    elif holder == DRAWER and alone and not hidden(cube, state):
        ways += ["the cube [that is] (in|inside) the drawer", "the block in the drawer"]
    elif holder == state.mat and alone:
        ways += ["the cube [that is] on the [grey] mat", "the block on the mat"]
    return tuple(ways)


def called_alone(state: SceneState) -> dict[str, tuple[str, ...]]:
    """The bowl needs no colour where it is the only one."""
    return {state.bowls[0]: ("the bowl", "the dish")} if len(state.bowls) == 1 else {}


def _gap(state: SceneState, left: str, right: str) -> float:
    return state.pixel[right][0] - state.pixel[left][0]
