"""The arm, grasps and the scripted expert in physics."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from itk_sim.arm import Arm, Pose, min_jerk
from itk_sim.errors import SimError
from itk_sim.expert import cube_pose, run_plan, run_step
from itk_sim.grasping import (
    BowlRing,
    choose_grasp,
    choose_handle_yaw,
    choose_placement,
    clearance,
    cube_block,
    gripper_parts,
)
from itk_sim.judging import step_failure, step_holds
from itk_sim.kinds import KINDS
from itk_sim.motions import GraspPlan, pick_place
from itk_sim.placing import Placement
from itk_sim.scene import SceneSpec
from itk_sim.scoring import Score, episodes, wilson
from itk_sim.symbols import Step
from itk_sim.table import Table

SCENE = SceneSpec(41, ("red", "green", "blue"), ("teal",), "grey", False, None, False)


@pytest.fixture(scope="module")
def table() -> Iterator[Table]:
    with Table() as opened:
        yield opened


def test_min_jerk_starts_and_ends_at_rest() -> None:
    assert min_jerk(0.0) == 0.0 and min_jerk(1.0) == 1.0 and min_jerk(0.5) == pytest.approx(0.5)
    assert min_jerk(1e-3) < 1e-7 and 1 - min_jerk(1 - 1e-3) < 1e-7


def test_the_arm_reaches_the_whole_workspace_with_any_yaw(table: Table) -> None:
    table.reset(SCENE)
    arm = Arm(table, table.home_qpos)
    for x in (0.34, 0.62):
        for y in (-0.28, 0.28):
            for yaw in (-1.5, 0.0, 1.5):
                found = arm.solve(Pose(x, y, 0.03, yaw))
                assert found.reached and found.error_m < 1e-3, (x, y, yaw)


def test_the_arm_goes_where_it_is_sent_and_comes_home(table: Table) -> None:
    table.reset(SCENE)
    arm = Arm(table)
    arm.move(Pose(0.5, 0.2, 0.25, 0.4))
    arm.line(Pose(0.5, 0.1, 0.2, 0.4))
    arm.wait(0.2)
    here = arm.pose()
    assert np.linalg.norm(here.position - [0.5, 0.1, 0.2]) < 0.004 and abs(here.yaw - 0.4) < 0.02
    arm.home()
    assert np.abs(arm.joints - table.home_qpos).max() < 0.01


def test_a_place_out_of_reach_says_so(table: Table) -> None:
    table.reset(SCENE)
    with pytest.raises(SimError, match="cannot reach"):
        Arm(table).move(Pose(1.6, 0.0, 0.1))


def test_closing_on_nothing_is_noticed(table: Table) -> None:
    table.reset(SCENE)
    held = pick_place(Arm(table), GraspPlan(Pose(0.36, -0.27, 0.03)), Pose(0.5, 0.0, 0.03))
    assert not held


def test_a_grasp_keeps_clear_of_neighbours_and_towers() -> None:
    cube = Pose(0.5, 0.0, 0.02)
    beside = [cube_block(Pose(0.5, 0.05, 0.02))]  # in the way of fingers that close along y
    chosen = choose_grasp(cube, beside)
    assert abs(np.sin(chosen.pose.yaw)) > 0.99 and chosen.clearance_m > 0.005
    assert clearance(gripper_parts(Pose(0.5, 0.0, 0.029, 0.0), 0.07), beside) < 0
    tower = [cube_block(Pose(0.5, 0.08, z)) for z in (0.02, 0.06, 0.10)]  # in the way of the hand, not of the fingers
    assert abs(np.sin(choose_grasp(cube, tower).pose.yaw)) > 0.99


def test_a_placement_beside_a_cube_turns_the_fingers_away() -> None:
    put = choose_placement(Pose(0.5, 0.0, 0.02), [cube_block(Pose(0.5, 0.048, 0.02))], [0.0, np.pi / 2])
    assert abs(np.sin(put.pose.yaw)) > 0.99


def test_a_bowl_has_room_inside_and_a_wall() -> None:
    bowl = [BowlRing(0.5, 0.0)]
    inside = clearance(gripper_parts(Pose(0.5, 0.0, 0.035), 0.052), bowl)
    on_the_wall = clearance(gripper_parts(Pose(0.5, 0.045, 0.035), 0.052), bowl)
    assert inside > 0 > on_the_wall


def test_the_hand_on_the_handle_turns_away_from_a_tower() -> None:
    post = Pose(0.48, 0.23, 0.045)
    assert choose_handle_yaw(post, -0.13, []) == pytest.approx(np.pi / 2)
    tower = [cube_block(Pose(0.56, 0.10, z)) for z in (0.02, 0.06, 0.10)]
    assert abs(choose_handle_yaw(post, -0.13, tower) - np.pi / 2) > 0.2


def test_the_expert_does_every_kind_of_step(table: Table) -> None:
    rng, score = np.random.default_rng(0), Score()
    for kind, step in episodes(table, len(KINDS), seed=5):
        score.add(kind, run_step(table, step, rng).reason)
    record = score.record()
    assert set(record["kinds"]) == set(KINDS)
    assert record["success_rate"] >= 13 / 14, score.failures


def test_a_plan_stops_at_the_first_step_that_fails(table: Table) -> None:
    table.reset(SCENE)
    steps = (Step("place", "red cube", "on", "blue cube"), Step("place", "blue cube", "in", "teal bowl"), Step("open"))
    outcomes = run_plan(table, steps, np.random.default_rng(0))
    assert [outcome.success for outcome in outcomes] == [True, False]
    assert "something lies on it" in outcomes[1].reason


def test_a_disturbed_bystander_is_a_failure(table: Table) -> None:
    before = table.reset(SCENE)
    step = Step("place", "red cube", "in", "teal bowl")
    assert table.teleport(step)
    assert step_failure(step, before, table.state()) == ""
    pose = cube_pose(table, "green cube")
    table.put("green cube", Placement(pose.x + 0.03, pose.y, pose.z, pose.yaw))
    table.settle()
    assert "green cube" in step_failure(step, before, table.state())


def test_a_step_that_has_not_happened_does_not_hold(table: Table) -> None:
    state = table.reset(SCENE)
    assert not step_holds(Step("place", "red cube", "on", "blue cube"), state)
    assert not step_holds(Step("open"), state)
    assert step_holds(Step("place", "red cube", "at", None, state.cell("red cube")), state)


def test_the_interval_of_a_rate_holds_the_rate() -> None:
    low, high = wilson(19, 20)
    assert low < 0.95 < high and wilson(0, 0) == (0.0, 1.0)
    assert wilson(20, 20)[1] == pytest.approx(1.0)
