"""Where the models run: behind a boundary, apart from the sockets.

A service uses `itk_embodied.bridges.worker_process.ProcessWorker`: the models in a process of their own, watched and
replaced. Inside that process `itk_embodied.bridges.worker_thread.ThreadWorker` runs the pipeline in a thread.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, TypeAlias, runtime_checkable

from itk_embodied.bridges.codec import Part
from itk_embodied.bridges.events import Job
from itk_embodied.bridges.wire import ServiceState, TaskMessage
from itk_embodied.pipeline import VisualSubgoalPipeline
from itk_embodied.types import SubgoalSequence

StageName: TypeAlias = Literal["plan", "generate", "judge"]
OnSequence: TypeAlias = Callable[[str, SubgoalSequence], None]


@dataclass(frozen=True)
class StateReport:
    """The worker is loading its models, warming up, ready, or broken (``detail`` says why)."""

    state: ServiceState
    detail: str = ""
    stack: str = ""


@dataclass(frozen=True, eq=False)
class MessageReport:
    """The job has something to publish; ``seq`` and ``session`` are still empty."""

    message: TaskMessage
    payload: Part


@dataclass(frozen=True)
class StageReport:
    """A model begins (``seconds`` is None; ``budget_s`` is what it may take) or has ended after ``seconds``."""

    task_id: str
    stage: StageName
    budget_s: float | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class LostReport:
    """The worker died or hung while it ran this job; another takes its place. An `IdleReport` follows."""

    task_id: str
    reason: str


@dataclass(frozen=True)
class RestartReport:
    """The worker is being replaced, for the ``count``-th time."""

    count: int
    reason: str


@dataclass(frozen=True)
class IdleReport:
    """The job's models have stopped; the next job may start. Comes after the job's `EndMessage`."""

    task_id: str


Report: TypeAlias = StateReport | MessageReport | StageReport | LostReport | RestartReport | IdleReport
Post: TypeAlias = Callable[[Report], None]
PipelineSource: TypeAlias = str | Path | VisualSubgoalPipeline | Callable[[], VisualSubgoalPipeline]
"""A stack's name or file (run in its own process), or a pipeline or a function that makes one (run in a thread)."""


@runtime_checkable
class Worker(Protocol):
    """Runs one job at a time. All methods return at once; everything else is told through ``post``."""

    def start(self, post: Post) -> None:
        """Begin to load. ``post`` may be called from any thread."""
        ...

    def run(self, job: Job) -> None:
        """Run a job; called only while no other job runs. Posts messages, an `EndMessage`, then an `IdleReport`."""
        ...

    def cancel(self, task_id: str) -> None:
        """Ask the job to stop at its next denoising step or token."""
        ...

    def stop(self, timeout_s: float) -> None:
        """End the worker; give it ``timeout_s`` to do so."""
        ...
