"""A second look from above: the wrist camera corrects what the front camera measured from a metre away."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from itk_sim.policy.colours import label_cubes
from itk_sim.policy.fitting import Evidence, OutlineFit
from itk_sim.policy.grasps import hover_over
from itk_sim.policy.robot import RobotInterface
from itk_sim.policy.silhouettes import CubeSeen

_MOST_SHIFT_M = 0.03
_LEAST_FIT = 0.55


def look_closer(robot: RobotInterface, cube: CubeSeen) -> CubeSeen:
    """Hover over the cube and measure it again; its first estimate where the second look does not confirm it."""
    robot.move(hover_over(cube))
    evidence = Evidence.of(cube.name, label_cubes(robot.wrist_frame()))
    if evidence is None:
        return cube
    fit = OutlineFit(evidence, robot.wrist_camera(), margin_px=30)
    pose, cost = fit.best(cube.pose.x, cube.pose.y, cube.pose.z)
    shift = np.hypot(pose.x - cube.pose.x, pose.y - cube.pose.y)
    if 1.0 - cost < _LEAST_FIT or shift > _MOST_SHIFT_M:
        return cube
    return replace(cube, pose=pose, fit=1.0 - cost)
