"""What is on the table, as data: a scene's seed and inventory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from itk_sim.errors import SimError
from itk_sim.randomise import Randomisation
from itk_sim.symbols import BOWL_COLOURS, CUBE_COLOURS, MAT_COLOURS

SAMPLED_SEEDS = (1_000_000, 2**31)
"""``sample_scene`` draws seeds from here; what is below is free for fixed, published scenes."""


@dataclass(frozen=True)
class SceneSpec:
    """A scene: the same spec always gives the same state and the same pixels.

    Attributes:
        seed: of the layout, of what is stacked where (if not given), and of the looks.
        cubes, bowls, mat: colours; each at most once; mat None for none.
        drawer: whether the drawer stands on the table.
        drawer_open: None: by seed.
        stacked: False: every cube on the bare table; True: at least one cube in a bowl, on the mat, on another cube or
            in the drawer; None: by seed.
    """

    seed: int
    cubes: tuple[str, ...]
    bowls: tuple[str, ...] = ()
    mat: str | None = None
    drawer: bool = False
    drawer_open: bool | None = None
    stacked: bool | None = None
    randomise: Randomisation = field(default_factory=Randomisation)

    def __post_init__(self) -> None:
        if not isinstance(self.seed, int) or self.seed < 0:
            raise SimError(f"scene seed {self.seed!r} was given; allowed: an integer from 0")
        for what, given, allowed in (("cube", self.cubes, CUBE_COLOURS), ("bowl", self.bowls, BOWL_COLOURS)):
            unknown = [colour for colour in given if colour not in allowed]
            if unknown or len(set(given)) != len(given):
                raise SimError(
                    f"{what} colours {list(given)} were given; allowed: {', '.join(allowed)}, each at most once"
                )
        if self.mat is not None and self.mat not in MAT_COLOURS:
            raise SimError(f"mat {self.mat!r} was given; allowed: {', '.join(MAT_COLOURS)} or null")

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> SceneSpec:
        """From a task line's scene: plain (nothing stacked, drawer closed) unless it says otherwise."""
        allowed = ("seed", "cubes", "bowls", "mat", "drawer", "drawer_open", "stacked", "randomise")
        unknown = sorted(set(given) - set(allowed))
        if unknown or "seed" not in given or "cubes" not in given:
            raise SimError(
                f"a scene with keys {sorted(given)} was given; needed: seed, cubes; "
                f"allowed besides: {', '.join(allowed[2:])}"
            )
        try:
            return cls(
                seed=given["seed"],
                cubes=tuple(given["cubes"]),
                bowls=tuple(given.get("bowls") or ()),
                mat=given.get("mat"),
                drawer=bool(given.get("drawer", False)),
                drawer_open=given.get("drawer_open", False),
                stacked=given.get("stacked", False),
                randomise=Randomisation(**given.get("randomise", {})),
            )
        except TypeError as error:
            raise SimError(f"scene {dict(given)} cannot be read: {error}") from error

    def to_json(self) -> dict[str, Any]:
        """The inverse of ``from_json`` (None of drawer_open and stacked included)."""
        line: dict[str, Any] = {
            "seed": self.seed,
            "cubes": list(self.cubes),
            "bowls": list(self.bowls),
            "mat": self.mat,
            "drawer": self.drawer,
        }
        if self.drawer_open is not False:
            line["drawer_open"] = self.drawer_open
        if self.stacked is not False:
            line["stacked"] = self.stacked
        if self.randomise != Randomisation():
            line["randomise"] = self.randomise.to_json()
        return line


def sample_scene(
    rng: np.random.Generator,
    *,
    min_cubes: int = 3,
    max_cubes: int = 6,
    drawer: bool | None = None,
    min_bowls: int = 0,
    mat: bool | None = None,
    drawer_open: bool | None = None,
    stacked: bool | None = None,
) -> SceneSpec:
    """A random inventory with a random seed. With a drawer the workspace is smaller, so at most 5 cubes and, besides
    the mat, one bowl."""
    if not 1 <= min_cubes <= max_cubes <= len(CUBE_COLOURS):
        raise SimError(f"min_cubes={min_cubes}, max_cubes={max_cubes} was given; allowed: 1 <= min <= max <= 6")
    has_drawer = bool(rng.random() < 0.3) if drawer is None else drawer
    has_mat = bool(rng.random() < 0.55) if mat is None else mat
    if has_drawer:
        max_cubes = max(min_cubes, min(max_cubes, 5))
    cubes = rng.permutation(CUBE_COLOURS)[: int(rng.integers(min_cubes, max_cubes + 1))]
    most = (1 if has_mat else 2) if has_drawer else (2 if has_mat else 3)
    count = int(rng.integers(min_bowls, max(most, min_bowls) + 1))
    bowls = rng.permutation(BOWL_COLOURS)[:count]
    return SceneSpec(
        seed=int(rng.integers(*SAMPLED_SEEDS)),
        cubes=tuple(colour for colour in CUBE_COLOURS if colour in cubes),
        bowls=tuple(colour for colour in BOWL_COLOURS if colour in bowls),
        mat=MAT_COLOURS[0] if has_mat else None,
        drawer=has_drawer,
        drawer_open=drawer_open,
        stacked=stacked,
    )
