"""What each cube rests on, from positions alone."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from itk_sim.measures import CUBE_M, MAT_M, TABLE_X_M, TABLE_Y_M, TRAY_INNER_M
from itk_sim.symbols import DRAWER, TABLE

ELSEWHERE = "elsewhere"
"""On the floor, on the cabinet, leaning on something: nowhere a step would leave a cube."""
IN_BOWL_M, IN_BOWL_Z_M = 0.055, 0.07
ON_CUBE_XY_M, ON_CUBE_Z_M = 0.022, 0.008
IN_TRAY_Z_M = 0.06


def find_supports(
    cubes: Mapping[str, np.ndarray],
    bowls: Mapping[str, np.ndarray],
    mat: tuple[str, np.ndarray] | None,
    tray: np.ndarray | None,
) -> dict[str, str]:
    """Positions (3,) in metres: cube centres, bowl bases, the mat's centre, the tray's centre (where it is now)."""
    return {name: _support(name, spot, cubes, bowls, mat, tray) for name, spot in cubes.items()}


def _support(
    name: str,
    spot: np.ndarray,
    cubes: Mapping[str, np.ndarray],
    bowls: Mapping[str, np.ndarray],
    mat: tuple[str, np.ndarray] | None,
    tray: np.ndarray | None,
) -> str:
    x, y, z = spot
    if tray is not None and np.all(np.abs(spot[:2] - tray[:2]) < TRAY_INNER_M / 2) and z < IN_TRAY_Z_M:
        return DRAWER
    for bowl, base in bowls.items():
        if np.hypot(x - base[0], y - base[1]) < IN_BOWL_M and base[2] < z < base[2] + IN_BOWL_Z_M:
            return bowl
    for other, below in cubes.items():
        if (
            other != name
            and np.hypot(x - below[0], y - below[1]) < ON_CUBE_XY_M
            and abs(z - below[2] - CUBE_M) < ON_CUBE_Z_M
        ):
            return other
    flat = abs(z - CUBE_M / 2) < 0.006
    if flat and mat is not None and np.all(np.abs(spot[:2] - mat[1][:2]) < MAT_M / 2):
        return mat[0]
    if flat and TABLE_X_M[0] < x < TABLE_X_M[1] and TABLE_Y_M[0] < y < TABLE_Y_M[1]:
        return TABLE
    return ELSEWHERE
