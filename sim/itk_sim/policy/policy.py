"""The goal-image policy: sees the table, sees the goal picture, finds out what must move, and moves it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from itk_sim.arm import Pose
from itk_sim.errors import SimError
from itk_sim.grasping import choose_handle_yaw
from itk_sim.measures import DRAWER_OPEN_M
from itk_sim.motions import POST_GRIP_Z_M, GraspPlan, pick_place, slide_handle
from itk_sim.policy.colours import to_work_size
from itk_sim.policy.grasps import grasp_for, obstacles, release_for
from itk_sim.policy.looking import look_closer
from itk_sim.policy.matching import Change, ChangeKind, find_change
from itk_sim.policy.robot import Image, RobotInterface
from itk_sim.policy.seeing import find_drawer, see
from itk_sim.policy.silhouettes import CubeSeen, SceneSeen
from itk_sim.symbols import CUBES, DRAWER

_ARRIVED_M = 0.03
_TRIES = 2

Position = tuple[float, float, float]


@dataclass(frozen=True)
class PolicyOutcome:
    """What the policy did with a goal image.

    Attributes:
        done: it believes, from what it sees, that the goal is reached ("no change" included).
        reason: why not, or a remark ("no change"); empty where a move was made and seen to succeed.
        moved: the colour of the cube it moved, "drawer", or None.
        origin, target: where it took it and where the goal has it (world, m).
    """

    done: bool
    reason: str = ""
    moved: str | None = None
    origin: Position | None = None
    target: Position | None = None


class GoalImagePolicy:
    """Carries out goal images on a robot, from pixels, camera calibration and arm joints only.

    Args:
        robot: two cameras and an arm; see `RobotInterface`.
    """

    def __init__(self, robot: RobotInterface) -> None:
        self._robot = robot

    def act(self, goal: Image) -> PolicyOutcome:
        """Do what makes the front camera see ``goal`` ((S,S,3) uint8 RGB, any size). The arm ends at home."""
        _check(goal)
        wanted = to_work_size(goal)
        outcome = PolicyOutcome(False)
        for attempt in range(_TRIES):
            frame, camera = self._robot.front_frame(), self._robot.front_camera()
            now = see(frame, camera)
            change = find_change(now, frame, wanted, camera)
            if attempt and (change.goal is None or change.goal.name.split()[0] != outcome.moved):
                return replace(outcome, done=change.kind is ChangeKind.NONE)
            outcome = self._do(change, now)
            if outcome.moved is None or outcome.done:
                return outcome
        return outcome

    def _do(self, change: Change, now: SceneSeen) -> PolicyOutcome:
        if change.kind is ChangeKind.NONE:
            return PolicyOutcome(True, "no change")
        if change.kind is ChangeKind.UNCLEAR:
            return PolicyOutcome(False, change.reason)
        try:
            if change.origin is not None and change.goal is not None:
                return self._carry(change.origin, change.goal, now)
            return self._slide(now)
        except SimError as error:  # out of reach
            self._robot.home()
            return PolicyOutcome(False, str(error))

    def _carry(self, origin: CubeSeen, goal: CubeSeen, now: SceneSeen) -> PolicyOutcome:
        robot = self._robot
        if goal.support in CUBES:
            now = now.having(look_closer(robot, now.cubes[goal.support]))
        cube = look_closer(robot, origin)
        now = now.having(cube)
        grasp = grasp_for(cube, now)
        release = release_for(goal, now, grasp.pose.yaw)
        held = pick_place(robot, GraspPlan(grasp.pose, grasp.opening_m), release)
        outcome = PolicyOutcome(False, "", goal.name.split()[0], _position(cube.pose), _position(goal.pose))
        if not held:
            return replace(outcome, reason=f"the fingers closed on nothing at the {goal.name}")
        seen = see(robot.front_frame(), robot.front_camera()).cubes.get(goal.name)
        if seen is None:
            return replace(outcome, done=True, reason=f"the {goal.name} was put down where it cannot be seen")
        if np.hypot(seen.pose.x - release.x, seen.pose.y - release.y) < _ARRIVED_M:
            return replace(outcome, done=True)
        return replace(outcome, reason=f"the {goal.name} did not end where the goal has it")

    def _slide(self, now: SceneSeen) -> PolicyOutcome:
        robot, drawer = self._robot, now.drawer
        assert drawer is not None
        distance = DRAWER_OPEN_M if drawer.is_open else -DRAWER_OPEN_M
        post, target = Pose(drawer.x, drawer.post_y, POST_GRIP_Z_M), drawer.moved()
        others = obstacles(replace(now, drawer=None))
        held = slide_handle(robot, replace(post, yaw=choose_handle_yaw(post, distance, others)), distance)
        outcome = PolicyOutcome(False, "", DRAWER, _position(post), (target.x, target.post_y, POST_GRIP_Z_M))
        if not held:
            return replace(outcome, reason="the fingers closed on nothing at the drawer's handle")
        after = find_drawer(robot.front_frame(), robot.front_camera())
        if after is not None and after.is_open != drawer.is_open:
            return replace(outcome, done=True)
        return replace(outcome, reason="the drawer did not move as far as the goal has it")


def _position(pose: Pose) -> Position:
    return pose.x, pose.y, pose.z


def _check(goal: Image) -> None:
    shape = goal.shape
    if len(shape) != 3 or shape[2] != 3 or shape[0] != shape[1] or shape[0] < 32 or goal.dtype != np.uint8:
        raise SimError(
            f"a goal image of shape {shape} and type {goal.dtype} was given; "
            "allowed: square RGB uint8, (S,S,3), S from 32"
        )
