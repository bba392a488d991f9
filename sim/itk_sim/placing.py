"""Where a thing may go: clearances, free spots, and where a step leaves its cube. Geometry only, no physics.

Every choice is a fixed function of what stands on the table plus a small jitter, so that the same picture and the same
step lead to about the same goal: a generator can learn that, a coin toss it could not.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from itk_sim.measures import (
    BOWL_FLOOR_M,
    CUBE_M,
    DRAWER_OPEN_M,
    HANDLE_BEFORE_CENTRE_M,
    MAT_M,
    TRAY_FLOOR_M,
    WORKSPACE_X_M,
    WORKSPACE_Y_DRAWER_M,
    WORKSPACE_Y_M,
)
from itk_sim.symbols import DIRECTIONS, DRAWER, TABLE, SceneState, Step, is_bowl, is_cube, is_mat

CLEARANCE_M: dict[frozenset[str], float] = {
    frozenset(("cube",)): 0.085,
    frozenset(("cube", "stack")): 0.115,
    frozenset(("stack",)): 0.125,
    frozenset(("cube", "bowl")): 0.118,
    frozenset(("stack", "bowl")): 0.125,
    frozenset(("cube", "mat")): 0.112,
    frozenset(("stack", "mat")): 0.112,
    frozenset(("bowl",)): 0.172,
    frozenset(("bowl", "mat")): 0.158,
}
"""Least distance between centres at which the fingers (and, beside a stack, the hand) still fit in between."""
RADIUS_M = {"cube": 0.03, "stack": 0.03, "bowl": 0.08, "mat": 0.08}
"""How near to the drawer's sweep a centre may be."""
DIRECTION_STEP_M = {"cube": 0.09, "bowl": 0.125, "mat": 0.118}
DIRECTION_XY = {"left_of": (0.0, -1.0), "right_of": (0.0, 1.0), "in_front_of": (1.0, 0.0), "behind": (-1.0, 0.0)}
BOWL_SLOTS_M = ((0.0, -0.0225), (0.0, 0.0225), (0.042, 0.0), (-0.042, 0.0))
MAT_SLOTS_M = ((-0.032, -0.032), (0.032, 0.032), (-0.032, 0.032), (0.032, -0.032))
TRAY_SLOTS_M = ((0.0, -0.0225), (0.0, 0.0225))
HALF_M = CUBE_M / 2


@dataclass(frozen=True)
class Placement:
    """Where a step leaves its cube: the cube's centre (world, m) and its yaw (rad)."""

    x_m: float
    y_m: float
    z_m: float
    yaw_rad: float

    @property
    def xy(self) -> np.ndarray:
        return np.array([self.x_m, self.y_m])


@dataclass(frozen=True)
class Obstacle:
    """Something that stands on the table: its kind ("cube", "stack", "bowl", "mat") and centre."""

    kind: str
    x_m: float
    y_m: float


def workspace(drawer: bool) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper corner (x, y) of where centres may be."""
    top = WORKSPACE_Y_DRAWER_M if drawer else WORKSPACE_Y_M[1]
    return np.array([WORKSPACE_X_M[0], WORKSPACE_Y_M[0]]), np.array([WORKSPACE_X_M[1], top])


def free(
    points: np.ndarray,
    kind: str,
    obstacles: Iterable[Obstacle],
    tray_xy: tuple[float, float] | None,
    slack_m: float = 0.0,
    edge_m: float = 0.0,
) -> np.ndarray:
    """Which of the points (N,2) could hold a thing of ``kind``: (N,) bool. ``tray_xy``: centre of the CLOSED tray, or
    None without a drawer; where the tray and the hand on its handle sweep is kept free. ``slack_m`` loosens clearances
    between cubes, ``edge_m`` the workspace's edge."""
    low, high = workspace(tray_xy is not None)
    good = np.all((points >= low - edge_m - 1e-9) & (points <= high + edge_m + 1e-9), axis=1)
    for thing in obstacles:
        pair = frozenset((kind, thing.kind))
        least = CLEARANCE_M[pair] - (slack_m if pair <= {"cube", "stack"} else 0.0)
        good &= np.hypot(points[:, 0] - thing.x_m, points[:, 1] - thing.y_m) >= least
    if tray_xy is not None:
        x, y = tray_xy
        sweep_from = y - HANDLE_BEFORE_CENTRE_M - DRAWER_OPEN_M - 0.02
        dx = np.maximum(np.abs(points[:, 0] - x) - 0.062, 0)
        dy = np.maximum(sweep_from - points[:, 1], 0)
        good &= np.hypot(dx, dy) >= RADIUS_M[kind]
    return good


def obstacles_of(state: SceneState, without: str | None = None) -> list[Obstacle]:
    """Everything that stands on the table itself or lies on the mat, as obstacles for a cube; not the mat."""
    found = [Obstacle("bowl", *state.position_m[name][:2]) for name in state.bowls]
    for name in state.cubes:
        if name == without or not (state.support[name] == TABLE or is_mat(state.support[name])):
            continue
        above = state.on_top_of(name)
        kind = "stack" if above is not None and above != without else "cube"
        found.append(Obstacle(kind, *state.position_m[name][:2]))
    return found


def closed_tray_xy(state: SceneState, slide_m: float) -> tuple[float, float] | None:
    """Centre of the tray when it is closed, from where its handle is now."""
    if state.drawer is None:
        return None
    x, y, _ = state.position_m[DRAWER]
    return x, y + HANDLE_BEFORE_CENTRE_M + slide_m


def first_free_slot(
    centre: np.ndarray, slots: Iterable[tuple[float, float]], taken: Iterable[np.ndarray], apart_m: float
) -> np.ndarray | None:
    """The first slot around ``centre`` whose distance to everything in ``taken`` is at least ``apart_m``."""
    there = list(taken)
    for slot in slots:
        spot = centre + np.asarray(slot)
        if all(np.hypot(*(spot - other)) >= apart_m for other in there):
            return spot
    return None


def _inside(state: SceneState, target: str, without: str) -> list[np.ndarray]:
    inside = (name for name in state.cubes if name != without and state.support[name] == target)
    return [np.array(state.position_m[name][:2]) for name in inside]


def _off_mat(points: np.ndarray, state: SceneState) -> np.ndarray:
    if state.mat is None:
        return np.ones(len(points), bool)
    x, y, _ = state.position_m[state.mat]
    return (np.abs(points[:, 0] - x) > MAT_M / 2 + 0.03) | (np.abs(points[:, 1] - y) > MAT_M / 2 + 0.03)


def table_spot(state: SceneState, cube: str, tray_xy: tuple[float, float] | None) -> np.ndarray | None:
    """The free spot of bare table nearest to where the cube is now (never the place where it already stands)."""
    low, high = workspace(tray_xy is not None)
    axes = [np.arange(low[i] + 0.01, high[i] - 0.005, 0.02) for i in (0, 1)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 2)
    here = np.array(state.position_m[cube][:2])
    distance = np.hypot(*(points - here).T)
    allowed = _off_mat(points, state) & (distance > 0.085)
    for slack in (0.0, 0.012, 0.022):
        good = allowed & free(points, "cube", obstacles_of(state, cube), tray_xy, slack)
        if good.any():
            return points[good][np.argmin(distance[good])]
    return None


def beside_spot(state: SceneState, cube: str, step: Step, tray_xy: tuple[float, float] | None) -> np.ndarray | None:
    """The spot in a direction of a reference; a little farther or to the side where that is taken."""
    assert step.target is not None and step.relation is not None
    kind = "cube" if is_cube(step.target) else "bowl" if is_bowl(step.target) else "mat"
    reference = np.array(state.position_m[step.target][:2])
    along = np.array(DIRECTION_XY[step.relation])
    across = along[::-1]
    base = DIRECTION_STEP_M[kind]
    points = np.array(
        [reference + (base + more) * along + aside * across for more in (0, 0.02, 0.04) for aside in (0, 0.015, -0.015)]
    )
    others = [o for o in obstacles_of(state, cube) if np.hypot(o.x_m - reference[0], o.y_m - reference[1]) > 1e-6]
    for slack in (0.0, 0.022):
        good = free(points, "cube", others, tray_xy, slack)
        if kind != "mat":
            good &= np.hypot(*(points - reference).T) >= base - 0.001
        if good.any():
            return points[int(np.argmax(good))]
    return None


def place_pose(
    state: SceneState,
    step: Step,
    slide_m: float,
    cell_xy: np.ndarray | None = None,
    rng: np.random.Generator | None = None,
) -> Placement | None:
    """Where a ``place`` step leaves its cube, or None where there is no room (or the target is not there).

    ``slide_m``: how far the drawer is open; ``cell_xy``: the world spot of an ``at`` step's cell; ``rng``: jitter of a
    few millimetres and degrees, none without it.
    """
    cube, target = step.obj, step.target
    if step.verb != "place" or cube not in state.cubes or (target not in state.names and target not in (TABLE, None)):
        return None
    tray = closed_tray_xy(state, slide_m)
    spot: np.ndarray | None = None
    z, jitter_m = HALF_M, 0.004
    if step.relation == "at" and cell_xy is not None:
        # Half a cell of rounding: where a cube stood, another may stand.
        if free(cell_xy[None], "cube", obstacles_of(state, cube), tray, 0.025, 0.025)[0]:
            spot = np.asarray(cell_xy, float)
    elif target is None:
        return None
    elif step.relation == "in" and is_bowl(target):
        base = np.array(state.position_m[target])
        spot = first_free_slot(base[:2], BOWL_SLOTS_M, _inside(state, target, cube), 0.037)
        z, jitter_m = base[2] + BOWL_FLOOR_M + HALF_M, 0.001
        if spot is not None and np.hypot(*(spot - base[:2])) > 0.03:
            z += 0.012  # leans on the wall: comes down by itself
    elif step.relation == "in" and target == DRAWER and tray is not None and slide_m > 0.09:
        now = np.array([tray[0], tray[1] - slide_m])
        spot = first_free_slot(now, TRAY_SLOTS_M, _inside(state, target, cube), 0.037)
        z, jitter_m = TRAY_FLOOR_M + HALF_M, 0.001
    elif step.relation == "on" and is_mat(target):
        centre = np.array(state.position_m[target][:2])
        spot = first_free_slot(centre, MAT_SLOTS_M, _inside(state, target, cube), 0.055)
    elif step.relation == "on" and target == TABLE:
        spot = table_spot(state, cube, tray)
    elif step.relation == "on" and is_cube(target) and target != cube and state.on_top_of(target) in (None, cube):
        top = state.position_m[target]
        spot, z, jitter_m = np.array(top[:2]), top[2] + CUBE_M, 0.002
    elif step.relation in DIRECTIONS and target != DRAWER:
        spot = beside_spot(state, cube, step, tray)
    if spot is None:
        return None
    yaw = 0.0
    if rng is not None:
        spot = spot + np.clip(rng.normal(0, jitter_m / 2, 2), -jitter_m, jitter_m)
        yaw = float(np.clip(rng.normal(0, 0.03), -0.06, 0.06))
    return Placement(float(spot[0]), float(spot[1]), float(z) + 0.0005, yaw)
