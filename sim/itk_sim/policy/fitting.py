"""Where a cube is, from the pixels of its colour: the pose whose outline covers them best, on each possible support."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from itk_sim.arm import Pose
from itk_sim.cameras import CameraInfo
from itk_sim.measures import BOWL_FLOOR_M, CUBE_M, TRAY_FLOOR_M, WORKSPACE_X_M, WORKSPACE_Y_M
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
_ON_CUBE_M, _IN_BOWL_M, _IN_TRAY_M = 0.024, 0.058, 0.040
_SLACK_M = 0.032  # the middle of what is seen of a cube may be this far from the cube's
_BEYOND_M = 0.018
_APART_M = 0.035
_OTHER_CUBE_COST = 0.1  # of a pixel that another cube claims: it may stand in front
_SLIVER_PX = 40.0
_LEAST_EXPLAINED = 0.3
_YAWS = np.deg2rad(np.arange(0, 90, 15))
_START_STEPS, _END_STEP_M = (0.008, 0.008, np.deg2rad(10)), 0.0012


@dataclass(frozen=True)
class Evidence:
    """The labels of a picture and the pixels of one cube in them."""

    name: str
    labels: np.ndarray
    blob: np.ndarray

    @classmethod
    def of(cls, name: str, labels: np.ndarray, least_px: int = LEAST_BLOB_PX) -> Evidence | None:
        """None where the picture does not show the cube."""
        mask = labels == CUBES.index(name) + 1
        if np.count_nonzero(mask) < least_px:
            return None
        blob = largest_blob(mask)
        return cls(name, labels, blob) if np.count_nonzero(blob) >= least_px else None

    @property
    def centre_px(self) -> np.ndarray:
        v, u = np.nonzero(self.blob)
        return np.array([u.mean() + 0.5, v.mean() + 0.5])

    @property
    def lowest_px(self) -> int:
        return int(np.nonzero(self.blob)[0].max())


@dataclass(frozen=True)
class Disc:
    """Where a cube's centre may be: around what carries it (world, m)."""

    x: float
    y: float
    radius: float

    def holds(self, x: float, y: float) -> bool:
        return bool(np.hypot(x - self.x, y - self.y) <= self.radius)

    def nearest(self, x: float, y: float) -> tuple[float, float]:
        away = np.array([x - self.x, y - self.y])
        inwards = away * min(1.0, self.radius / max(float(np.hypot(*away)), 1e-9))
        return self.x + float(inwards[0]), self.y + float(inwards[1])


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

    def best(
        self, x: float, y: float, z: float, yaws: Iterable[float] = _YAWS, within: Disc | None = None
    ) -> tuple[Pose, float]:
        """The pose at height ``z`` with least cost near (x, y), by pattern search; its cost per pixel of the blob.

        A blob smaller than a cube is a cube partly hidden, and its middle is not the cube's: then the search also
        starts farther away and nearer.
        """
        whole = self._area(Pose(x, y, z, 0.4))
        starts = [(0.0, 0.0)]
        if self._pixels < 0.8 * whole:
            starts += [(-0.02, 0.0), (-0.045, 0.0), (0.025, 0.0)]
        if self._pixels < 0.3 * whole:
            starts += [(dx, dy) for dx in (0.0, -0.025) for dy in (-0.02, 0.02)]
        points = [(x + dx, y + dy) for dx, dy in starts]
        if within is not None:
            points = [within.nearest(*point) for point in points]
        return min((self._descend(*point, z, yaws, within) for point in points), key=lambda found: found[1])

    def _area(self, pose: Pose) -> float:
        self._canvas[:] = 0
        fill(self._canvas, hull(self._camera, cube_points(pose)) - self._shift, 1)
        return float(np.count_nonzero(self._canvas))

    def _descend(
        self, x: float, y: float, z: float, yaws: Iterable[float], within: Disc | None
    ) -> tuple[Pose, float]:
        pose = min((Pose(x, y, z, float(yaw)) for yaw in yaws), key=self.cost)
        least = self.cost(pose)
        steps = np.array(_START_STEPS)
        while steps[0] > _END_STEP_M:
            better = False
            for dx, dy, dyaw in np.concatenate([np.diag(steps), -np.diag(steps)]):
                other = Pose(pose.x + dx, pose.y + dy, z, pose.yaw + dyaw)
                if within is not None and not within.holds(other.x, other.y):
                    continue
                cost = self.cost(other)
                if cost < least - 1e-6:
                    pose, least, better = other, cost, True
            if not better:
                steps = steps / 2
        yaw = float((pose.yaw + np.pi / 4) % (np.pi / 2) - np.pi / 4)
        return Pose(pose.x, pose.y, z, yaw), least / max(self._pixels, _SLIVER_PX)


def best_placement(evidence: Evidence, scene: SceneSeen, camera: CameraInfo) -> tuple[CubeSeen, float] | None:
    """The best of `placements` if it explains a fair part of the cube's pixels, else None."""
    ways = placements(evidence, scene, camera)
    if not ways:
        return None
    explained = disagreement(scene, evidence.labels, camera) - ways[0][1]
    return ways[0] if explained > _LEAST_EXPLAINED * np.count_nonzero(evidence.blob) else None


def placements(evidence: Evidence, scene: SceneSeen, camera: CameraInfo) -> list[tuple[CubeSeen, float]]:
    """Every way in which the cube could stand in ``scene`` (which must not have it) and be seen like this, with the
    disagreement, in pixels, between the whole scene painted so and the picture; best first."""
    found: list[CubeSeen] = []
    free = OutlineFit(evidence, camera, _hidden_by_bowls(evidence, scene, camera))

    def fit(support: str, z: float, within: Disc | None = None, hidden: np.ndarray | None = None) -> None:
        x, y, _ = camera.unproject(evidence.centre_px, z)
        if within is not None and np.hypot(x - within.x, y - within.y) > within.radius + _SLACK_M:
            return
        outline = free if hidden is None else OutlineFit(evidence, camera, hidden)
        pose, cost = outline.best(float(x), float(y), z, within=within)
        cube = CubeSeen(evidence.name, pose, support, max(0.0, 1.0 - cost))
        if support != TABLE or _can_stand(cube, scene):
            found.append(cube)

    fit(TABLE, _HALF_M)
    for below in scene.cubes.values():
        if not (scene.covered(below.name) or below.support == DRAWER or below.support.endswith("bowl")):
            fit(below.name, below.pose.z + CUBE_M, Disc(below.pose.x, below.pose.y, _ON_CUBE_M))
    for bowl in scene.bowls:
        wall = np.zeros(evidence.blob.shape, np.uint8)
        fill_bowl_near_wall(wall, camera, bowl, 1)
        on_floor, on_others = BOWL_FLOOR_M + _HALF_M, BOWL_FLOOR_M + 3 * _HALF_M
        filled = any(cube.support == bowl.name for cube in scene.cubes.values())
        for z in (on_floor, on_others) if filled else (on_floor,):
            fit(bowl.name, z, Disc(bowl.x, bowl.y, _IN_BOWL_M), wall > 0)
    if scene.drawer is not None and scene.drawer.is_open:
        walls = np.zeros(evidence.blob.shape, np.uint8)
        for outline in tray_near_walls(camera, scene.drawer):
            fill(walls, outline, 1)
        tray = Disc(scene.drawer.x, scene.drawer.tray_y, _IN_TRAY_M)
        fit(DRAWER, TRAY_FLOOR_M + _HALF_M, tray, walls > 0)
    judged = [(cube, disagreement(scene.having(cube), evidence.labels, camera)) for cube in found]
    return sorted(judged, key=lambda item: item[1])


def _hidden_by_bowls(evidence: Evidence, scene: SceneSeen, camera: CameraInfo) -> np.ndarray:
    """(H,W) bool: where a bowl stands in front of a cube on the table."""
    canvas = np.zeros(evidence.blob.shape, np.uint8)
    for bowl in scene.bowls:
        fill(canvas, bowl_outline(camera, bowl), 1)
    return canvas > 0


def _can_stand(cube: CubeSeen, scene: SceneSeen) -> bool:
    """Whether a cube on the table is within reach and sticks neither in a bowl nor the drawer nor another cube."""
    x, y = cube.pose.x, cube.pose.y
    if not (_inside(x, WORKSPACE_X_M) and _inside(y, WORKSPACE_Y_M)):
        return False
    if any(np.hypot(x - bowl.x, y - bowl.y) < 0.07 for bowl in scene.bowls):
        return False
    drawer = scene.drawer
    if drawer is not None and abs(x - drawer.x) < 0.06 and y > drawer.post_y + 0.03:
        return False
    return all(
        np.hypot(x - other.pose.x, y - other.pose.y) > _APART_M or abs(cube.pose.z - other.pose.z) > 0.75 * CUBE_M
        for other in scene.cubes.values()
    )


def _inside(value: float, limits: tuple[float, float]) -> bool:
    return limits[0] - _BEYOND_M < value < limits[1] + _BEYOND_M


def disagreement(scene: SceneSeen, labels: np.ndarray, camera: CameraInfo) -> float:
    """Pixels whose cube label differs between the painted scene and a picture's labels."""
    return float(np.count_nonzero(paint(scene, camera) != labels))
