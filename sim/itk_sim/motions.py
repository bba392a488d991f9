"""Manipulations from given poses: pick and place, open and close the drawer. Nothing here looks at the world."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from itk_sim.arm import Pose
from itk_sim.measures import CUBE_M, DRAWER_OPEN_M

CARRY_Z_M = 0.22
"""Height of the finger tips while travelling: what is carried clears a tower of three."""
POST_OPENING_M = 0.05
POST_GRIP_Z_M = 0.045
"""Above the post's middle, so that the hand passes over a stack of two."""
_HOVER_M = 0.05
_RELEASE_M = 0.014
_LIFT_SPEED_M_S = 0.3
_TOUCH_SPEED_M_S = 0.12
_DRAWER_SPEED_M_S = 0.12


class Manipulator(Protocol):
    """An arm with a gripper, as `Arm` is one: poses of the point between the finger tips, openings in metres."""

    @property
    def opening_m(self) -> float: ...
    def pose(self) -> Pose: ...
    def move(self, pose: Pose) -> None: ...
    def line(self, pose: Pose, speed_m_s: float = ...) -> None: ...
    def grip(self, opening_m: float, wait_s: float = ...) -> None: ...
    def wait(self, seconds: float) -> None: ...
    def home(self) -> None: ...


@dataclass(frozen=True)
class GraspPlan:
    """How to take hold of a cube: the gripper's pose (z: the cube's centre) and how far open the fingers come down."""

    pose: Pose
    opening_m: float = 0.07


def pick(arm: Manipulator, grasp: GraspPlan) -> bool:
    """Take hold of a cube and lift it to carrying height. True if something is between the fingers."""
    pose = grasp.pose
    arm.grip(grasp.opening_m, wait_s=0.05)
    arm.move(pose.at_height(CARRY_Z_M))
    arm.line(pose.at_height(pose.z + _HOVER_M), _LIFT_SPEED_M_S)
    arm.line(pose, _TOUCH_SPEED_M_S)
    arm.grip(0.0, wait_s=0.35)
    arm.line(pose.at_height(pose.z + _HOVER_M), _TOUCH_SPEED_M_S)
    arm.line(pose.at_height(CARRY_Z_M), _LIFT_SPEED_M_S)
    return holding(arm)


def holding(arm: Manipulator) -> bool:
    """Whether the closed fingers are kept apart by something about the width of a cube."""
    return 0.6 * CUBE_M < arm.opening_m < 1.4 * CUBE_M


def place(arm: Manipulator, pose: Pose, release_m: float = _RELEASE_M) -> None:
    """Put what is held down at ``pose`` (z: where the cube's centre shall rest) and rise."""
    arm.move(pose.at_height(CARRY_Z_M))
    arm.line(pose.at_height(pose.z + _HOVER_M), _LIFT_SPEED_M_S)
    arm.line(pose, _TOUCH_SPEED_M_S)
    arm.wait(0.1)
    arm.grip(CUBE_M + release_m, wait_s=0.25)
    arm.line(pose.at_height(pose.z + _HOVER_M), _TOUCH_SPEED_M_S)
    arm.line(pose.at_height(CARRY_Z_M), _LIFT_SPEED_M_S)


def pick_place(arm: Manipulator, grasp: GraspPlan, target: Pose) -> bool:
    """Pick a cube up, put it down at ``target``, come home. False: the fingers closed on nothing."""
    held = pick(arm, grasp)
    if held:
        place(arm, target)
    arm.home()
    return held


def slide_handle(arm: Manipulator, post: Pose, distance_m: float) -> bool:
    """Grasp the drawer's post at ``post`` (its axis; yaw: the gripper's, pi/2 is square to the front), carry it
    ``distance_m`` along +y (negative: pull open) and come home. The grasp is always near the post's top."""
    grasp = post.at_height(POST_GRIP_Z_M)
    arm.grip(POST_OPENING_M, wait_s=0.05)
    arm.move(grasp.at_height(CARRY_Z_M))
    arm.line(grasp.at_height(grasp.z + _HOVER_M), _LIFT_SPEED_M_S)
    arm.line(grasp, _TOUCH_SPEED_M_S)
    arm.grip(0.0, wait_s=0.3)
    held = arm.opening_m > 0.006
    if held:
        arm.line(Pose(post.x, post.y + distance_m, grasp.z, grasp.yaw), _DRAWER_SPEED_M_S)
        arm.wait(0.1)
    arm.grip(POST_OPENING_M, wait_s=0.2)
    here = arm.pose()
    arm.line(Pose(here.x, here.y, grasp.z + _HOVER_M, grasp.yaw), _TOUCH_SPEED_M_S)
    arm.line(Pose(here.x, here.y, CARRY_Z_M, grasp.yaw), _LIFT_SPEED_M_S)
    arm.home()
    return held


def open_drawer(arm: Manipulator, post: Pose, distance_m: float = DRAWER_OPEN_M) -> bool:
    """Pull the drawer open by its post. False: the fingers closed on nothing."""
    return slide_handle(arm, post, -distance_m)


def close_drawer(arm: Manipulator, post: Pose, distance_m: float = DRAWER_OPEN_M) -> bool:
    """Push the drawer shut by its post. False: the fingers closed on nothing."""
    return slide_handle(arm, post, distance_m)
