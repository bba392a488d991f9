"""The outcome of a step without the arm: the cube is set down where the step leaves it (or the drawer slides)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from itk_sim.measures import DRAWER_OPEN_M
from itk_sim.placing import Placement, place_pose
from itk_sim.symbols import DRAWER, GRID, SceneState, Step

if TYPE_CHECKING:
    from itk_sim.table import Table

BYSTANDER_M = 0.01


def placement(table: Table, step: Step, rng: np.random.Generator | None = None) -> Placement | None:
    """Where a ``place`` step leaves its cube on this table now; None if its precondition fails or there is no room."""
    state = table.state(visible=False)
    if not _can_lift(state, step.obj):
        return None
    cell_xy = None
    if step.cell is not None:
        cell_xy = cell_spot(table, step.cell)
    return place_pose(state, step, table.slide_m, cell_xy, rng)


def cell_spot(table: Table, cell: tuple[int, int]) -> np.ndarray:
    """World (x, y) at which a cube's centre is seen in the middle of a raster cell of the front image."""
    pixel = (np.asarray(cell, float) + 0.5) / GRID
    return table.camera("front", 1).unproject(pixel, 0.02)[:2]


def _can_lift(state: SceneState, cube: str | None) -> bool:
    if cube is None or cube not in state.cubes or state.on_top_of(cube) is not None:
        return False
    return not (state.support[cube] == DRAWER and state.drawer == "closed")


def teleport(table: Table, step: Step, rng: np.random.Generator | None = None) -> bool:
    before = table.state(visible=False)
    if step.verb in ("open", "close"):
        if before.drawer is None or (before.drawer == "open") == (step.verb == "open"):
            return False
        table.slide(DRAWER_OPEN_M if step.verb == "open" else 0.0)
        target = None
    else:
        target = placement(table, step, rng)
        if target is None or step.obj is None:
            return False
        table.put(step.obj, target)
    if not table.settle():
        return False
    after = table.state(visible=False)
    return _reached(table, step, after, target) and not _moved(before, after, step)


def _reached(table: Table, step: Step, after: SceneState, target: Placement | None) -> bool:
    if step.verb in ("open", "close"):
        return (after.drawer == "open") == (step.verb == "open")
    assert step.obj is not None and target is not None
    if step.relation in ("in", "on"):
        return after.support[step.obj] == step.target
    return bool(np.hypot(*(np.array(after.position_m[step.obj][:2]) - target.xy)) < 0.015)


def _moved(before: SceneState, after: SceneState, step: Step) -> bool:
    """Whether a bystander moved. What is in the tray may move with the handle, and with nothing else."""
    ride = np.zeros(3)
    if before.drawer is not None:
        ride = np.subtract(after.position_m[DRAWER], before.position_m[DRAWER])
    for name in (*before.cubes, *before.bowls):
        if name == step.obj:
            continue
        shift = np.subtract(after.position_m[name], before.position_m[name])
        if before.support.get(name) == DRAWER:
            shift = shift - ride
        if np.linalg.norm(shift) > BYSTANDER_M or before.support.get(name) != after.support.get(name):
            return True
    return False
