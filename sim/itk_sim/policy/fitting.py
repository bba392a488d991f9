"""Where a cube is, from the pixels of its colour: the pose whose outline covers them best, on each possible support."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from itk_sim.arm import Pose
from itk_sim.cameras import CameraInfo
from itk_sim.measures import BOWL_FLOOR_M, CUBE_M, TRAY_FLOOR_M
from itk_sim.policy.colours import largest_blob
from itk_sim.policy.silhouettes import (
    CubeSeen,
    SceneSeen,
    bowl_outline,
    cube_points,
    fill,
    fill_bowl_near_wall,
    hull,
    paint,
    tray_near_walls,
)
from itk_sim.symbols import CUBES, DRAWER, TABLE

LEAST_BLOB_PX = 14
"""Fewer pixels of a colour than this are no cube."""
_HALF_M = CUBE_M / 2
_ON_CUBE_M, _IN_BOWL_M, _IN_TRAY_M = 0.026, 0.060, 0.046
_OTHER_CUBE_COST = 0.1  # of a pixel that another cube claims: it may stand in front
_YAWS = np.deg2rad(np.arange(0, 90, 15))
_START_STEPS, _END_STEP_M = (0.008, 0.008, np.deg2rad(10)), 0.0012


@dataclass(frozen=True)
class Evidence:
    """The labels of a picture and the pixels of one cube in them."""

    name: str
    labels: np.ndarray
    blob: np.ndarray

    @classmethod
    def of(cls, name: str, labels: np.ndarray) -> Evidence | None:
        """None where the picture does not show the cube."""
        mask = labels == CUBES.index(name) + 1
        if np.count_nonzero(mask) < LEAST_BLOB_PX:
            return None
        blob = largest_blob(mask)
        return cls(name, labels, blob) if np.count_nonzero(blob) >= LEAST_BLOB_PX else None

    @property
    def centre_px(self) -> np.ndarray:
        v, u = np.nonzero(self.blob)
        return np.array([u.mean() + 0.5, v.mean() + 0.5])

    @property
    def lowest_px(self) -> int:
        return int(np.nonzero(self.blob)[0].max())


class OutlineFit:
    """The cost of a cube's outline against one blob, in a window around it: pixels covered wrongly plus pixels missed.

    Args:
        hidden: (H,W) bool of pixels where something stands in front of the cube; they count neither way.
    """

    def __init__(
        self, evidence: Evidence, camera: CameraInfo, hidden: np.ndarray | None = None, margin_px: int = 14
    ) -> None:
        v, u = np.nonzero(evidence.blob)
        height, width = evidence.blob.shape
        top, bottom = max(0, v.min() - margin_px), min(height, v.max() + margin_px + 1)
        left, right = max(0, u.min() - margin_px), min(width, u.max() + margin_px + 1)
        window = (slice(top, bottom), slice(left, right))
        mine = evidence.blob[window]
        self._shift = np.array([left, top], np.float32)
        self._canvas = np.zeros(mine.shape, np.uint8)
        self._camera = camera
        # Cost of covering a pixel; missing one of mine costs 1, so covering it costs -1 against a constant.
        cost = np.where(evidence.labels[window] > 0, _OTHER_CUBE_COST, 1.0)
        if hidden is not None:
            cost[hidden[window]] = 0.0
        self._cost = np.where(mine, -1.0, cost).astype(np.float32)
        self._pixels = float(np.count_nonzero(mine))

    def cost(self, pose: Pose) -> float:
        """Pixels of disagreement."""
        self._canvas[:] = 0
        fill(self._canvas, hull(self._camera, cube_points(pose)) - self._shift, 1)
        return float(self._cost[self._canvas > 0].sum()) + self._pixels

    def best(self, x: float, y: float, z: float, yaws: Iterable[float] = _YAWS) -> tuple[Pose, float]:
        """The pose at height ``z`` with least cost near (x, y), by pattern search; its cost per pixel of the blob.

        A blob smaller than a cube is a cube partly hidden, and its middle is not the cube's: then the search also
        starts farther away and nearer.
        """
        whole = self._area(Pose(x, y, z, 0.4))
        starts = (0.0,) if self._pixels > 0.8 * whole else (0.0, -0.02, -0.045, 0.025)
        return min((self._descend(x + dx, y, z, yaws) for dx in starts), key=lambda found: found[1])

    def _area(self, pose: Pose) -> float:
        self._canvas[:] = 0
        fill(self._canvas, hull(self._camera, cube_points(pose)) - self._shift, 1)
        return float(np.count_nonzero(self._canvas))

    def _descend(self, x: float, y: float, z: float, yaws: Iterable[float]) -> tuple[Pose, float]:
        pose = min((Pose(x, y, z, float(yaw)) for yaw in yaws), key=self.cost)
        least = self.cost(pose)
        steps = np.array(_START_STEPS)
        while steps[0] > _END_STEP_M:
            better = False
            for dx, dy, dyaw in np.concatenate([np.diag(steps), -np.diag(steps)]):
                other = Pose(pose.x + dx, pose.y + dy, z, pose.yaw + dyaw)
                cost = self.cost(other)
                if cost < least - 1e-6:
                    pose, least, better = other, cost, True
            if not better:
                steps = steps / 2
        return Pose(pose.x, pose.y, z, float((pose.yaw + np.pi / 4) % (np.pi / 2) - np.pi / 4)), least / self._pixels


def placements(evidence: Evidence, scene: SceneSeen, camera: CameraInfo) -> list[tuple[CubeSeen, float]]:
    """Every way in which the cube could stand in ``scene`` (which must not have it) and be seen like this, with the
    disagreement, in pixels, between the whole scene painted so and the picture; best first."""
    found: list[CubeSeen] = []
    free = OutlineFit(evidence, camera, _hidden_by_bowls(evidence, scene, camera))

    def fit(support: str, z: float, hidden: np.ndarray | None = None) -> CubeSeen:
        x, y, _ = camera.unproject(evidence.centre_px, z)
        pose, cost = (free if hidden is None else OutlineFit(evidence, camera, hidden)).best(float(x), float(y), z)
        return CubeSeen(evidence.name, pose, support, max(0.0, 1.0 - cost))

    table = fit(TABLE, _HALF_M)
    if not _inside_something(table, scene):
        found.append(table)
    for below in scene.cubes.values():
        if scene.covered(below.name) or below.support == DRAWER or below.support.endswith("bowl"):
            continue
        z = below.pose.z + CUBE_M
        x, y, _ = camera.unproject(evidence.centre_px, z)
        if np.hypot(x - below.pose.x, y - below.pose.y) < 2 * _ON_CUBE_M:
            on_top = fit(below.name, z)
            if np.hypot(on_top.pose.x - below.pose.x, on_top.pose.y - below.pose.y) < _ON_CUBE_M:
                found.append(on_top)
    for bowl in scene.bowls:
        wall = np.zeros(evidence.blob.shape, np.uint8)
        fill_bowl_near_wall(wall, camera, bowl, 1)
        for z in (BOWL_FLOOR_M + _HALF_M, BOWL_FLOOR_M + 3 * _HALF_M):
            x, y, _ = camera.unproject(evidence.centre_px, z)
            if np.hypot(x - bowl.x, y - bowl.y) < 1.5 * _IN_BOWL_M:
                inside = fit(bowl.name, z, wall > 0)
                if np.hypot(inside.pose.x - bowl.x, inside.pose.y - bowl.y) < _IN_BOWL_M:
                    found.append(inside)
    found += _in_tray(evidence, scene, camera, fit)
    judged = [(cube, disagreement(scene.having(cube), evidence.labels, camera)) for cube in found]
    return sorted(judged, key=lambda item: item[1])


def _hidden_by_bowls(evidence: Evidence, scene: SceneSeen, camera: CameraInfo) -> np.ndarray:
    """(H,W) bool: where a bowl stands in front of a cube on the table."""
    canvas = np.zeros(evidence.blob.shape, np.uint8)
    for bowl in scene.bowls:
        fill(canvas, bowl_outline(camera, bowl), 1)
    return canvas > 0


def _in_tray(evidence: Evidence, scene: SceneSeen, camera: CameraInfo, fit) -> list[CubeSeen]:  # type: ignore[no-untyped-def]
    drawer = scene.drawer
    if drawer is None or not drawer.is_open:
        return []
    z = TRAY_FLOOR_M + _HALF_M
    x, y, _ = camera.unproject(evidence.centre_px, z)
    if max(abs(x - drawer.x), abs(y - drawer.tray_y)) > 1.5 * _IN_TRAY_M:
        return []
    walls = np.zeros(evidence.blob.shape, np.uint8)
    for outline in tray_near_walls(camera, drawer):
        fill(walls, outline, 1)
    inside = fit(DRAWER, z, walls > 0)
    if max(abs(inside.pose.x - drawer.x), abs(inside.pose.y - drawer.tray_y)) > _IN_TRAY_M:
        return []
    return [inside]


def _inside_something(cube: CubeSeen, scene: SceneSeen) -> bool:
    """Whether a cube on the table would stick in a bowl, in the drawer or in another cube."""
    x, y = cube.pose.x, cube.pose.y
    if any(np.hypot(x - bowl.x, y - bowl.y) < 0.07 for bowl in scene.bowls):
        return True
    drawer = scene.drawer
    if drawer is not None and abs(x - drawer.x) < 0.06 and y > drawer.post_y + 0.03:
        return True
    return any(
        np.hypot(x - other.pose.x, y - other.pose.y) < 0.75 * CUBE_M and abs(cube.pose.z - other.pose.z) < 0.75 * CUBE_M
        for other in scene.cubes.values()
    )


def disagreement(scene: SceneSeen, labels: np.ndarray, camera: CameraInfo) -> float:
    """Pixels whose cube label differs between the painted scene and a picture's labels."""
    return float(np.count_nonzero(paint(scene, camera) != labels))
