"""The goal-image policy: from pixels, camera calibration and arm joints to motion. No simulator state, no task text."""

from itk_sim.policy.policy import GoalImagePolicy, PolicyOutcome
from itk_sim.policy.robot import RobotInterface, SimRobot

__all__ = ["GoalImagePolicy", "PolicyOutcome", "RobotInterface", "SimRobot"]
