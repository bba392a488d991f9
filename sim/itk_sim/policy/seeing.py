"""Reads a front picture: which cubes, bowls and drawer there are, where, and what stands on what."""

from __future__ import annotations

import cv2
import numpy as np

from itk_sim.cameras import CameraInfo
from itk_sim.measures import DRAWER_CENTRE_M, DRAWER_OPEN_M, HANDLE_BEFORE_CENTRE_M
from itk_sim.policy.bowls import find_bowls
from itk_sim.policy.colours import hsv, label_cubes, mask_black
from itk_sim.policy.fitting import Evidence, best_placement
from itk_sim.policy.silhouettes import DrawerSeen, SceneSeen, cabinet_outline, fill, hull, post_points, stem_points
from itk_sim.symbols import CUBES

_CLOSED_POST_Y_M = DRAWER_CENTRE_M[1] - HANDLE_BEFORE_CENTRE_M
_SEARCH_M = 0.02
_LEAST_HANDLE_FIT = 0.45
_DOUBTFUL_FIT = 0.85


def see(image: np.ndarray, camera: CameraInfo) -> SceneSeen:
    """Everything found in a work-size picture taken by ``camera`` (of that size)."""
    drawer = find_drawer(image, camera)
    labels = cube_labels(image, drawer, camera)
    bowls = find_bowls(image, camera, (labels > 0) | mask_black(image))
    bowls = [bowl for bowl in bowls if not _over_drawer(bowl.x, bowl.y, drawer)]
    return find_cubes(labels, SceneSeen({}, tuple(bowls), drawer), camera)


def cube_labels(image: np.ndarray, drawer: DrawerSeen | None, camera: CameraInfo) -> np.ndarray:
    """`label_cubes`, but nothing on the drawer's cabinet: its brown may be reddish."""
    labels = label_cubes(image)
    if drawer is not None:
        fill(labels, cabinet_outline(camera, drawer), 0)
    return labels


def find_cubes(labels: np.ndarray, scene: SceneSeen, camera: CameraInfo) -> SceneSeen:
    """Adds the cubes that the labels show to a scene of bowls and drawer: from the picture's bottom up, so that what
    carries is known before what it carries."""
    seen = [evidence for name in CUBES if (evidence := Evidence.of(name, labels)) is not None]
    seen.sort(key=lambda evidence: -evidence.lowest_px)
    for evidence in seen:
        scene = _place(evidence, scene, camera)
    for evidence in seen:  # once more where something was hidden, now that everything else is known
        cube = scene.cubes.get(evidence.name)
        if (cube is None or cube.fit < _DOUBTFUL_FIT) and not scene.covered(evidence.name):
            scene = _place(evidence, scene.without(evidence.name), camera)
    return scene


def _place(evidence: Evidence, scene: SceneSeen, camera: CameraInfo) -> SceneSeen:
    best = best_placement(evidence, scene, camera)
    return scene if best is None else scene.having(best[0])


def _over_drawer(x: float, y: float, drawer: DrawerSeen | None) -> bool:
    return drawer is not None and abs(x - drawer.x) < 0.14 and y > drawer.post_y - 0.03


def _handle_pixels(camera: CameraInfo, x: float, y: float, shape: tuple[int, ...]) -> np.ndarray:
    canvas = np.zeros(shape[:2], np.uint8)
    fill(canvas, hull(camera, post_points(x, y)), 1)
    fill(canvas, hull(camera, stem_points(x, y)), 1)
    return canvas > 0


def find_drawer(image: np.ndarray, camera: CameraInfo) -> DrawerSeen | None:
    """The drawer, by its black handle: the place (near where it is mounted, open or closed) whose outline fits best."""
    black = mask_black(image)
    best, where = _LEAST_HANDLE_FIT, None
    for is_open in (False, True):
        post_y = _CLOSED_POST_Y_M - (DRAWER_OPEN_M if is_open else 0.0)
        x, y, fit = _search_handle(black, camera, DRAWER_CENTRE_M[0], post_y)
        if fit > best:
            best, where = fit, DrawerSeen(x, y, is_open)
    return where


def _search_handle(black: np.ndarray, camera: CameraInfo, x: float, y: float) -> tuple[float, float, float]:
    best = (x, y, -1.0)
    for step, reach in ((0.005, _SEARCH_M), (0.0015, 0.004)):
        centre = best[:2]
        for dx in np.arange(-reach, reach + 1e-9, step):
            for dy in np.arange(-reach, reach + 1e-9, step):
                here = (centre[0] + dx, centre[1] + dy)
                shape = _handle_pixels(camera, *here, black.shape)
                around = _dilated(shape)
                overlap = np.count_nonzero(shape & black) / (1 + int(np.count_nonzero(shape | (black & around))))
                if overlap > best[2]:
                    best = (float(here[0]), float(here[1]), overlap)
    return best


def _dilated(mask: np.ndarray, by_px: int = 3) -> np.ndarray:
    return cv2.dilate(mask.astype(np.uint8), np.ones((2 * by_px + 1,) * 2, np.uint8)) > 0


def drawer_in_goal(now: DrawerSeen | None, goal: np.ndarray, camera: CameraInfo) -> bool | None:
    """Whether the goal picture shows the known drawer open: its handle is dark where it would then be, and not where it
    would be otherwise. None where that cannot be told."""
    if now is None:
        return None
    value = hsv(goal)[..., 2]
    contrast = {}
    for drawer in (now, now.moved()):
        shape = _handle_pixels(camera, drawer.x, drawer.post_y, value.shape)
        ring = _dilated(shape, 4) & ~_dilated(shape, 1)
        contrast[drawer.is_open] = float(np.median(value[ring]) - value[shape].mean())
    difference = contrast[True] - contrast[False]
    return None if abs(difference) < 0.06 else difference > 0
