"""The scripted expert: does a step with the arm, in physics, knowing the simulator's state.

``python -m itk_sim.expert --episodes 200`` reports its success per kind of step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from itk_sim.arm import Arm, Pose
from itk_sim.errors import SimError
from itk_sim.grasping import (
    GRIP_ABOVE_CENTRE_M,
    BowlRing,
    Obstacle,
    choose_grasp,
    choose_handle_yaw,
    choose_placement,
    cube_block,
    drawer_blocks,
)
from itk_sim.judging import step_failure
from itk_sim.measures import DRAWER_OPEN_M, HANDLE_BEFORE_CENTRE_M
from itk_sim.motions import POST_GRIP_Z_M, GraspPlan, pick_place, slide_handle
from itk_sim.symbols import DRAWER, TABLE, SceneState, Step, is_bowl, is_cube
from itk_sim.teleport import placement

if TYPE_CHECKING:
    from itk_sim.table import Table


@dataclass(frozen=True)
class StepOutcome:
    """How a step ended: ``reason`` is empty where it succeeded with nothing else disturbed."""

    step: Step
    success: bool
    reason: str
    before: SceneState
    after: SceneState


def cube_pose(table: Table, name: str) -> Pose:
    """A cube's centre and the yaw of its faces, -pi/4..pi/4, from the simulator."""
    body = table.data.body(name)
    axes = body.xmat.reshape(3, 3)
    flat = [axes[:, i] for i in range(3) if abs(axes[2, i]) < 0.7]
    yaw = (np.arctan2(flat[0][1], flat[0][0]) + np.pi / 4) % (np.pi / 2) - np.pi / 4
    x, y, z = body.xpos
    return Pose(float(x), float(y), float(z), float(yaw))


def scene_obstacles(table: Table, state: SceneState, without: str) -> list[Obstacle]:
    """Everything that stands up, but the cube ``without``."""
    found: list[Obstacle] = [cube_block(cube_pose(table, name)) for name in state.cubes if name != without]
    found += [BowlRing(*state.position_m[name][:2]) for name in state.bowls]
    return found + _drawer(table, state)


def _drawer(table: Table, state: SceneState) -> list[Obstacle]:
    if state.drawer is None:
        return []
    x, y, _ = state.position_m[DRAWER]
    return [*drawer_blocks(x, y + HANDLE_BEFORE_CENTRE_M, table.slide_m)]


def run_step(table: Table, step: Step, rng: np.random.Generator, arm: Arm | None = None) -> StepOutcome:
    """Do one step with the arm, come home, and judge it by the state before and after."""
    arm = Arm(table, table.home_qpos) if arm is None else arm
    before = table.state()
    try:
        stopped = _slide(table, arm, step, before) if step.verb != "place" else _place(table, arm, step, before, rng)
    except SimError as error:
        stopped = str(error)
        arm.home()
    table.settle()
    after = table.state()
    reason = stopped or step_failure(step, before, after)
    return StepOutcome(step, not reason, reason, before, after)


def run_plan(table: Table, steps: Sequence[Step], rng: np.random.Generator) -> tuple[StepOutcome, ...]:
    """The steps one after another, up to and including the first that fails."""
    arm = Arm(table, table.home_qpos)
    outcomes: list[StepOutcome] = []
    for step in steps:
        outcomes.append(run_step(table, step, rng, arm))
        if not outcomes[-1].success:
            break
    return tuple(outcomes)


def _slide(table: Table, arm: Arm, step: Step, state: SceneState) -> str:
    if state.drawer is None:
        return "there is no drawer"
    distance = table.slide_m - DRAWER_OPEN_M if step.verb == "open" else table.slide_m
    x, y, _ = state.position_m[DRAWER]
    post = Pose(x, y, POST_GRIP_Z_M)
    others = [thing for thing in scene_obstacles(table, state, "") if thing not in _drawer(table, state)]
    held = slide_handle(arm, replace(post, yaw=choose_handle_yaw(post, distance, others)), distance)
    return "" if held else "the fingers closed on nothing at the drawer's handle"


def _place(table: Table, arm: Arm, step: Step, state: SceneState, rng: np.random.Generator) -> str:
    wanted = placement(table, step, rng)
    if wanted is None or step.obj is None:
        return "there is no room for it, something lies on it, or it is not there"
    obstacles = scene_obstacles(table, state, step.obj)
    start = cube_pose(table, step.obj)
    grasp = choose_grasp(start, obstacles)
    goal, yaws = Pose(wanted.x_m, wanted.y_m, wanted.z_m, wanted.yaw_rad), None
    if is_cube(step.target) and step.relation == "on" and step.target is not None:
        yaws = _square(cube_pose(table, step.target).yaw)
    elif is_bowl(step.target) or step.target == DRAWER:
        yaws = _square(goal.yaw)
    elif step.target != TABLE:
        yaws = [*_square(goal.yaw), *_square(goal.yaw + np.pi / 4)]
    # What the cube is to stand on is not in its way.
    put = choose_placement(goal, obstacles, yaws, grasp.pose.yaw)
    above = GRIP_ABOVE_CENTRE_M + 0.001
    target = Pose(goal.x, goal.y, goal.z + above, put.pose.yaw)
    held = pick_place(arm, GraspPlan(grasp.pose, grasp.opening_m), target)
    return "" if held else f"the fingers closed on nothing at the {step.obj}"


def _square(yaw: float) -> list[float]:
    return [yaw, yaw + np.pi / 2]


def main() -> None:
    from itk_sim import scoring

    scoring.main(
        "Success of the scripted expert per kind of step; a disturbed bystander is a failure.",
        "scripted expert",
        lambda table, step, rng, _: run_step(table, step, rng).reason,
    )


if __name__ == "__main__":
    main()
