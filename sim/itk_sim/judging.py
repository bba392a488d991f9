"""Did a step do what it says, and nothing else? Judged from the settled states before and after."""

from __future__ import annotations

from itk_sim.predicates import disturbed, holds
from itk_sim.symbols import DIRECTIONS, DRAWER, GRID, SceneState, Step

AT_CELLS = 1.0
"""How far from the middle of its cell a cube may stand, in cells, along each axis."""
DISTURBED_M = 0.01


def step_failure(step: Step, before: SceneState, after: SceneState) -> str:
    """Empty where the step holds and no bystander moved more than 1 cm; else why not."""
    if not step_holds(step, after):
        return f"not reached: {_what(step, after)}"
    moved = disturbed(before, after, _may_move(step, before), DISTURBED_M)
    return f"disturbed: {', '.join(moved)}" if moved else ""


def step_holds(step: Step, state: SceneState) -> bool:
    """Whether the state is one that the step asks for."""
    if step.verb != "place":
        return holds(("open" if step.verb == "open" else "closed", DRAWER), state)
    if step.obj is None or step.obj not in state.cubes:
        return False
    if step.relation == "at" and step.cell is not None:
        u, v = state.pixel[step.obj]
        away = max(abs(u * GRID - step.cell[0] - 0.5), abs(v * GRID - step.cell[1] - 0.5))
        return away <= AT_CELLS and abs(state.position_m[step.obj][2] - 0.02) < 0.01
    if step.relation in DIRECTIONS and step.target is not None:
        return holds((step.relation, step.obj, step.target), state)
    return state.support[step.obj] == step.target


def _may_move(step: Step, before: SceneState) -> set[str]:
    if step.verb == "place":
        return {step.obj} if step.obj else set()
    return {DRAWER, *(cube for cube in before.cubes if before.support[cube] == DRAWER)}


def _what(step: Step, after: SceneState) -> str:
    if step.verb != "place" or step.obj is None:
        return f"the drawer is {after.drawer}"
    x, y, z = after.position_m.get(step.obj, (0.0, 0.0, 0.0))
    return f"the {step.obj} is on: {after.support.get(step.obj)}, at ({x:.3f}, {y:.3f}, {z:.3f}) m"
