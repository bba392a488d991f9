"""Does a cube that is seen somewhere fulfil its step? A place on the table comes from the camera's calibration."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from itk_embodied.training.shards import Record
from itk_sim.cameras import CameraInfo
from itk_sim.measures import CUBE_M, HANDLE_BEFORE_CENTRE_M, TRAY_INNER_M
from itk_sim.predicates import IN_BOWL_XY_M, holds
from itk_sim.symbols import DIRECTIONS, DRAWER, MATS, TABLE, SceneState, is_bowl, is_cube

EXACT_PX = 4.0
"""How far a cube may be from where it must be, in px of a 128 px picture (about 2 cm on the table)."""
WRONG = 2.0
"""The distance of a place that is not right at all."""


def misplaced(record: Record, seen_px: np.ndarray, truth_px: np.ndarray, scale: float) -> tuple[float, str]:
    """How far a cube's place, seen at ``seen_px``, is from fulfilling the step, in units of what is allowed, and why.

    Up to 1 it does, and there is no reason. ``truth_px``: where the truth shows it.
    """
    step, name = record.step, record.step.obj
    assert name is not None
    off = float(np.hypot(*(seen_px - truth_px))) / scale
    if step_is_exact(record):
        return off / EXACT_PX, f"the {name} is {off:.0f} px from its place" if off > EXACT_PX else ""
    if off <= EXACT_PX:
        return 0.0, ""
    x, y = table_place(record, seen_px, truth_px)
    target = step.target
    assert target is not None
    if step.relation == "in" or (step.relation == "on" and target in MATS):
        tx, ty, _ = record.after_state.position_m[target]
        if target == DRAWER:
            ty += HANDLE_BEFORE_CENTRE_M
            inside = max(abs(x - tx), abs(y - ty)) < TRAY_INNER_M / 2
        else:
            inside = bool(np.hypot(x - tx, y - ty) < (IN_BOWL_XY_M if is_bowl(target) else 0.066))
        return (0.0, "") if inside else (WRONG, f"the {name} is not {step.relation} the {target}")
    state = _with_cube_at(record.before_state, name, (x, y))
    relation = step.relation if step.relation in DIRECTIONS else "on"
    if not holds((str(relation), name, target), state):
        return WRONG, f"the {name} is not {relation} the {target}"
    inside_of = _collision(state, name)
    return (WRONG, inside_of) if inside_of else (0.0, "")


def table_place(record: Record, seen_px: np.ndarray, truth_px: np.ndarray) -> tuple[float, float]:
    """World (x, y), metres, of the moved cube seen at ``seen_px``, as high as the truth has it."""
    name, side = str(record.step.obj), record.before.shape[0]
    camera = CameraInfo("front", side, side, record.k, record.world_from_camera)
    # The middle of the visible faces, against where the cube's centre projects to: the same shift as in the truth.
    shift = truth_px - camera.project(np.array(record.after_state.position_m[name]))
    x, y, _ = camera.unproject(seen_px - np.clip(shift, -2, 2), record.after_state.position_m[name][2])
    return float(x), float(y)


def _with_cube_at(state: SceneState, name: str, xy: tuple[float, float]) -> SceneState:
    positions = dict(state.position_m) | {name: (*xy, CUBE_M / 2)}
    return replace(state, position_m=positions, support=dict(state.support) | {name: TABLE})


def step_is_exact(record: Record) -> bool:
    """Whether the step says exactly where the cube goes: on a cube, or at a cell."""
    return record.step.relation == "at" or (record.step.relation == "on" and is_cube(record.step.target))


def _collision(state: SceneState, name: str) -> str:
    x, y, _ = state.position_m[name]
    for other in (*state.cubes, *state.bowls):
        if other != name and state.support.get(other, TABLE) in (TABLE, *MATS):
            ox, oy, _ = state.position_m[other]
            if np.hypot(x - ox, y - oy) < (0.08 if is_bowl(other) else 0.033):
                return f"the {name} is inside the {other}"
    return ""
