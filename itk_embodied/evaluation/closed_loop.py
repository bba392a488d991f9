"""Closed loop in physics: camera frame -> pipeline -> goal images -> goal-image policy -> did the world end up right?

The agents and the policy see pixels, calibration and text only. The simulator's state is read for two things: to judge
the end, and to paint the goal images of the ``ground-truth`` and ``degraded`` yardsticks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

import numpy as np

from itk_embodied.evaluation.degrade import degrade
from itk_embodied.evaluation.stats import Rate
from itk_embodied.pipeline import VisualSubgoalPipeline
from itk_embodied.types import Frame, Image, PlanStep, SequenceStatus, SubgoalSequence, SubgoalStatus, Task
from itk_sim.errors import SimError
from itk_sim.goals import goal_image
from itk_sim.language import parse_instruction
from itk_sim.policy import GoalImagePolicy, SimRobot
from itk_sim.predicates import disturbed, holds
from itk_sim.scene import SceneSpec
from itk_sim.symbols import SceneState
from itk_sim.table import Table

_GOAL_TRIES = 5
"""A true goal image shows one place of many that would do; a cube set down there may roll away, and another place is
drawn."""


class Goals(StrEnum):
    """Where the policy's goal images come from.

    ``generated``: verified subgoals only. ``unverified``: the first attempt of every step, whatever the critic says.
    ``ground-truth``: the planner's steps, each image the simulator's. ``degraded``: those images, spoilt.
    """

    GENERATED = "generated"
    UNVERIFIED = "unverified"
    GROUND_TRUTH = "ground-truth"
    DEGRADED = "degraded"


@dataclass(frozen=True)
class Episode:
    """How one task ended in physics. ``why`` is empty where it succeeded; ``at_once``: in the first round already."""

    id: str
    family: str
    task: str
    success: bool
    status: str
    steps: int
    attempts: int
    seconds: float
    first_subgoal_s: float | None
    why: str
    images_executed: int
    rounds: int = 1
    at_once: bool = False

    def record(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "family": self.family,
            "task": self.task,
            "success": self.success,
            "status": self.status,
            "steps": self.steps,
            "attempts": self.attempts,
            "seconds": round(self.seconds, 3),
            "first_subgoal_seconds": None if self.first_subgoal_s is None else round(self.first_subgoal_s, 3),
            "images_executed": self.images_executed,
            "rounds": self.rounds,
            "at_once": self.at_once,
            "why": self.why,
        }


@dataclass(frozen=True, eq=False)
class _Acted:
    """What a policy made of a sequence: a picture of the table after every goal image that it was handed, how many of
    them it reached, and why it stopped; ``missed``: since it could not reach one."""

    achieved: list[Image]
    reached: int
    stopped: str = ""
    missed: bool = False


@dataclass
class ClosedLoop:
    """Runs task lines on one simulated table, one after another.

    Args:
        table: an open `itk_sim` table.
        pipeline: builds the plan and the goal images.
        goals: where the goal images come from.
        image_px: side of the camera frame, pixels.
        rounds: how often a task may be asked for: where a sequence ends early, or the policy could not reach one of its
            goals, what is left of the plan is painted again from a new camera frame.
        watch: called with every finished sequence and its images as achieved; for reports.
    """

    table: Table
    pipeline: VisualSubgoalPipeline
    goals: Goals = Goals.GENERATED
    image_px: int = 256
    rounds: int = 1
    watch: Callable[[SubgoalSequence, list[Image]], None] = field(default=lambda sequence, achieved: None)

    def episodes(self, lines: Iterable[Mapping[str, Any]], seed: int = 0) -> Iterator[Episode]:
        for line in lines:
            yield self.episode(line, seed)

    def episode(self, line: Mapping[str, Any], seed: int = 0) -> Episode:
        """One task line, from reset to judgement."""
        before = self.table.reset(SceneSpec.from_json(line["scene"]))
        task: Task | None = Task(line["text"], seed=seed)
        sequences: list[SubgoalSequence] = []
        seconds, executed, verdicts = 0.0, 0, list[str]()
        while task is not None and len(sequences) < self.rounds:
            frame = Frame(self.table.render("front", self.image_px), frame_id="front")
            began_s = time.monotonic()
            sequences.append(sequence := self.pipeline(frame, task))
            seconds += time.monotonic() - began_s
            acted = self._execute(sequence, seed)
            self.watch(sequence, acted.achieved)
            executed += len(acted.achieved)
            verdicts.append(self._judge(line, before, sequence, acted.stopped))
            task = _what_is_left(sequence, acted)
        first, why = sequences[0], verdicts[-1]
        return Episode(
            id=str(line["id"]),
            family=str(line.get("family", "task")),
            task=first.task.text,
            success=not why,
            status=str(sequences[-1].status),
            steps=len(first.plan.image_steps) if first.plan else 0,
            attempts=sum(sequence.attempts for sequence in sequences),
            seconds=seconds,
            first_subgoal_s=first.first_subgoal_s,
            why=why,
            images_executed=executed,
            rounds=len(sequences),
            at_once=not verdicts[0],
        )

    def _execute(self, sequence: SubgoalSequence, seed: int) -> _Acted:
        """Hand the goal images to the policy, one by one, as far as it reaches them."""
        robot = SimRobot(self.table)
        policy = GoalImagePolicy(robot)
        achieved: list[Image] = []
        for number, image in enumerate(self._goal_images(sequence, seed), start=1):
            if isinstance(image, str):
                return _Acted(achieved, number - 1, image)
            outcome = policy.act(image)
            achieved.append(self.table.render("front", self.image_px))
            if not outcome.done:
                return _Acted(achieved, number - 1, f"policy at step {number}: {outcome.reason}", missed=True)
        return _Acted(achieved, len(achieved))

    def _goal_images(self, sequence: SubgoalSequence, seed: int) -> Iterator[Image | str]:
        """Goal images in order; a string ends them and says why."""
        if self.goals in (Goals.GENERATED, Goals.UNVERIFIED):
            for subgoal in sequence.subgoals:
                usable = subgoal.status is SubgoalStatus.VERIFIED or self.goals is Goals.UNVERIFIED
                if subgoal.image is not None and usable:
                    yield subgoal.image
            return
        rng = np.random.default_rng([seed, 7])
        for step in sequence.plan.image_steps if sequence.plan else ():
            image = self._true_goal(step, rng)
            yield image if isinstance(image, str) or self.goals is Goals.GROUND_TRUTH else degrade(image, rng)

    def _true_goal(self, step: PlanStep, rng: np.random.Generator) -> Image | str:
        for _ in range(_GOAL_TRIES):
            try:
                image = goal_image(self.table, parse_instruction(step.instruction or ""), rng, size_px=self.image_px)
            except SimError as error:
                return f"step {step.step_number} cannot be done in this scene: {error}"
            if image is not None:
                return image
        return f"step {step.step_number} has no settled goal state in this scene"

    def _judge(self, line: Mapping[str, Any], before: SceneState, sequence: SubgoalSequence, stopped: str) -> str:
        """Empty where the goal holds and nothing else was moved; else the first reason."""
        after = self.table.state()
        goal = [tuple(predicate) for predicate in line["goal"]]
        if not goal and sequence.status is SequenceStatus.VERIFIED:
            return "a request that cannot be met came back as verified"
        reached = all(holds(predicate, after) for predicate in goal)
        moved = disturbed(before, after, may_move(goal, before))
        if reached and not moved:
            return ""
        if sequence.status is not SequenceStatus.VERIFIED and self.goals is Goals.GENERATED:
            return f"sequence {sequence.status}: {sequence.reason}"
        if stopped:
            return stopped
        if not reached:
            return "not reached: " + "; ".join(" ".join(p) for p in goal if not holds(p, after))
        return "disturbed: " + ", ".join(moved)


def _what_is_left(sequence: SubgoalSequence, acted: _Acted) -> Task | None:
    """The task to ask for next, where a sequence ended early after it got somewhere or the policy missed a goal; None
    where there is no such one."""
    early = sequence.status is SequenceStatus.PARTIAL and not acted.stopped
    if sequence.plan is None or not (early or acted.missed):
        return None
    if any(subgoal.status is not SubgoalStatus.VERIFIED for subgoal in sequence.subgoals[: acted.reached]):
        return None  # a step in between was left out, so what was reached is not the plan's beginning
    left = sequence.plan.after(acted.reached)
    # Without a plan the planner would be asked again, for what is done already.
    return None if left is None else replace(sequence.task, seed=sequence.task.seed + 1, plan=left)


def may_move(goal: Sequence[tuple[str, ...]], before: SceneState) -> set[str]:
    """What a task may move: what its goal names as moved, and whatever lies on top of anything the goal names."""
    named = {name for predicate in goal for name in predicate[1:]}
    allowed = {predicate[1] for predicate in goal} | ({"drawer"} if "drawer" in named else set())
    pending = list(named)
    while pending:
        on_top = before.on_top_of(pending.pop())
        if on_top is not None and on_top not in allowed:
            allowed.add(on_top)
            pending.append(on_top)
    return allowed


def summary(episodes: Sequence[Episode]) -> dict[str, Any]:
    """Success in all and per family, with Wilson 95 % intervals, and the episodes themselves."""
    families = sorted({episode.family for episode in episodes})
    steps = sum(episode.steps for episode in episodes)
    return {
        **_rate(episodes).record(),
        "at_once": Rate(sum(episode.at_once for episode in episodes), len(episodes)).record(),
        "families": {name: _rate([e for e in episodes if e.family == name]).record() for name in families},
        "attempts_per_step": sum(e.attempts for e in episodes) / steps if steps else None,
        "per_episode": [episode.record() for episode in episodes],
    }


def _rate(episodes: Sequence[Episode]) -> Rate:
    return Rate(sum(episode.success for episode in episodes), len(episodes))
