"""One trajectory: a scene and a task of the simulator, the pipeline's run, and the judge's scores of every picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np

from itk_embodied.agents.base import CallContext
from itk_embodied.errors import ItkError
from itk_embodied.pipeline import PipelineConfig, VisualSubgoalPipeline, derive_seed
from itk_embodied.training.judge.base import Subject
from itk_embodied.training.rollouts.draw import draw_task
from itk_embodied.training.rollouts.lines import AttemptLine, JudgeLine, StepLine, TaskLine, TrajectoryLine, VerdictLine
from itk_embodied.training.rollouts.roles import MisleadingPlanner, PersistentCritic, Roles
from itk_embodied.training.rollouts.truth import Truth, step_of
from itk_embodied.training.shards import Record
from itk_embodied.types import Attempt, Frame, Image, Subgoal, SubgoalSequence, Task, Verdict
from itk_sim.table import Table
from itk_sim.tasks import TaskSpec


@dataclass(frozen=True, eq=False)
class Rolled:
    """A trajectory and its pictures: ``frame`` (S, S, 3); ``images`` of the attempts, as the line numbers them;
    ``records``: ground truth of the judged steps, as the line's rows number them."""

    line: TrajectoryLine
    frame: Image
    images: tuple[Image, ...]
    records: tuple[Record, ...]


@dataclass
class Roller:
    """Rolls trajectories on one table.

    Args:
        attempts: pictures painted of every step.
        misled: share of the steps whose first prompt asks for something else.
        image_px: side of the camera frame and of everything kept.
        families: task families to draw from; empty for all.
        pipeline: further `PipelineConfig` fields (budgets).
    """

    table: Table
    roles: Roles
    attempts: int = 3
    misled: float = 0.3
    image_px: int = 128
    families: Sequence[str] = ()
    pipeline: Mapping[str, Any] = field(default_factory=dict)

    def roll(self, number: int, seed: Sequence[int], *, held_out: bool, images: int = 0, rows: int = 0) -> Rolled:
        """Roll trajectory ``number``. ``images``, ``rows``: how many the shard has already, for the numbering."""
        rng = np.random.default_rng(seed)
        scene, state, task = draw_task(self.table, rng, held_out=held_out, families=self.families)
        run_seed = int(rng.integers(2**31))
        frame = Frame(self.table.render("front", self.image_px), stamp_s=0.0)
        planner = MisleadingPlanner(self.roles.planner, state, self.misled, rng)
        critic = PersistentCritic(self.roles.critic, self.attempts)
        settings = dict(self.pipeline) | {"max_attempts": self.attempts, "continue_after_unverified": True}
        pipeline = VisualSubgoalPipeline(planner, self.roles.generator, critic, PipelineConfig(**settings))
        sequence = pipeline(frame, Task(task.text, seed=run_seed))
        truth = Truth(self.table, rng, self.image_px)
        steps, pictures, records = self._steps(sequence, task, truth, critic.verdicts, images, rows)
        plan = sequence.plan
        line = TrajectoryLine(
            number=number,
            seed=run_seed,
            task=TaskLine(task.id, task.family, sequence.task.text, task.steps, task.intents, task.refusal),
            scene=scene.to_json(),
            state=state,
            status=str(sequence.status),
            reason=sequence.reason,
            plan_thought=plan.thought if plan else "",
            plan_raw=plan.raw if plan else sequence.raw,
            steps=tuple(steps),
        )
        return Rolled(line, frame.image, tuple(pictures), tuple(records))

    def _steps(
        self,
        sequence: SubgoalSequence,
        task: TaskSpec,
        truth: Truth,
        verdicts: Sequence[Verdict],
        images: int,
        rows: int,
    ) -> tuple[list[StepLine], list[Image], list[Record]]:
        """The steps as lines; from the first wrong picture on there is no truth to judge by."""
        said = iter(verdicts)
        lines: list[StepLine] = []
        pictures: list[Image] = []
        records: list[Record] = []
        before, lost = sequence.frame.image, ""
        planned = len(sequence.plan.image_steps) if sequence.plan else 0
        for subgoal in sequence.subgoals:
            record = None
            if not lost:
                step = step_of(str(subgoal.step.instruction), len(lines), task.steps, planned)
                record = None if step is None else truth.reach(step, before, task.family)
                if record is None:
                    lost = "the step cannot be done here, or is worded in no way that is understood"
            attempts = []
            for attempt in subgoal.attempts:
                shown = None if attempt.image is None else _sized(attempt.image, self.image_px)
                verdict = next(said) if attempt.verdict is not None else None
                number = None if shown is None else images + len(pictures)
                attempts.append(self._attempt(attempt, shown, verdict, record, number))
                pictures += [] if shown is None else [shown]
            accepted = _accepted(subgoal)
            row = None if record is None else rows + len(records)
            lines.append(_line(subgoal, row, attempts, accepted, lost))
            if record is not None:
                records.append(record)
                lost = "" if accepted is not None else "the step before has no picture"
            if not lost and accepted is not None and record is not None:
                image = subgoal.attempts[accepted].image
                assert image is not None
                before = _sized(image, self.image_px)
                lost = "" if truth.follow(record, before) else "the picture it starts from is wrong"
        return lines, pictures, records

    def _attempt(
        self, attempt: Attempt, image: Image | None, verdict: Verdict | None, record: Record | None, number: int | None
    ) -> AttemptLine:
        judged, error = None, ""
        if image is not None and record is not None:
            try:
                context = CallContext(seed=derive_seed(attempt.seed, "judge"))
                judged = JudgeLine.of(self.roles.judge.judge(Subject.of(record), image, context))
            except ItkError as failure:
                error = str(failure)
        said = None
        if verdict is not None:
            said = VerdictLine(verdict.success, verdict.refine_prompt, verdict.score, verdict.reasoning)
        return AttemptLine(attempt.attempt, attempt.prompt, attempt.seed, number, said, judged, attempt.error, error)


def _line(
    subgoal: Subgoal, row: int | None, attempts: Sequence[AttemptLine], accepted: int | None, lost: str
) -> StepLine:
    step = subgoal.step
    return StepLine(
        step.step_number,
        step.step_name,
        str(step.instruction),
        str(step.prompt),
        row,
        tuple(attempts),
        accepted,
        lost if row is None else "",
    )


def _accepted(subgoal: Subgoal) -> int | None:
    """The position of the picture that the next step starts from."""
    chosen = subgoal.accepted
    return None if chosen is None else next(i for i, one in enumerate(subgoal.attempts) if one is chosen)


def _sized(image: Image, side: int) -> Image:
    if image.shape[:2] == (side, side):
        return image
    return cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA).astype(np.uint8)
