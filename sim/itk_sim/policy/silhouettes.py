"""Outlines of cubes, bowls and the drawer as a calibrated camera would see them, and label pictures painted from them.

Painter's algorithm: things are painted from far to near; a cube leaves its label, everything else leaves 0 (it hides
what is behind it). A bowl and the open tray are painted twice: whole, then what is in them, then their near wall.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

import cv2
import numpy as np

from itk_sim.arm import Pose
from itk_sim.cameras import CameraInfo
from itk_sim.measures import (
    BOWL_BASE_RADIUS_M,
    BOWL_HEIGHT_M,
    BOWL_RIM_RADIUS_M,
    CABINET_X_M,
    CABINET_Y_M,
    CABINET_Z_M,
    CUBE_M,
    DRAWER_OPEN_M,
    HANDLE_BEFORE_CENTRE_M,
    HANDLE_HEIGHT_M,
    TRAY_FLOOR_M,
    TRAY_INNER_M,
    TRAY_WALL_M,
    WALL_M,
)
from itk_sim.policy.bowls import BowlSeen
from itk_sim.symbols import CUBES, DRAWER

_CORNERS = np.array([(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float) * (CUBE_M / 2)
_ANGLES = np.linspace(0, 2 * np.pi, 28, endpoint=False)
_NEAR_ANGLES = np.linspace(-np.pi / 2, np.pi / 2, 11)


@dataclass(frozen=True)
class CubeSeen:
    """A cube as found in a picture: its pose (centre), what it rests on ("table" stands for the mat too), and the share
    of its visible outline that the picture confirms."""

    name: str
    pose: Pose
    support: str
    fit: float = 1.0


@dataclass(frozen=True)
class DrawerSeen:
    """The drawer as found in a picture: the axis of its handle post and whether it is open."""

    x: float
    post_y: float
    is_open: bool

    @property
    def tray_y(self) -> float:
        return self.post_y + HANDLE_BEFORE_CENTRE_M

    @property
    def slide_m(self) -> float:
        return DRAWER_OPEN_M if self.is_open else 0.0

    def moved(self) -> DrawerSeen:
        """The same drawer, open if it was closed and the other way round."""
        shift = DRAWER_OPEN_M if self.is_open else -DRAWER_OPEN_M
        return DrawerSeen(self.x, self.post_y + shift, not self.is_open)


@dataclass(frozen=True)
class SceneSeen:
    """What was found in a picture."""

    cubes: Mapping[str, CubeSeen] = field(default_factory=dict)
    bowls: tuple[BowlSeen, ...] = ()
    drawer: DrawerSeen | None = None

    def without(self, name: str) -> SceneSeen:
        return SceneSeen({k: cube for k, cube in self.cubes.items() if k != name}, self.bowls, self.drawer)

    def having(self, cube: CubeSeen) -> SceneSeen:
        return SceneSeen({**self.cubes, cube.name: cube}, self.bowls, self.drawer)

    def covered(self, name: str) -> bool:
        """Whether another cube stands on this one."""
        return any(cube.support == name for cube in self.cubes.values())


def cube_points(pose: Pose) -> np.ndarray:
    """(8,3) corners."""
    cos, sin = np.cos(pose.yaw), np.sin(pose.yaw)
    return _CORNERS @ np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1.0]]) + pose.position


def _box(low: tuple[float, float, float], high: tuple[float, float, float]) -> np.ndarray:
    return np.array([(x, y, z) for x in (low[0], high[0]) for y in (low[1], high[1]) for z in (low[2], high[2])])


def _circle(radius: float, z: float, angles: np.ndarray, bowl: BowlSeen) -> np.ndarray:
    return np.stack([bowl.x + radius * np.cos(angles), bowl.y + radius * np.sin(angles), np.full(len(angles), z)], 1)


def hull(camera: CameraInfo, points: np.ndarray) -> np.ndarray:
    """The outline (n,2) float32, pixels, of a convex thing with these corners (m,3), for `fill`."""
    return cv2.convexHull(camera.project(points).astype(np.float32))[:, 0]


def fill(canvas: np.ndarray, outline: np.ndarray, value: int) -> None:
    """Set the pixels whose centres lie inside a convex outline. (OpenCV's fill also sets every pixel that the outline
    touches, half a pixel too much all round: too coarse for things of fifteen pixels.)"""
    height, width = canvas.shape
    left, top = np.maximum(np.floor(outline.min(0)).astype(int), 0)
    right, bottom = np.minimum(np.ceil(outline.max(0)).astype(int), (width, height))
    if left >= right or top >= bottom:
        return
    u, v = np.arange(left, right) + 0.5, (np.arange(top, bottom) + 0.5)[:, None]
    corner = outline[:, :, None, None]
    edge = np.roll(outline, -1, axis=0)[:, :, None, None] - corner
    side = edge[:, 0] * (v - corner[:, 1]) - edge[:, 1] * (u - corner[:, 0])
    canvas[top:bottom, left:right][(side >= 0).all(0) | (side <= 0).all(0)] = value


def fill_wall(canvas: np.ndarray, upper: np.ndarray, lower: np.ndarray, value: int) -> None:
    """Set the pixels between two curves (n,2) with as many points each."""
    for i in range(len(upper) - 1):
        fill(canvas, cv2.convexHull(np.concatenate([upper[i : i + 2], lower[i : i + 2]]))[:, 0], value)


def fill_bowl_near_wall(canvas: np.ndarray, camera: CameraInfo, bowl: BowlSeen, value: int) -> None:
    """Set what the outside of the wall on the camera's side covers: it hides the foot of a cube in the bowl."""
    rim = camera.project(_circle(BOWL_RIM_RADIUS_M, BOWL_HEIGHT_M, _NEAR_ANGLES, bowl))
    foot = camera.project(_circle(BOWL_BASE_RADIUS_M, 0.0, _NEAR_ANGLES, bowl))
    fill_wall(canvas, rim.astype(np.float32), foot.astype(np.float32), value)


def bowl_outline(camera: CameraInfo, bowl: BowlSeen) -> np.ndarray:
    """The outline of the whole bowl: what hides things behind it."""
    rim = _circle(BOWL_RIM_RADIUS_M, BOWL_HEIGHT_M, _ANGLES, bowl)
    return hull(camera, np.concatenate([rim, _circle(BOWL_BASE_RADIUS_M, 0.0, _ANGLES, bowl)]))


def tray_near_walls(camera: CameraInfo, drawer: DrawerSeen) -> list[np.ndarray]:
    """The outlines of what hides a cube in the open tray: its wall on the camera's side and its face."""
    half, top = TRAY_INNER_M / 2, TRAY_FLOOR_M + TRAY_WALL_M
    x, y = drawer.x, drawer.tray_y
    wall = _box((x + half, y - half - WALL_M, 0.008), (x + half + WALL_M, y + half + WALL_M, top))
    face_y = y - CABINET_Y_M / 2
    face = _box((x - CABINET_X_M / 2, face_y - 0.003, 0.003), (x + CABINET_X_M / 2, face_y + 0.003, 0.063))
    return [hull(camera, wall), hull(camera, face)]


def cabinet_outline(camera: CameraInfo, drawer: DrawerSeen) -> np.ndarray:
    """The outline of the drawer's cabinet."""
    x, y, wide, deep = drawer.x, drawer.tray_y + drawer.slide_m, CABINET_X_M / 2, CABINET_Y_M / 2
    return hull(camera, _box((x - wide, y - deep, 0.0), (x + wide, y + deep, CABINET_Z_M)))


def _drawer_outlines(camera: CameraInfo, drawer: DrawerSeen) -> list[np.ndarray]:
    half, top = TRAY_INNER_M / 2 + WALL_M, TRAY_FLOOR_M + TRAY_WALL_M
    x, y = drawer.x, drawer.tray_y
    tray = hull(camera, _box((x - half, y - half, 0.0), (x + half, y + half, top)))
    return [cabinet_outline(camera, drawer), tray, hull(camera, post_points(drawer.x, drawer.post_y))]


def post_points(x: float, y: float) -> np.ndarray:
    """Corners of the handle's post."""
    ring = np.stack([x + 0.008 * np.cos(_ANGLES), y + 0.008 * np.sin(_ANGLES), np.full(len(_ANGLES), 0.003)], 1)
    return np.concatenate([ring, ring + np.array([0, 0, HANDLE_HEIGHT_M - 0.002])])


def stem_points(x: float, y: float) -> np.ndarray:
    """Corners of the rod between the post at (x, y) and the drawer's face."""
    return _box((x - 0.004, y, 0.026), (x + 0.004, y + HANDLE_BEFORE_CENTRE_M - CABINET_Y_M / 2, 0.034))


def paint(scene: SceneSeen, camera: CameraInfo) -> np.ndarray:
    """(H,W) uint8 labels as `label_cubes` would give for this scene; cubes, bowls and drawer hide each other."""
    canvas = np.zeros((camera.height, camera.width), np.uint8)
    for layer in sorted(_layers(scene, camera), key=lambda layer: -layer.distance):
        layer.draw(canvas)
    return canvas


@dataclass(frozen=True)
class _Layer:
    """Something to paint: its distance for ordering (m) and how it is painted."""

    distance: float
    draw: Callable[[np.ndarray], None]


def _layers(scene: SceneSeen, camera: CameraInfo) -> Iterator[_Layer]:
    eye = camera.world_from_camera[:3, 3]

    def away(x: float, y: float, z: float) -> float:
        return float(np.linalg.norm(eye - [x, y, z]))

    def flat(distance: float, outline: np.ndarray, label: int = 0) -> _Layer:
        return _Layer(distance, lambda canvas: fill(canvas, outline, label))

    centres: dict[str, float] = {}
    for bowl in scene.bowls:
        centre = centres[bowl.name] = away(bowl.x, bowl.y, 0.03)
        yield flat(centre + 0.05, bowl_outline(camera, bowl))
        yield _Layer(centre - 0.05, partial(fill_bowl_near_wall, camera=camera, bowl=bowl, value=0))
    if scene.drawer is not None:
        centre = centres[DRAWER] = away(scene.drawer.x, scene.drawer.tray_y, 0.03)
        for outline in _drawer_outlines(camera, scene.drawer):
            yield flat(centre + 0.05, outline)
        if scene.drawer.is_open:
            for outline in tray_near_walls(camera, scene.drawer):
                yield flat(centre - 0.05, outline)
    for cube in scene.cubes.values():
        distance = away(cube.pose.x, cube.pose.y, cube.pose.z)
        if cube.support in centres:  # between the thing's two layers
            distance = centres[cube.support] + float(np.clip(0.3 * (distance - centres[cube.support]), -0.04, 0.04))
        yield flat(distance, hull(camera, cube_points(cube.pose)), CUBES.index(cube.name) + 1)
