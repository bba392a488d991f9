"""What has been since the service started, counted. Written by its I/O thread, read from any."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import get_args

from itk_embodied.bridges.wire import AttemptMessage, EndMessage, SubgoalMessage, TaskMessage
from itk_embodied.bridges.worker import StageName
from itk_embodied.types import SequenceStatus, SubgoalStatus

STAGES: tuple[str, ...] = get_args(StageName)
BUCKETS_S = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)


@dataclass
class Timings:
    """Seconds, as a histogram: how many took at most each of `BUCKETS_S`, how many in all, and their sum."""

    buckets: list[int] = field(default_factory=lambda: [0] * len(BUCKETS_S))
    count: int = 0
    sum_s: float = 0.0

    def add(self, seconds: float) -> None:
        for index, limit_s in enumerate(BUCKETS_S):
            self.buckets[index] += seconds <= limit_s
        self.count += 1
        self.sum_s += seconds


@dataclass
class Tally:
    """All keys are there from the start, so that reading from another thread is safe.

    Attributes:
        tasks: ended, by terminal status; ``submitted`` counts those taken in.
        subgoals: by status.
        attempts: judged or broken.
        refused: requests that were answered with a refusal.
        dropped: replies that their client did not take.
        resent: messages sent again to clients that had missed them.
        strangers: connections without an allowed key.
        restarts: worker processes that were replaced.
        stages: seconds in each model; ``first`` from taking a task in to its first verified subgoal.
    """

    tasks: dict[str, int] = field(default_factory=lambda: {status.value: 0 for status in SequenceStatus})
    subgoals: dict[str, int] = field(default_factory=lambda: {status.value: 0 for status in SubgoalStatus})
    submitted: int = 0
    attempts: int = 0
    refused: int = 0
    dropped: int = 0
    resent: int = 0
    strangers: int = 0
    restarts: int = 0
    pending: int = 0
    active: int = 0
    stages: dict[str, Timings] = field(default_factory=lambda: {stage: Timings() for stage in STAGES})
    first: Timings = field(default_factory=Timings)

    def note(self, message: TaskMessage) -> None:
        """A task's message has been published."""
        if isinstance(message, EndMessage):
            self.tasks[message.status] += 1
        elif isinstance(message, SubgoalMessage):
            self.subgoals[message.status] += 1
        elif isinstance(message, AttemptMessage):
            self.attempts += message.state != "started"
