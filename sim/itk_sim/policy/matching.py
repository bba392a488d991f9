"""What must happen so that the front camera sees the goal picture: which cube goes where, or the drawer.

Each hypothesis (this cube stands there, all else as it is now) is painted and compared with the goal's colours; the one
that leaves least unexplained wins. What no single move explains is refused with a reason.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

import cv2
import numpy as np

from itk_sim.cameras import CameraInfo
from itk_sim.policy.fitting import Evidence, best_placement, disagreement, placements
from itk_sim.policy.seeing import cube_labels, drawer_in_goal
from itk_sim.policy.silhouettes import CubeSeen, SceneSeen, paint
from itk_sim.symbols import CUBES, DRAWER

_SAME_OVERLAP = 0.72  # of a cube's pixels now and in the goal (intersection over union), above which it has not moved
_LOST_SHARE = 0.3
_BIG_PX = 60
_LEAST_MOVE_M = 0.017
_COPY_PX, _COPY_APART_PX = 12, 20.0  # less two pixels all round; a cube is 14 wide
_SLIVER_PX = 6  # so much of a cube behind a tower is enough to know where it is


class ChangeKind(StrEnum):
    NONE = "none"
    MOVE = "move"
    OPEN = "open"
    CLOSE = "close"
    UNCLEAR = "unclear"


@dataclass(frozen=True)
class Change:
    """What the goal asks for. ``origin`` and ``goal`` are set for a move; ``reason`` where it is unclear."""

    kind: ChangeKind
    origin: CubeSeen | None = None
    goal: CubeSeen | None = None
    reason: str = ""


def _unclear(reason: str) -> Change:
    return Change(ChangeKind.UNCLEAR, reason=reason)


def find_change(now: SceneSeen, frame: np.ndarray, goal: np.ndarray, camera: CameraInfo) -> Change:
    """Compare the scene ``now`` (seen in ``frame``) with the picture ``goal``; both of work size, from ``camera``."""
    labels_now, labels = (cube_labels(image, now.drawer, camera) for image in (frame, goal))
    open_in_goal = drawer_in_goal(now.drawer, goal, camera)
    if now.drawer is not None and open_in_goal is not None and open_in_goal != now.drawer.is_open:
        return _drawer_change(now, labels_now, labels, camera)
    changed = [name for name in CUBES if _overlap(labels_now, labels, CUBES.index(name) + 1) < _SAME_OVERLAP]
    if not changed:
        return Change(ChangeKind.NONE)
    return _move(now, labels_now, labels, camera, changed)


def _overlap(labels_now: np.ndarray, labels: np.ndarray, label: int) -> float:
    """Intersection over union of a cube's pixels; 1 where neither picture shows enough of it."""
    before, after = labels_now == label, labels == label
    union = np.count_nonzero(before | after)
    return 1.0 if union < 14 else np.count_nonzero(before & after) / union


def _move(
    now: SceneSeen, labels_now: np.ndarray, labels: np.ndarray, camera: CameraInfo, changed: list[str]
) -> Change:
    twice = next((name for name in changed if _copies(name, labels_now, labels)), None)
    if twice is not None:
        return _unclear(f"the goal shows the {twice} more than once")
    best: tuple[CubeSeen, float] | None = None
    for name in changed:
        evidence = Evidence.of(name, labels, _SLIVER_PX)
        if name not in now.cubes or evidence is None or now.covered(name):
            continue
        way = best_placement(evidence, now.without(name), camera)
        if way is not None and (best is None or way[1] < best[1]):
            best = way
    unchanged = disagreement(now, labels, camera)
    if best is None or best[1] > unchanged - 10:
        return _nothing_moves(now, labels_now, labels, camera)
    goal = best[0]
    origin = now.cubes[goal.name]
    strays = _strays(now.without(goal.name).having(goal), labels_now, labels, camera, goal.name)
    if strays:
        return _unclear(f"the goal changes more than one thing: the {goal.name} and the {' and the '.join(strays)}")
    if np.linalg.norm(goal.pose.position - origin.pose.position) < _LEAST_MOVE_M:
        return Change(ChangeKind.NONE)
    return Change(ChangeKind.MOVE, origin, goal)


def _copies(name: str, labels_now: np.ndarray, labels: np.ndarray) -> bool:
    """Whether the goal shows a cube at two places too far apart to be one cube with something in front of it. Stripes
    of its colour between two others do not count, nor what looks so now already (the bright top of another cube)."""
    label = CUBES.index(name) + 1
    evidence, origin = Evidence.of(name, labels), Evidence.of(name, labels_now)
    if evidence is None:
        return False
    rest = (labels == label) & ~evidence.blob
    if origin is not None:
        alike = (labels_now == label) & ~origin.blob
        rest &= cv2.dilate(alike.astype(np.uint8), np.ones((3, 3), np.uint8)) == 0
    solid = cv2.erode(rest.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    if np.count_nonzero(solid) < _COPY_PX:
        return False
    v, u = np.nonzero(solid)
    return float(np.hypot(*(np.array([u.mean(), v.mean()]) + 0.5 - evidence.centre_px))) > _COPY_APART_PX


def _nothing_moves(now: SceneSeen, labels_now: np.ndarray, labels: np.ndarray, camera: CameraInfo) -> Change:
    strays = _strays(now, labels_now, labels, camera)
    if not strays:
        return Change(ChangeKind.NONE)
    name = strays[0]
    if now.covered(name):
        return _unclear(f"the {name} changes in the goal, but another cube stands on it")
    if name not in now.cubes:
        return _unclear(f"the goal shows a {name} that cannot be seen now")
    return _unclear(f"the goal does not show where the {name} should go")


def _strays(
    scene: SceneSeen, labels_now: np.ndarray, labels: np.ndarray, camera: CameraInfo, mover: str = ""
) -> list[str]:
    """Cubes that the goal shows elsewhere than ``scene`` has them, or not at all though they should be seen, or that
    ``scene`` lacks. What the goal shows where it is seen now has not strayed, however well it was measured."""
    painted = paint(scene, camera)
    found = []
    for label, name in enumerate(CUBES, start=1):
        expected, shown = painted == label, labels == label
        size = np.count_nonzero(expected)
        if name != mover and _stays(labels_now == label, shown):
            continue
        appears = size == 0 and np.count_nonzero(shown) > 2 * _BIG_PX
        if appears or (size > _BIG_PX and np.count_nonzero(expected & shown) < _LOST_SHARE * size):
            found.append(name)
    return found


def _stays(before: np.ndarray, after: np.ndarray) -> bool:
    least = min(np.count_nonzero(before), np.count_nonzero(after))
    return bool(least > _SLIVER_PX and np.count_nonzero(before & after) > 0.5 * least)


def _drawer_change(now: SceneSeen, labels_now: np.ndarray, labels: np.ndarray, camera: CameraInfo) -> Change:
    """The drawer opens or closes; its content appears or goes, nothing else may move."""
    assert now.drawer is not None
    kind = ChangeKind.CLOSE if now.drawer.is_open else ChangeKind.OPEN
    still = {name: cube for name, cube in now.cubes.items() if cube.support != DRAWER}
    after = replace(now, cubes=still, drawer=now.drawer.moved())
    for name in CUBES:
        evidence = Evidence.of(name, labels) if name not in still else None
        if kind is ChangeKind.OPEN and evidence is not None:
            inside = [cube for cube, _ in placements(evidence, after, camera) if cube.support == DRAWER]
            after = after.having(inside[0]) if inside else after
    strays = _strays(after, labels_now, labels, camera)
    if strays:
        return _unclear(f"the goal changes more than one thing: the drawer and the {' and the '.join(strays)}")
    return Change(kind)
