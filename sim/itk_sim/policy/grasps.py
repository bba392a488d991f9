"""From a change to gripper poses: how to take the cube, and where exactly to let it go."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from itk_sim.arm import Pose
from itk_sim.grasping import (
    BowlRing,
    Grasp,
    Obstacle,
    choose_grasp,
    choose_placement,
    cube_block,
    drawer_blocks,
)
from itk_sim.measures import BOWL_FLOOR_M, CUBE_M, TRAY_FLOOR_M, TRAY_INNER_M
from itk_sim.policy.silhouettes import CubeSeen, SceneSeen
from itk_sim.symbols import CUBES, DRAWER

_HALF_M = CUBE_M / 2
_BOWL_REACH_M, _BOWL_FLAT_M, _LEAN_M = 0.044, 0.030, 0.012
_TRAY_REACH_M = TRAY_INNER_M / 2 - _HALF_M - 0.002
_SEARCH_M = {"bowl": 0.05, "drawer": 0.05, "table": 0.024}
_LEAST_ROOM_M = 0.004
_SET_DOWN_M = 0.0015  # above where it shall rest


def obstacles(scene: SceneSeen) -> list[Obstacle]:
    """Everything in ``scene`` that fingers or hand could touch."""
    found: list[Obstacle] = [cube_block(cube.pose) for cube in scene.cubes.values()]
    found += [BowlRing(bowl.x, bowl.y) for bowl in scene.bowls]
    if scene.drawer is not None:
        found += drawer_blocks(scene.drawer.x, scene.drawer.tray_y, scene.drawer.slide_m)
    return found


def grasp_for(cube: CubeSeen, scene: SceneSeen) -> Grasp:
    """How to take the cube out of ``scene`` (with or without it)."""
    return choose_grasp(cube.pose, obstacles(scene.without(cube.name)))


def release_for(goal: CubeSeen, scene: SceneSeen, preferred_yaw: float) -> Pose:
    """The gripper pose in which to let the cube go so that it stands as ``goal``: square on a cube, inside a bowl or
    the tray, and shifted a little where the picture's estimate would have it touch something."""
    scene = scene.without(goal.name)
    around = obstacles(scene)
    if goal.support in CUBES:
        base = scene.cubes[goal.support].pose
        stand = Pose(base.x, base.y, base.z + CUBE_M, base.yaw)
        best = choose_placement(stand, around, [base.yaw, base.yaw + np.pi / 2], preferred_yaw)
    else:
        yaws = [goal.pose.yaw, goal.pose.yaw + np.pi / 2] + [k * np.pi / 4 for k in range(4)]
        best = _roomiest(_spots(goal, scene), around, yaws, preferred_yaw)
    return replace(best.pose, z=best.pose.z + _SET_DOWN_M)


def _roomiest(spots: list[Pose], around: list[Obstacle], yaws: list[float], preferred_yaw: float) -> Grasp:
    """The first of the spots with enough room, else the one with most."""
    best: Grasp | None = None
    for spot in spots:
        found = choose_placement(spot, around, yaws, preferred_yaw)
        if found.clearance_m >= _LEAST_ROOM_M:
            return found
        if best is None or found.clearance_m > best.clearance_m + 5e-4:
            best = found
    assert best is not None
    return best


def _spots(goal: CubeSeen, scene: SceneSeen) -> list[Pose]:
    """Where the cube may be set down, nearest to the goal first."""
    bowl = next((bowl for bowl in scene.bowls if bowl.name == goal.support), None)
    reach = _SEARCH_M["bowl" if bowl else "drawer" if goal.support == DRAWER else "table"]
    ticks = np.arange(-reach, reach + 1e-9, 0.004)
    offsets = np.stack(np.meshgrid(ticks, ticks, indexing="ij"), -1).reshape(-1, 2)
    points = offsets[np.argsort(np.hypot(*offsets.T), kind="stable")] + [goal.pose.x, goal.pose.y]
    if bowl is not None:
        radius = np.hypot(points[:, 0] - bowl.x, points[:, 1] - bowl.y)
        points, radius = points[radius <= _BOWL_REACH_M], radius[radius <= _BOWL_REACH_M]
        if not len(points):
            points, radius = np.array([[bowl.x, bowl.y]]), np.zeros(1)
        heights = BOWL_FLOOR_M + _HALF_M + np.where(radius > _BOWL_FLAT_M, _LEAN_M, 0.0)
        return [Pose(float(x), float(y), float(z), goal.pose.yaw) for (x, y), z in zip(points, heights, strict=True)]
    z = _HALF_M
    if goal.support == DRAWER and scene.drawer is not None:
        z = TRAY_FLOOR_M + _HALF_M
        inside = np.abs(points - [scene.drawer.x, scene.drawer.tray_y]).max(1) <= _TRAY_REACH_M
        points = points[inside] if inside.any() else np.array([[scene.drawer.x, scene.drawer.tray_y]])
    return [Pose(float(x), float(y), z, goal.pose.yaw) for x, y in points]


def hover_over(cube: CubeSeen) -> Pose:
    """Where the hand looks at a cube from: straight above it, over everything that may stand beside it."""
    return Pose(cube.pose.x, cube.pose.y, max(cube.pose.z + 0.11, 0.17), 0.0)
