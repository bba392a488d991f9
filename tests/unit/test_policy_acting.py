"""The goal-image policy in physics: goal images in, cubes moved, nothing but cameras and joints used."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from itk_sim.errors import SimError
from itk_sim.goals import goal_image
from itk_sim.policy import GoalImagePolicy, RobotInterface, SimRobot
from itk_sim.policy.evaluate import run_goal
from itk_sim.policy.looking import look_closer
from itk_sim.policy.seeing import see
from itk_sim.scene import SceneSpec
from itk_sim.symbols import Step
from itk_sim.table import Table


@pytest.fixture(scope="module")
def table() -> Iterator[Table]:
    with Table() as opened:
        yield opened


SCENE = SceneSpec(41, ("red", "green", "blue"), ("teal",), "grey", False, None, False)
DRAWER_SCENE = SceneSpec(43, ("red", "yellow"), (), None, True, True, False)


@pytest.mark.parametrize(
    ("spec", "step", "size_px", "blur_px"),
    [
        (SCENE, Step("place", "red cube", "in", "teal bowl"), 256, 0.0),
        (SCENE, Step("place", "blue cube", "on", "green cube"), 128, 0.6),
        (SCENE, Step("place", "green cube", "left_of", "red cube"), 128, 0.6),
        (SCENE, Step("place", "red cube", "on", "grey mat"), 64, 0.0),
        (DRAWER_SCENE, Step("place", "yellow cube", "in", "drawer"), 128, 0.0),
        (DRAWER_SCENE, Step("close"), 128, 0.6),
    ],
)
def test_a_goal_image_is_carried_out(table: Table, spec: SceneSpec, step: Step, size_px: int, blur_px: float) -> None:
    table.reset(spec)
    assert run_goal(table, step, np.random.default_rng(1), size_px, blur_px) == ""


def test_the_policy_comes_home_and_says_what_it_did(table: Table) -> None:
    before = table.reset(SCENE)
    goal = goal_image(table, Step("place", "blue cube", "on", "table"), np.random.default_rng(2))
    assert goal is not None
    robot = SimRobot(table)
    outcome = GoalImagePolicy(robot).act(goal)
    assert outcome.done and outcome.moved == "blue" and outcome.reason == ""
    assert outcome.origin is not None and outcome.target is not None
    assert np.hypot(*np.subtract(outcome.origin[:2], before.position_m["blue cube"][:2])) < 0.01
    assert np.hypot(*np.subtract(outcome.target[:2], table.state().position_m["blue cube"][:2])) < 0.015
    assert np.abs(robot.joints - table.home_qpos).max() < 0.02


def test_a_reached_goal_moves_nothing(table: Table) -> None:
    table.reset(SCENE)
    joints = SimRobot(table).joints
    outcome = GoalImagePolicy(SimRobot(table)).act(table.render("front", 128))
    assert outcome.done and outcome.reason == "no change" and outcome.moved is None
    assert np.array_equal(SimRobot(table).joints, joints)


def test_a_goal_with_a_vanished_cube_is_refused_with_a_reason(table: Table) -> None:
    table.reset(SCENE)
    goal = table.render("front").copy()
    spot = np.round(table.camera("front").project(np.array(table.state().position_m["red cube"]))).astype(int)
    goal[spot[1] - 16 : spot[1] + 16, spot[0] - 16 : spot[0] + 16] = goal[spot[1] + 20, spot[0] + 24]
    outcome = GoalImagePolicy(SimRobot(table)).act(goal)
    assert not outcome.done and outcome.moved is None and "red cube" in outcome.reason


class OnlyTheInterface:
    """Passes on what `RobotInterface` offers, and fails on anything else."""

    def __init__(self, robot: SimRobot) -> None:
        self._robot = robot

    def __getattr__(self, name: str):
        allowed = {name for kind in RobotInterface.__mro__ for name in vars(kind) if not name.startswith("_")}
        if name not in allowed:
            raise AssertionError(f"the policy used {name}")
        return getattr(self._robot, name)


def test_the_policy_uses_nothing_but_its_interface(table: Table) -> None:
    table.reset(SCENE)
    goal = goal_image(table, Step("place", "green cube", "in", "teal bowl"), np.random.default_rng(3))
    assert goal is not None
    assert GoalImagePolicy(OnlyTheInterface(SimRobot(table))).act(goal).done  # type: ignore[arg-type]


def test_the_wrist_camera_measures_to_a_millimetre(table: Table) -> None:
    state = table.reset(SCENE)
    robot = SimRobot(table)
    scene = see(robot.front_frame(), robot.front_camera())
    assert set(scene.cubes) == set(state.cubes) and [bowl.name for bowl in scene.bowls] == ["teal bowl"]
    closer = look_closer(robot, scene.cubes["red cube"])
    assert closer is not scene.cubes["red cube"]
    assert np.hypot(*np.subtract(closer.pose.position, state.position_m["red cube"])[:2]) < 0.003


def test_a_goal_that_is_no_square_picture_is_refused(table: Table) -> None:
    table.reset(SCENE)
    for wrong in (np.zeros((64, 96, 3), np.uint8), np.zeros((64, 64, 3)), np.zeros((8, 8, 3), np.uint8)):
        with pytest.raises(SimError, match="square RGB uint8"):
            GoalImagePolicy(SimRobot(table)).act(wrong)
