"""How much of an object the front camera sees: its pixels in the segmentation against its whole outline."""

from __future__ import annotations

import cv2
import numpy as np

from itk_sim.cameras import CameraInfo
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
    MAT_M,
    TRAY_FLOOR_M,
    TRAY_INNER_M,
    TRAY_WALL_M,
    WALL_M,
)

_OUTLINE_PX = 512
_CORNERS = np.array([(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)


def _box(centre: tuple[float, float, float], half: tuple[float, float, float]) -> np.ndarray:
    return np.asarray(centre) + _CORNERS * half


def _circle(radius: float, z: float, points: int = 24) -> np.ndarray:
    angle = 2 * np.pi * np.arange(points) / points
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), np.full(points, z)], 1)


CUBE_HULLS = (_box((0, 0, 0), (CUBE_M / 2,) * 3),)
BOWL_HULLS = (np.concatenate([_circle(BOWL_BASE_RADIUS_M, 0.0), _circle(BOWL_RIM_RADIUS_M, BOWL_HEIGHT_M)]),)
MAT_HULLS = (_box((0, 0, 0.0008), (MAT_M / 2, MAT_M / 2, 0.0008)),)
CABINET_HULLS = (_box((0, 0, CABINET_Z_M / 2), (CABINET_X_M / 2, CABINET_Y_M / 2, CABINET_Z_M / 2)),)
_HALF_TRAY, _FACE, _POST = TRAY_INNER_M / 2 + WALL_M, -CABINET_Y_M / 2, -HANDLE_BEFORE_CENTRE_M
TRAY_HULLS = (
    _box((0, 0, TRAY_FLOOR_M + (TRAY_WALL_M - WALL_M) / 2), (_HALF_TRAY, _HALF_TRAY, (TRAY_WALL_M + WALL_M) / 2)),
    _box((0, _FACE, 0.033), (CABINET_X_M / 2, 0.003, 0.030)),
    _box((0, (_FACE + _POST) / 2, 0.030), (0.004, (_FACE - _POST) / 2, 0.004)),
    np.concatenate([_circle(0.008, 0.003), _circle(0.008, HANDLE_HEIGHT_M)]) + np.array([0, _POST, 0]),
)


def outline_px(camera: CameraInfo, hulls: list[np.ndarray]) -> float:
    """Area, in pixels of ``camera``'s picture, of the union of the outlines of convex point sets (N,3 world), as if
    nothing stood in front. What lies outside the picture does not count."""
    scale = _OUTLINE_PX / camera.width
    canvas = np.zeros((_OUTLINE_PX, _OUTLINE_PX), np.uint8)
    for points in hulls:
        pixels = camera.project(points) * scale
        hull = cv2.convexHull(np.round(pixels * 16).astype(np.int32).reshape(-1, 1, 2))
        cv2.fillConvexPoly(canvas, hull - 8, 1, shift=4)  # -8: OpenCV counts from pixel centres
    return float(cv2.countNonZero(canvas)) / scale**2
