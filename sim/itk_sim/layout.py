"""Draws where everything stands when a scene begins: drawer, bowls, mat, cubes, stacks, cubes in things."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from itk_sim.errors import SimError
from itk_sim.measures import (
    BOWL_FLOOR_M,
    CUBE_M,
    DRAWER_CENTRE_M,
    DRAWER_OPEN_M,
    TRAY_FLOOR_M,
)
from itk_sim.placing import BOWL_SLOTS_M, HALF_M, MAT_SLOTS_M, TRAY_SLOTS_M, Obstacle, Placement, free, workspace
from itk_sim.scene import SceneSpec
from itk_sim.symbols import DRAWER, TABLE, is_bowl, is_cube, is_mat

_RESTARTS, _TRIES = 200, 96


@dataclass(frozen=True)
class Layout:
    """Poses of everything present.

    Attributes:
        placements: of cubes (centre) and bowls (base centre).
        mat_xy: centre, or None; tray_xy: centre of the cabinet and of the closed tray, or None.
        slide_m: how far the drawer is open.
        support: what every cube is meant to rest on.
    """

    placements: dict[str, Placement]
    mat_xy: tuple[float, float] | None
    tray_xy: tuple[float, float] | None
    slide_m: float
    support: dict[str, str]


def draw_support(rng: np.random.Generator, spec: SceneSpec, is_open: bool) -> dict[str, str]:
    """What each cube rests on, in an order in which they can be put down."""
    cubes = [f"{colour} cube" for colour in rng.permutation(spec.cubes)]
    bowls = [f"{colour} bowl" for colour in spec.bowls]
    wants = spec.stacked if spec.stacked is not None else bool(rng.random() < 0.6)
    support = dict.fromkeys(cubes, TABLE)
    if not wants:
        return support
    for _ in range(100):
        support = {}
        height: dict[str, int] = {}
        content = dict.fromkeys([*bowls, DRAWER, "mat"], 0)
        for cube in cubes:
            choices, weights = [TABLE], [0.5]
            for below, level in height.items():
                if level < 3 and below not in support.values():
                    choices.append(below)
                    weights.append(0.30 / len(height))
            for bowl in bowls:
                if content[bowl] < 3:
                    choices.append(bowl)
                    weights.append(0.22 / len(bowls))
            if spec.mat and content["mat"] < 3:
                choices.append(f"{spec.mat} mat")
                weights.append(0.12)
            if spec.drawer and content[DRAWER] < (2 if is_open else 1):
                choices.append(DRAWER)
                weights.append(0.25 if is_open else 0.04)  # shut in: rare, nobody can see it
            below = choices[int(rng.choice(len(choices), p=np.asarray(weights) / sum(weights)))]
            support[cube] = below
            if below == TABLE or is_mat(below):
                height[cube] = 1
            elif is_cube(below):
                height[cube] = height[below] + 1
            if below in content:
                content[below] += 1
            elif is_mat(below):
                content["mat"] += 1
        if any(below != TABLE for below in support.values()):
            return support
        if not (len(cubes) > 1 or bowls or spec.mat or spec.drawer):
            break
    return support


def _ground(
    rng: np.random.Generator, spec: SceneSpec, support: dict[str, str], tray_xy: tuple[float, float] | None
) -> dict[str, np.ndarray] | None:
    """Random spots for what stands on the table, or None if it did not fit this time."""
    low, high = workspace(tray_xy is not None)
    placed: list[Obstacle] = []
    spots: dict[str, np.ndarray] = {}
    wanted = [(f"{colour} bowl", "bowl") for colour in spec.bowls]
    wanted += [(f"{spec.mat} mat", "mat")] if spec.mat else []
    for cube, below in support.items():
        if below == TABLE:
            wanted.append((cube, "stack" if cube in support.values() else "cube"))
    wanted.sort(key=lambda item: ("bowl", "mat", "stack", "cube").index(item[1]))
    for name, kind in wanted:
        inset = 0.02 if kind in ("bowl", "mat") else 0.0
        points = rng.uniform(low + inset, high - inset, (_TRIES, 2))
        good = free(points, kind, placed, tray_xy)
        if not good.any():
            return None
        spot = points[int(np.argmax(good))]
        placed.append(Obstacle(kind, *spot))
        spots[name] = spot
    return spots


def _at_rest(
    rng: np.random.Generator, support: dict[str, str], spots: dict[str, np.ndarray], tray: np.ndarray | None
) -> dict[str, Placement] | None:
    placements = {name: Placement(float(x), float(y), 0.0, 0.0) for name, (x, y) in spots.items() if is_bowl(name)}
    filled: dict[str, int] = {}
    for cube, below in support.items():
        jitter, yaw = rng.uniform(-0.003, 0.003, 2), float(rng.uniform(-np.pi / 4, np.pi / 4))
        slot = filled.get(below, 0)
        filled[below] = slot + 1
        z = HALF_M
        if below == TABLE:
            spot = spots[cube]
        elif is_mat(below):
            spot = spots[below] + MAT_SLOTS_M[slot] + jitter
        elif is_bowl(below):
            spot = spots[below] + BOWL_SLOTS_M[slot] + 0.3 * jitter
            z = BOWL_FLOOR_M + HALF_M + (0.012 if slot > 1 else 0.0)
        elif below == DRAWER:
            assert tray is not None
            spot, z = tray + TRAY_SLOTS_M[slot] + 0.3 * jitter, TRAY_FLOOR_M + HALF_M
        else:
            base = placements[below]
            spot, z = base.xy + jitter, base.z_m + CUBE_M
        if below != TABLE:
            yaw *= 0.1  # as an arm would have left it
        placements[cube] = Placement(float(spot[0]), float(spot[1]), z + 0.0003, yaw)
    return placements


def layout_of(spec: SceneSpec) -> Layout:
    """Where everything of a scene stands, by its seed."""
    return draw_layout(np.random.default_rng([spec.seed, 1]), spec)


def draw_layout(rng: np.random.Generator, spec: SceneSpec) -> Layout:
    """A layout in which everything has room for the gripper's fingers."""
    is_open = spec.drawer and (spec.drawer_open if spec.drawer_open is not None else bool(rng.random() < 0.5))
    tray_xy = None
    if spec.drawer:
        shift = rng.uniform(-0.01, 0.01, 2)
        tray_xy = (DRAWER_CENTRE_M[0] + float(shift[0]), DRAWER_CENTRE_M[1] + float(shift[1]))
    slide = DRAWER_OPEN_M if is_open else 0.0
    tray = None if tray_xy is None else np.array([tray_xy[0], tray_xy[1] - slide])
    support = draw_support(rng, spec, is_open)
    for attempt in range(_RESTARTS):
        if attempt and attempt % 20 == 0:
            support = draw_support(rng, spec, is_open)
        spots = _ground(rng, spec, support, tray_xy)
        placements = None if spots is None else _at_rest(rng, support, spots, tray)
        if spots is not None and placements is not None:
            mat = spots.get(f"{spec.mat} mat")
            mat_xy = None if mat is None else (float(mat[0]), float(mat[1]))
            return Layout(placements, mat_xy, tray_xy, slide, support)
    raise SimError(
        f"no room for {len(spec.cubes)} cubes, {len(spec.bowls)} bowls, {'a' if spec.mat else 'no'} mat "
        f"{'with' if spec.drawer else 'without'} a drawer (seed {spec.seed}); use fewer things or another seed"
    )
