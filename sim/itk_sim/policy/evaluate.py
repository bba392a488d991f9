"""Success of the goal-image policy with the simulator's own goal images, per kind of step, on held-out scenes.

``python -m itk_sim.policy.evaluate --episodes 200 [--size 128] [--blur 1.0] [--json FILE]``
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from itk_sim import scoring
from itk_sim.goals import goal_image
from itk_sim.judging import step_failure
from itk_sim.policy.policy import GoalImagePolicy
from itk_sim.policy.robot import SimRobot
from itk_sim.symbols import Step
from itk_sim.table import Table


def soften(image: np.ndarray, blur_px: float) -> np.ndarray:
    """A Gaussian blur of that many pixels, as pictures from a network may have; 0: none."""
    return cv2.GaussianBlur(image, (0, 0), blur_px) if blur_px > 0 else image


def run_goal(table: Table, step: Step, rng: np.random.Generator, size_px: int = 256, blur_px: float = 0.0) -> str:
    """Show the policy the goal image of ``step`` and let it act. Empty where the step then holds and no bystander moved
    over 1 cm; else why not."""
    goal = goal_image(table, step, rng, 256)
    if goal is None:
        return "no goal image"
    if size_px != 256:
        goal = cv2.resize(goal, (size_px, size_px), interpolation=cv2.INTER_AREA)
    before = table.state()
    outcome = GoalImagePolicy(SimRobot(table)).act(soften(goal, blur_px))
    table.settle()
    failure = step_failure(step, before, table.state())
    return f"{failure}; policy: {outcome.reason or 'done'}, moved {outcome.moved}" if failure else ""


def main() -> None:
    def arguments(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--size", type=int, default=256, help="side of the goal image shown to the policy, px")
        parser.add_argument("--blur", type=float, default=0.0, help="Gaussian blur of the goal image, px")
        parser.add_argument("--pictures", type=Path, help="folder for frame, goal and result of every failure")

    def run(table: Table, step: Step, rng: np.random.Generator, given: argparse.Namespace) -> str:
        start, before = table.snapshot(), np.random.default_rng(rng.integers(2**31))
        state = before.bit_generator.state
        failure = run_goal(table, step, before, given.size, given.blur)
        if failure and given.pictures is not None:
            result = table.render("front")
            table.restore(start)
            again = np.random.default_rng()
            again.bit_generator.state = state
            goal = goal_image(table, step, again)
            given.pictures.mkdir(parents=True, exist_ok=True)
            strip = np.hstack([table.render("front"), result if goal is None else goal, result])
            cv2.imwrite(str(given.pictures / f"{table.spec.seed}.png"), cv2.cvtColor(strip, cv2.COLOR_RGB2BGR))
        return failure

    scoring.main(
        "Success of the goal-image policy with ground-truth goal images; a disturbed bystander is a failure.",
        "goal-image policy, ground-truth goals",
        run,
        arguments,
    )


if __name__ == "__main__":
    main()
