"""Pipeline events as wire messages. Done where the pipeline runs, so that encoding never holds up the sockets."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field
from typing import Any

from itk_embodied.bridges.codec import Part, clip
from itk_embodied.bridges.images import encode_image
from itk_embodied.bridges.plans import TEXT_CHARS, step_infos
from itk_embodied.bridges.wire import (
    AttemptMessage,
    Encoding,
    EndMessage,
    ImageInfo,
    PlanMessage,
    SubgoalMessage,
    TaskMessage,
    stamp_to_ns,
)
from itk_embodied.types import (
    Attempt,
    AttemptJudged,
    AttemptStarted,
    Event,
    Frame,
    Image,
    Plan,
    PlanReady,
    SequenceEnded,
    Subgoal,
    SubgoalReady,
    SubgoalSequence,
    Task,
    image_hash,
)

_TEXT = TEXT_CHARS
_LONG = 100_000


@dataclass(frozen=True, eq=False)
class Job:
    """One task on its way through the service.

    Attributes:
        ends_s: the task's deadline, a `time.monotonic` instant.
        deadline_s: the same as seconds from submission, for messages.
        max_attempts: attempts per step; None for the pipeline's own.
        stamp_ns: the source's stamp, exact; ``frame.stamp_s`` is the nearest float.
        valid_s: seconds after the stamp until which its subgoals may be acted on; None for ever.
        taken_s: when the service took it in, a `time.monotonic` instant.
    """

    task_id: str
    frame: Frame
    task: Task
    ends_s: float
    deadline_s: float
    stamp_ns: int
    frame_sha256: str = ""
    max_attempts: int | None = None
    valid_s: float | None = None
    taken_s: float = field(default_factory=time.monotonic)

    @staticmethod
    def stamp_of(frame: Frame) -> int:
        return stamp_to_ns(frame.stamp_s)

    @property
    def valid_until_ns(self) -> int:
        """In the source's clock; 0 for ever."""
        return 0 if self.valid_s is None else self.stamp_ns + round(self.valid_s * 1e9)

    @property
    def fields(self) -> dict[str, Any]:
        """What every message of the task carries."""
        return {
            "task_id": self.task_id,
            "stamp_ns": self.stamp_ns,
            "frame_id": clip(self.frame.frame_id, 200),
            "frame_sha256": self.frame_sha256,
        }


class EventEncoder:
    """Turns the events of one job into messages; ``seq`` and ``session`` are filled in by whoever sends them."""

    def __init__(self, job: Job, stack: str, encoding: Encoding = "png") -> None:
        self._job = job
        self._encoding: Encoding = encoding
        self._fields = {**job.fields, "stack": clip(stack, 200)}
        self._step_count = 0

    def message(self, event: Event) -> tuple[TaskMessage, Part]:
        if isinstance(event, PlanReady):
            self._step_count = len(event.plan.image_steps)
            return self._plan(event.plan, event.seconds), b""
        if isinstance(event, AttemptStarted):
            return self._started(event), b""
        if isinstance(event, AttemptJudged):
            return self._judged(event.step.step_number, event.attempt), b""
        if isinstance(event, SubgoalReady):
            return self._subgoal(event.subgoal)
        assert isinstance(event, SequenceEnded)
        return self._end(event.sequence), b""

    def _plan(self, plan: Plan, seconds: float) -> PlanMessage:
        task, steps = self._job.task, step_infos(plan)
        thought = clip(plan.thought, _LONG)
        return PlanMessage(
            **self._fields, task=task.text, seed=task.seed, steps=steps, thought=thought, seconds=seconds
        )

    def _started(self, event: AttemptStarted) -> AttemptMessage:
        return AttemptMessage(
            **self._fields,
            step=event.step.step_number,
            attempt=event.attempt,
            state="started",
            prompt=clip(event.prompt, _TEXT),
            seed=event.seed,
        )

    def _judged(self, step: int, attempt: Attempt) -> AttemptMessage:
        verdict = attempt.verdict
        return AttemptMessage(
            **self._fields,
            step=step,
            attempt=attempt.attempt,
            state="error" if verdict is None else "accepted" if verdict.success else "rejected",
            prompt=clip(attempt.prompt, _TEXT),
            seed=attempt.seed,
            score=min(1.0, max(0.0, attempt.score)),
            refine_prompt=clip(verdict.refine_prompt if verdict else "", _TEXT),
            error=clip(attempt.error, _TEXT),
            generate_s=attempt.generate_s,
            judge_s=attempt.judge_s,
        )

    def _subgoal(self, subgoal: Subgoal) -> tuple[SubgoalMessage, Part]:
        image, payload = (None, b"") if subgoal.image is None else self._encode(subgoal.image)
        chosen = subgoal.accepted if subgoal.image is not None else None
        prompt = chosen.prompt if chosen else subgoal.step.prompt or ""
        message = SubgoalMessage(
            **self._fields,
            step=subgoal.step.step_number,
            step_count=self._step_count,
            step_name=clip(subgoal.step.step_name, _TEXT),
            instruction=clip(subgoal.step.instruction, _TEXT),
            status=subgoal.status.value,
            prompt=clip(prompt, _TEXT),
            prompt_hash=hashlib.sha256(prompt.encode()).hexdigest(),
            attempt=chosen.attempt if chosen else 0,
            attempts=len(subgoal.attempts),
            seed=chosen.seed if chosen else 0,
            score=min(1.0, max(0.0, chosen.score)) if chosen else 0.0,
            image=image,
            image_sha256="" if subgoal.image is None else image_hash(subgoal.image),
            source_sha256=subgoal.source_image_sha256,
            valid_until_ns=self._job.valid_until_ns,
            age_s=time.monotonic() - self._job.taken_s,
            error=clip(subgoal.error, _TEXT),
        )
        return message, payload

    def _encode(self, image: Image) -> tuple[ImageInfo, Part]:
        """Raw pixels are hashed already, as ``image_sha256``; twice would cost more than sending them."""
        return encode_image(image, self._encoding, hashed=self._encoding != "raw")

    def _end(self, sequence: SubgoalSequence) -> EndMessage:
        return EndMessage(
            **self._fields,
            status=sequence.status.value,
            reason=clip(sequence.reason, _LONG),
            verified=sum(1 for subgoal in sequence.subgoals if subgoal.status == "verified"),
            attempts=sequence.attempts,
            prompt_hashes={clip(k, 200): clip(v, 200) for k, v in list(sequence.prompt_hashes.items())[:16]},
            plan_s=sequence.plan_s,
            first_subgoal_s=sequence.first_subgoal_s,
            total_s=sequence.total_s,
        )
