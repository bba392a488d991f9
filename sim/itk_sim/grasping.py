"""Which way to take hold of a cube and to put it down, so that neither fingers nor hand touch what stands beside it.

Plain geometry on given poses: parts of the gripper and things on the table are boxes over a footprint, bowls are rings.
The gripper comes straight down, so a part touches a thing where their footprints overlap and the thing's top is above
the part's underside.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from itk_sim.arm import Pose
from itk_sim.measures import (
    BOWL_BASE_RADIUS_M,
    BOWL_HEIGHT_M,
    BOWL_RIM_RADIUS_M,
    CABINET_X_M,
    CABINET_Y_M,
    CABINET_Z_M,
    CUBE_M,
    HANDLE_BEFORE_CENTRE_M,
    HANDLE_HEIGHT_M,
    TRAY_FLOOR_M,
    TRAY_INNER_M,
    TRAY_WALL_M,
    WALL_M,
)
from itk_sim.motions import POST_OPENING_M

GRIP_ABOVE_CENTRE_M = 0.009
"""The fingers hold a cube's upper half, so that their thick shafts stay above its neighbours."""
OPENINGS_M = (0.070, 0.060, 0.052)
SAFE_M = 0.012
"""More clearance than this is worth nothing: the first choice that has it is taken."""

_TIP_BELOW_TCP_M, _SHAFT_ABOVE_TCP_M, _HAND_ABOVE_TCP_M = 0.009, 0.011, 0.037
_TIP_THICK_M, _SHAFT_THICK_M, _FINGER_HALF_WIDTH_M = 0.013, 0.026, 0.0105
_HAND_HALF_X_M, _HAND_HALF_Y_M = 0.032, 0.103
_WALL_HALF_M = 0.005
_SPACING_M = 0.006
"""Between the points of an outline."""


@dataclass(frozen=True)
class Block:
    """An upright box: centre (x, y), yaw, half sizes along its own axes, bottom and top heights; metres, radians."""

    x: float
    y: float
    yaw: float
    half_x: float
    half_y: float
    bottom: float
    top: float

    @cached_property
    def outline(self) -> np.ndarray:
        """(n, 2) world points around the footprint."""
        nx, ny = (max(2, int(np.ceil(2 * h / _SPACING_M)) + 1) for h in (self.half_x, self.half_y))
        x, y = np.linspace(-self.half_x, self.half_x, nx), np.linspace(-self.half_y, self.half_y, ny)
        local = np.concatenate(
            [np.column_stack([x, np.full(nx, s * self.half_y)]) for s in (-1, 1)]
            + [np.column_stack([np.full(ny, s * self.half_x), y]) for s in (-1, 1)]
            + [np.zeros((1, 2))]
        )
        cos, sin = np.cos(self.yaw), np.sin(self.yaw)
        return local @ np.array([[cos, sin], [-sin, cos]]) + [self.x, self.y]

    def distance(self, points: np.ndarray) -> np.ndarray:
        """Signed distance (n,) of world points (n, 2) to the footprint; negative inside."""
        cos, sin = np.cos(self.yaw), np.sin(self.yaw)
        local = np.abs((points - [self.x, self.y]) @ np.array([[cos, -sin], [sin, cos]])) - [self.half_x, self.half_y]
        outside = np.linalg.norm(np.maximum(local, 0.0), axis=1)
        return outside + np.minimum(local.max(axis=1), 0.0)


@dataclass(frozen=True)
class BowlRing:
    """A bowl's wall: its centre on the table."""

    x: float
    y: float
    bottom: float = 0.0
    top: float = BOWL_HEIGHT_M

    def distance(self, points: np.ndarray, bottom_m: float) -> np.ndarray:
        """Signed distance (n,) to the wall from ``bottom_m`` upwards, inside or outside."""
        radius = np.linalg.norm(points - [self.x, self.y], axis=1)
        share = np.clip((bottom_m - self.bottom) / BOWL_HEIGHT_M, 0.0, 1.0)
        inner = BOWL_BASE_RADIUS_M + (BOWL_RIM_RADIUS_M - BOWL_BASE_RADIUS_M) * np.sin(share * np.pi / 2) - _WALL_HALF_M
        return np.maximum(inner - radius, radius - BOWL_RIM_RADIUS_M - 0.002)


Obstacle = Block | BowlRing


def cube_block(pose: Pose) -> Block:
    """A cube at ``pose`` (its centre)."""
    half = CUBE_M / 2
    return Block(pose.x, pose.y, pose.yaw, half, half, pose.z - half, pose.z + half)


def drawer_blocks(x: float, tray_y: float, slide_m: float) -> list[Block]:
    """The drawer with its tray centred at (x, tray_y), ``slide_m`` open: cabinet, tray walls, face and handle."""
    cabinet_y, half, top = tray_y + slide_m, TRAY_INNER_M / 2 + WALL_M, TRAY_FLOOR_M + TRAY_WALL_M
    post_y = tray_y - HANDLE_BEFORE_CENTRE_M
    return [
        Block(x, cabinet_y, 0.0, CABINET_X_M / 2, CABINET_Y_M / 2, 0.0, CABINET_Z_M),
        Block(x, tray_y - CABINET_Y_M / 2, 0.0, CABINET_X_M / 2, 0.003, 0.0, 0.063),
        Block(x, post_y, 0.0, 0.008, 0.008, 0.0, HANDLE_HEIGHT_M + 0.002),
        *(Block(x + side * half, tray_y, 0.0, WALL_M / 2, half, 0.0, top) for side in (-1, 1)),
        *(Block(x, tray_y + side * half, 0.0, half, WALL_M / 2, 0.0, top) for side in (-1, 1)),
    ]


def gripper_parts(pose: Pose, opening_m: float) -> list[Block]:
    """The fingers and the hand with the point between the finger tips at ``pose``."""
    cos, sin = np.cos(pose.yaw), np.sin(pose.yaw)
    parts = []
    for side in (-1.0, 1.0):
        for thick, above in ((_TIP_THICK_M, -_TIP_BELOW_TCP_M), (_SHAFT_THICK_M, _SHAFT_ABOVE_TCP_M)):
            offset = side * (opening_m + thick) / 2
            centre = (pose.x + sin * offset, pose.y - cos * offset)
            parts.append(
                Block(*centre, pose.yaw, _FINGER_HALF_WIDTH_M, thick / 2, pose.z + above, pose.z + _HAND_ABOVE_TCP_M)
            )
    parts.append(
        Block(pose.x, pose.y, pose.yaw, _HAND_HALF_X_M, _HAND_HALF_Y_M, pose.z + _HAND_ABOVE_TCP_M, pose.z + 0.2)
    )
    return parts


def clearance(parts: Iterable[Block], obstacles: Sequence[Obstacle]) -> float:
    """Least signed horizontal distance (m) between ``parts`` coming straight down and ``obstacles``; at most 0.1."""
    least = 0.1
    for part in parts:
        for obstacle in obstacles:
            if obstacle.top <= part.bottom:
                continue
            if isinstance(obstacle, BowlRing):
                distance = obstacle.distance(part.outline, part.bottom).min()
            else:
                distance = min(obstacle.distance(part.outline).min(), part.distance(obstacle.outline).min())
            least = min(least, float(distance))
    return least


@dataclass(frozen=True)
class Grasp:
    """A chosen grasp: the gripper's pose, its opening on the way down, and the clearance it has, metres."""

    pose: Pose
    opening_m: float
    clearance_m: float


def _near(yaw: float, preferred: float) -> float:
    """The same gripper direction (a half turn changes nothing) nearest to ``preferred``."""
    return yaw + np.pi * round((preferred - yaw) / np.pi)


def choose_grasp(cube: Pose, obstacles: Sequence[Obstacle], preferred_yaw: float = 0.0) -> Grasp:
    """How to grasp the cube at ``cube`` (centre, any of its four yaws): the two directions across its faces and three
    finger openings, widest first; the first with safe clearance, else the one with most."""
    best: Grasp | None = None
    faces = [_near(cube.yaw + k * np.pi / 2, preferred_yaw) for k in (0, 1)]
    yaws = sorted(faces, key=lambda yaw: abs(yaw - preferred_yaw))
    for opening in OPENINGS_M:
        for yaw in yaws:
            pose = Pose(cube.x, cube.y, cube.z + GRIP_ABOVE_CENTRE_M, yaw)
            grasp = Grasp(pose, opening, clearance(gripper_parts(pose, opening), obstacles))
            if grasp.clearance_m >= SAFE_M:
                return grasp
            if best is None or grasp.clearance_m > best.clearance_m:
                best = grasp
    assert best is not None
    return best


def choose_placement(
    cube: Pose, obstacles: Sequence[Obstacle], yaws: Sequence[float] | None = None, preferred_yaw: float = 0.0
) -> Grasp:
    """How to put a held cube down with its centre at ``cube``: the gripper yaw (of ``yaws``, else of twelve all round)
    with safe clearance nearest to ``preferred_yaw``, else with most clearance. The cube lies square in the gripper."""
    candidates = preferred_yaw + np.deg2rad(np.arange(0, 180, 15)) if yaws is None else np.asarray(yaws)
    turned = sorted((_near(float(y), preferred_yaw) for y in candidates), key=lambda y: abs(y - preferred_yaw))
    best: Grasp | None = None
    for yaw in turned:
        pose = Pose(cube.x, cube.y, cube.z + GRIP_ABOVE_CENTRE_M, yaw)
        held = cube_block(Pose(cube.x, cube.y, cube.z + 0.002, yaw))
        free = clearance([*gripper_parts(pose, CUBE_M + 0.014), held], obstacles)
        if free >= SAFE_M / 2:
            return Grasp(pose, CUBE_M, free)
        if best is None or free > best.clearance_m:
            best = Grasp(pose, CUBE_M, free)
    assert best is not None
    return best


def choose_handle_yaw(post: Pose, distance_m: float, obstacles: Sequence[Obstacle]) -> float:
    """The gripper's yaw for carrying the drawer's round post ``distance_m`` along +y with most room on the way: square
    to the drawer's front, or turned by up to 45 degrees. ``obstacles`` without the drawer itself."""
    best_yaw, best = np.pi / 2, -1.0
    for turn in np.deg2rad((0, 15, -15, 30, -30, 45, -45)):
        yaw = np.pi / 2 + turn
        way = [Pose(post.x, post.y + share * distance_m, post.z, yaw) for share in np.linspace(0, 1, 5)]
        room = min(clearance(gripper_parts(pose, POST_OPENING_M), obstacles) for pose in way)
        if room >= SAFE_M:
            return float(yaw)
        if room > best:
            best_yaw, best = float(yaw), room
    return best_yaw
