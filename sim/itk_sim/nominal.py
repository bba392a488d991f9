"""The front camera as it is mounted by design, for symbolic planning: where a world point is seen, and the inverse.

A scene's real camera is a centimetre and a degree off. That is made up for by shifting the picture so that the things
whose pixels are known (the state's) fit best.
"""

from __future__ import annotations

import numpy as np

from itk_sim.measures import CUBE_M, FRONT_EYE_M, FRONT_FOVY_DEG, FRONT_TARGET_M
from itk_sim.symbols import GRID, Cell, SceneState


def _axes() -> tuple[np.ndarray, np.ndarray]:
    """Eye (3,) and rotation (3,3) whose rows are the camera's right, down and forward in the world."""
    eye = np.array(FRONT_EYE_M)
    forward = np.array(FRONT_TARGET_M) - eye
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    return eye, np.stack([right, np.cross(forward, right), forward])


_EYE, _TURN = _axes()
_FOCAL = 0.5 / np.tan(np.deg2rad(FRONT_FOVY_DEG) / 2)
"""In picture heights: places in the picture are fractions of its side."""


def project(position_m: tuple[float, float, float]) -> tuple[float, float]:
    """(u right, v down) as fractions of the picture, for the camera as designed."""
    u, v = _project(np.array(position_m))
    return float(u), float(v)


def _project(points_m: np.ndarray) -> np.ndarray:
    """(..., 3) to (..., 2)."""
    local = (points_m - _EYE) @ _TURN.T
    return 0.5 + _FOCAL * local[..., :2] / local[..., 2:]


def unproject(u: float, v: float, z_m: float = CUBE_M / 2) -> tuple[float, float]:
    """World (x, y) of what is seen at (u, v) on the horizontal plane ``z_m``."""
    ray = np.array([(u - 0.5) / _FOCAL, (v - 0.5) / _FOCAL, 1.0]) @ _TURN
    point = _EYE + ray * (z_m - _EYE[2]) / ray[2]
    return float(point[0]), float(point[1])


def _offset(state: SceneState) -> tuple[float, float]:
    """How much farther right and down this scene's things are seen than by the camera as designed."""
    if not state.names:
        return 0.0, 0.0
    seen = np.array([state.pixel[name] for name in state.names])
    shift = (seen - _project(np.array([state.position_m[name] for name in state.names]))).mean(axis=0)
    return float(shift[0]), float(shift[1])


def pixel_of(position_m: tuple[float, float, float], state: SceneState) -> tuple[float, float]:
    """Where a world point is seen in the scene's front image, as fractions, to about a hundredth."""
    (u, v), (du, dv) = project(position_m), _offset(state)
    return u + du, v + dv


def spot_at(cell: Cell, state: SceneState) -> tuple[float, float]:
    """World (x, y) of a cube on the table that is seen in the middle of a raster cell."""
    du, dv = _offset(state)
    return unproject((cell[0] + 0.5) / GRID - du, (cell[1] + 0.5) / GRID - dv)
