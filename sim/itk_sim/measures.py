"""The table's numbers: sizes and places in metres, colours, the arm's home. Needs no mujoco: anything may read them."""

from __future__ import annotations

TABLE_X_M, TABLE_Y_M = (0.05, 0.95), (-0.6, 0.6)
WORKSPACE_X_M, WORKSPACE_Y_M = (0.34, 0.62), (-0.28, 0.28)
"""Where centres of cubes, bowls and the mat may be; with a drawer y ends at WORKSPACE_Y_DRAWER_M."""
WORKSPACE_Y_DRAWER_M = 0.10

FRONT_EYE_M, FRONT_TARGET_M, FRONT_FOVY_DEG = (1.25, 0.0, 0.62), (0.42, 0.0, 0.02), 42.0
HOME_QPOS = (0.0, -0.75, 0.0, -2.45, 0.0, 1.75, 0.785)
"""Joint angles (rad) that keep the arm out of the front camera's view of the workspace."""

CUBE_M = 0.04
BOWL_BASE_RADIUS_M, BOWL_RIM_RADIUS_M, BOWL_HEIGHT_M, BOWL_FLOOR_M = 0.058, 0.078, 0.045, 0.006
MAT_M = 0.13
DRAWER_CENTRE_M = (0.48, 0.318)
"""Of the cabinet, before jitter. The tray slides along -y."""
DRAWER_OPEN_M = 0.13
TRAY_INNER_M, TRAY_FLOOR_M, TRAY_WALL_M, WALL_M = 0.09, 0.012, 0.035, 0.004
HANDLE_BEFORE_CENTRE_M = 0.097
"""From the tray's centre to the handle post's axis, along -y."""
HANDLE_HEIGHT_M = 0.05
CABINET_X_M, CABINET_Y_M, CABINET_Z_M = 0.124, 0.11, 0.068

COLOURS: dict[str, tuple[float, float, float]] = {
    "red cube": (0.80, 0.10, 0.10),
    "green cube": (0.12, 0.55, 0.18),
    "blue cube": (0.10, 0.25, 0.75),
    "yellow cube": (0.92, 0.75, 0.08),
    "orange cube": (0.95, 0.42, 0.05),
    "purple cube": (0.45, 0.15, 0.60),
    "white bowl": (0.83, 0.83, 0.80),
    "teal bowl": (0.10, 0.55, 0.55),
    "pink bowl": (0.90, 0.50, 0.60),
    "grey mat": (0.30, 0.32, 0.35),
    "drawer": (0.40, 0.24, 0.13),
}
"""RGB 0..1 before colour jitter."""
TRAY_COLOUR = (0.62, 0.44, 0.28)
HANDLE_COLOUR = (0.03, 0.03, 0.03)
DISTRACTOR_COUNT = 4
