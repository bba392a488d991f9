"""The Panda as something that can be moved: inverse kinematics, smooth joint paths, straight lines, the gripper.

Poses are of the point between the finger tips, in the world frame (metres, radians). ``yaw`` is the heading of the
tool's x axis with the fingers pointing straight down; the fingers close along the direction (sin yaw, -cos yaw), so at
yaw 0 they close along the world's y axis.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from itk_sim.errors import SimError
from itk_sim.gl import mujoco
from itk_sim.robot import ARM_ACTUATORS, ARM_JOINTS, FINGER_JOINTS, GRIPPER_ACTUATOR, TCP_SITE

if TYPE_CHECKING:
    from itk_sim.table import Table

MAX_OPENING_M = 0.08
"""Distance between the finger pads with the gripper fully open."""

_JOINT_SPEED_RAD_S = 1.6
_LINE_SPEED_M_S = 0.22
_CONTROL_STEPS = 5  # simulation steps per set-point: 10 ms
_IK_ITERATIONS = 120
_IK_DAMPING = 1e-4
_HOME_BIAS = 0.05
_SEED_OFFSETS = (0.0, 0.6, -0.6, 1.2, -1.2)  # of the first joint, when the arm's own posture leads nowhere
_POSITION_TOLERANCE_M = 5e-4
_ANGLE_TOLERANCE_RAD = 5e-3
_REACH_TOLERANCE_M = 4e-3


@dataclass(frozen=True)
class Pose:
    """A place for the gripper or an object: position (x, y, z) in metres, yaw in radians."""

    x: float
    y: float
    z: float
    yaw: float = 0.0

    @property
    def position(self) -> np.ndarray:
        return np.array([self.x, self.y, self.z])

    def at_height(self, z_m: float) -> Pose:
        return Pose(self.x, self.y, z_m, self.yaw)


@dataclass(frozen=True)
class IkSolution:
    """Joint angles (7,), rad, and what is left of the error."""

    joints: np.ndarray
    error_m: float
    error_rad: float

    @property
    def reached(self) -> bool:
        return self.error_m < _REACH_TOLERANCE_M and self.error_rad < 0.05


def min_jerk(u: float) -> float:
    """Share of the way after share ``u`` of the time: starts and ends with no speed and no acceleration."""
    return u * u * u * (10.0 - 15.0 * u + 6.0 * u * u)


class Arm:
    """Drives the arm of a `Table` through its servos. Reads joint angles, never objects.

    Args:
        table: the simulated table; its physics is stepped by every motion.
        home: joint angles to come home to; None: where the arm is now.
        watch: called after every 10 ms of simulated time; for recordings.
    """

    def __init__(
        self, table: Table, home: Sequence[float] | np.ndarray | None = None, watch: Callable[[], None] | None = None
    ) -> None:
        self._table = table
        self._watch = watch
        model = table.model
        joints = [model.joint(name).id for name in ARM_JOINTS]
        self._qpos = model.jnt_qposadr[joints]
        self._dof = model.jnt_dofadr[joints]
        self._range = model.jnt_range[joints] + np.array([0.01, -0.01])
        self._servo = np.array([model.actuator(name).id for name in ARM_ACTUATORS])
        self._gripper = model.actuator(GRIPPER_ACTUATOR).id
        self._fingers = model.jnt_qposadr[[model.joint(name).id for name in FINGER_JOINTS]]
        self._site = model.site(TCP_SITE).id
        self._scratch = mujoco.MjData(model)
        self.home_joints = np.array(self.joints if home is None else home, float)

    # -- what the arm knows of itself ---------------------------------------------------------------------------

    @property
    def joints(self) -> np.ndarray:
        """Measured joint angles (7,), rad."""
        return self._table.data.qpos[self._qpos].copy()

    @property
    def opening_m(self) -> float:
        """Measured distance between the finger pads, metres."""
        return float(self._table.data.qpos[self._fingers].sum())

    def pose(self) -> Pose:
        """Where the point between the finger tips is now."""
        data = self._table.data
        x, y, z = data.site_xpos[self._site]
        axes = data.site_xmat[self._site].reshape(3, 3)
        return Pose(float(x), float(y), float(z), float(np.arctan2(axes[1, 0], axes[0, 0])))

    # -- inverse kinematics --------------------------------------------------------------------------------------

    def solve(self, pose: Pose, seed: np.ndarray | None = None) -> IkSolution:
        """Joint angles that bring the fingers to ``pose``: damped least squares from ``seed`` (default: the current
        set-point), with the home posture pulling in the null space."""
        start = self._setpoint() if seed is None else np.asarray(seed, float)
        best: IkSolution | None = None
        for offset in _SEED_OFFSETS:
            guess = start if offset == 0.0 else self.home_joints + np.eye(7)[0] * offset
            found = self._descend(pose, guess)
            if found.reached:
                return found
            if best is None or found.error_m + found.error_rad < best.error_m + best.error_rad:
                best = found
        assert best is not None
        return best

    def _descend(self, pose: Pose, start: np.ndarray) -> IkSolution:
        model, data = self._table.model, self._scratch
        cos, sin = np.cos(pose.yaw), np.sin(pose.yaw)
        wanted = np.zeros(4)
        mujoco.mju_mat2Quat(wanted, np.array([cos, sin, 0, sin, -cos, 0, 0, 0, -1.0]))
        target, joints = pose.position, start.copy()
        jacobian_p, jacobian_r = np.zeros((3, model.nv)), np.zeros((3, model.nv))
        measured, turn, error = np.zeros(4), np.zeros(4), np.zeros(6)
        data.qpos[:] = self._table.data.qpos
        for _ in range(_IK_ITERATIONS):
            data.qpos[self._qpos] = joints
            mujoco.mj_kinematics(model, data)
            mujoco.mj_comPos(model, data)
            error[:3] = target - data.site_xpos[self._site]
            mujoco.mju_mat2Quat(measured, data.site_xmat[self._site])
            mujoco.mju_negQuat(measured, measured)
            mujoco.mju_mulQuat(turn, wanted, measured)
            mujoco.mju_quat2Vel(error[3:], turn, 1.0)
            if np.linalg.norm(error[:3]) < _POSITION_TOLERANCE_M and np.linalg.norm(error[3:]) < _ANGLE_TOLERANCE_RAD:
                break
            mujoco.mj_jacSite(model, data, jacobian_p, jacobian_r, self._site)
            jacobian = np.vstack([jacobian_p, jacobian_r])[:, self._dof]
            gram = jacobian @ jacobian.T + _IK_DAMPING * np.eye(6)
            change = jacobian.T @ np.linalg.solve(gram, error)
            null_space = np.eye(7) - jacobian.T @ np.linalg.solve(gram, jacobian)
            change += null_space @ (_HOME_BIAS * (self.home_joints - joints))
            change *= min(1.0, 0.3 / max(float(np.abs(change).max()), 1e-9))
            joints = np.clip(joints + change, self._range[:, 0], self._range[:, 1])
        return IkSolution(joints, float(np.linalg.norm(error[:3])), float(np.linalg.norm(error[3:])))

    def _reach(self, pose: Pose, seed: np.ndarray) -> np.ndarray:
        found = self.solve(pose, seed)
        if not found.reached:
            raise SimError(
                f"the arm cannot reach ({pose.x:.3f}, {pose.y:.3f}, {pose.z:.3f}) at yaw {pose.yaw:.2f} rad: "
                f"{found.error_m * 1e3:.0f} mm and {found.error_rad:.2f} rad are left; choose a place on the table "
                "within about 0.3 to 0.7 m of the base, or another yaw"
            )
        return found.joints

    # -- motion ---------------------------------------------------------------------------------------------------

    def _setpoint(self) -> np.ndarray:
        return self._table.data.ctrl[self._servo].copy()

    def _follow(self, path: np.ndarray, duration_s: float) -> None:
        """Run the servos through the rows of ``path`` (n, 7), evenly spaced, min-jerk over the whole."""
        timestep_s = self._table.model.opt.timestep
        ticks = max(2, round(duration_s / (timestep_s * _CONTROL_STEPS)))
        knots = np.linspace(0.0, 1.0, len(path))
        for tick in range(1, ticks + 1):
            share = min_jerk(tick / ticks)
            self._table.data.ctrl[self._servo] = [np.interp(share, knots, column) for column in path.T]
            self._tick()

    def _tick(self) -> None:
        self._table.step(_CONTROL_STEPS)
        if self._watch is not None:
            self._watch()

    def wait(self, seconds: float) -> None:
        """Hold still while the world goes on."""
        for _ in range(max(1, round(seconds / (self._table.model.opt.timestep * _CONTROL_STEPS)))):
            self._tick()

    def move_joints(self, joints: np.ndarray) -> None:
        """A smooth move in joint space, as slow as its longest joint needs."""
        start = self._setpoint()
        duration_s = max(0.25, 1.9 * float(np.abs(joints - start).max()) / _JOINT_SPEED_RAD_S)
        self._follow(np.stack([start, joints]), duration_s)

    def move(self, pose: Pose) -> None:
        """To ``pose`` by a joint-space path. Raises `SimError` where it is out of reach."""
        self.move_joints(self._reach(pose, self._setpoint()))

    def line(self, pose: Pose, speed_m_s: float = _LINE_SPEED_M_S) -> None:
        """To ``pose`` along a straight line (steps of 2 cm solved one after another)."""
        start, joints = self._commanded_pose(), self._setpoint()
        length_m = float(np.linalg.norm(pose.position - start.position))
        turn = (pose.yaw - start.yaw + np.pi) % (2 * np.pi) - np.pi
        count = max(1, int(np.ceil(max(length_m / 0.02, abs(turn) / 0.2))))
        path = [joints]
        for share in np.linspace(0.0, 1.0, count + 1)[1:]:
            x, y, z = start.position + share * (pose.position - start.position)
            path.append(self._reach(Pose(float(x), float(y), float(z), start.yaw + share * turn), path[-1]))
        slowest = float(np.abs(np.diff(path, axis=0)).max(initial=0.0)) * count / _JOINT_SPEED_RAD_S
        self._follow(np.stack(path), max(0.2, 1.9 * max(length_m / (speed_m_s * 1.9), slowest)))

    def _commanded_pose(self) -> Pose:
        model, data = self._table.model, self._scratch
        data.qpos[:] = self._table.data.qpos
        data.qpos[self._qpos] = self._setpoint()
        mujoco.mj_kinematics(model, data)
        x, y, z = data.site_xpos[self._site]
        axes = data.site_xmat[self._site].reshape(3, 3)
        return Pose(float(x), float(y), float(z), float(np.arctan2(axes[1, 0], axes[0, 0])))

    def home(self) -> None:
        """Back to the home posture, and still."""
        self.move_joints(self.home_joints)
        self.wait(0.2)

    def grip(self, opening_m: float, wait_s: float = 0.3) -> None:
        """Open or close the fingers to ``opening_m`` between the pads (0: as far as what is held allows)."""
        limits = self._table.model.actuator_ctrlrange[self._gripper]
        share = np.clip(opening_m / MAX_OPENING_M, 0.0, 1.0)
        self._table.data.ctrl[self._gripper] = limits[0] + share * (limits[1] - limits[0])
        self.wait(wait_s)
