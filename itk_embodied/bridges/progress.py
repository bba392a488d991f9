"""How far a task has come, read from its own messages: what is needed to end it well when its models cannot."""

from __future__ import annotations

import time
from dataclasses import dataclass

from itk_embodied.bridges.codec import clip
from itk_embodied.bridges.events import Job
from itk_embodied.bridges.wire import AttemptMessage, EndMessage, PlanMessage, SubgoalMessage, TaskMessage
from itk_embodied.types import SequenceStatus


@dataclass(eq=False)
class Progress:
    """Fed with every message of the task, in order."""

    plan: PlanMessage | None = None
    open_step: AttemptMessage | None = None  # the newest attempt of a step that has no outcome yet
    verified: int = 0
    attempts: int = 0
    first_verified_s: float | None = None  # a `time.monotonic` instant

    def note(self, message: TaskMessage) -> None:
        if isinstance(message, PlanMessage):
            self.plan = message
        elif isinstance(message, AttemptMessage):
            self.open_step = message
            self.attempts += message.state != "started"
        elif isinstance(message, SubgoalMessage):
            self.open_step = None
            if message.status == "verified":
                self.verified += 1
                self.first_verified_s = self.first_verified_s or time.monotonic()

    def close_step(self, job: Job, reason: str) -> SubgoalMessage | None:
        """The outcome of the step that was cut short: failed, and why. None where no step is open."""
        step = self.open_step
        if step is None or self.plan is None:
            return None
        planned = next((info for info in self.plan.steps if info.step == step.step), None)
        return SubgoalMessage(
            **job.fields,
            stack=step.stack,
            step=step.step,
            step_count=sum(1 for info in self.plan.steps if info.instruction is not None and info.prompt is not None),
            step_name=planned.name if planned else "",
            instruction=(planned.instruction if planned else "") or "",
            status="failed",
            prompt=step.prompt,
            attempts=step.attempt,
            valid_until_ns=job.valid_until_ns,
            age_s=max(0.0, time.monotonic() - job.taken_s),
            error=clip(reason, 4000),
        )

    def end(self, job: Job, status: SequenceStatus, reason: str) -> EndMessage:
        """The terminal message of a task whose models did not write one."""
        first_s = self.first_verified_s
        return EndMessage(
            **job.fields,
            stack=self.plan.stack if self.plan else "",
            status=status.value,
            reason=clip(reason, 100_000),
            verified=self.verified,
            attempts=self.attempts,
            plan_s=self.plan.seconds if self.plan else 0.0,
            first_subgoal_s=None if first_s is None else max(0.0, first_s - job.taken_s),
            total_s=max(0.0, time.monotonic() - job.taken_s),
        )
