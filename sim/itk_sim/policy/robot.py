"""What the policy needs of a robot, and the simulated one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np

from itk_sim.arm import Arm
from itk_sim.cameras import CameraInfo
from itk_sim.motions import Manipulator
from itk_sim.policy.colours import WORK_PX

if TYPE_CHECKING:
    from itk_sim.table import Table

Image: TypeAlias = np.ndarray
"""(S,S,3) uint8 RGB."""


class RobotInterface(Manipulator, Protocol):
    """An arm that moves, two calibrated cameras, nothing else: all that the policy ever asks."""

    def front_frame(self) -> Image:
        """What the front camera sees now."""
        ...

    def front_camera(self) -> CameraInfo:
        """The front camera's calibration, for pictures of WORK_PX."""
        ...

    def wrist_frame(self) -> Image:
        """What the camera on the hand sees now."""
        ...

    def wrist_camera(self) -> CameraInfo:
        """The hand camera's calibration where the hand is now, for pictures of WORK_PX."""
        ...


class SimRobot(Arm):
    """The simulated robot behind `RobotInterface`: cameras render, calibration is the model's, the arm is `Arm`."""

    def __init__(self, table: Table) -> None:
        super().__init__(table, table.home_qpos)

    def front_frame(self) -> Image:
        return self._table.render("front", WORK_PX)

    def front_camera(self) -> CameraInfo:
        return self._table.camera("front", WORK_PX)

    def wrist_frame(self) -> Image:
        return self._table.render("wrist", WORK_PX)

    def wrist_camera(self) -> CameraInfo:
        return self._table.camera("wrist", WORK_PX)

    def home(self) -> None:
        self.home_joints = self._table.home_qpos.copy()  # the scene's, should it have been reset
        super().home()
        self.wait(0.3)  # what was let go comes to rest before the next frame
