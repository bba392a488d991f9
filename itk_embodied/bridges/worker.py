"""Where the models run: apart from the sockets, behind a boundary that another kind of worker can take."""

from __future__ import annotations

import copy
import dataclasses
import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias, runtime_checkable

from itk_embodied.bridges.codec import Part, clip
from itk_embodied.bridges.events import EventEncoder, Job
from itk_embodied.bridges.wire import Encoding, EndMessage, ServiceState, TaskMessage
from itk_embodied.pipeline import VisualSubgoalPipeline
from itk_embodied.types import SequenceEnded, SubgoalSequence

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StateReport:
    """The worker is loading its models, ready, or broken (``detail`` says why)."""

    state: ServiceState
    detail: str = ""
    stack: str = ""


@dataclass(frozen=True, eq=False)
class MessageReport:
    """The job has something to publish; ``seq`` and ``session`` are still empty."""

    message: TaskMessage
    payload: Part


@dataclass(frozen=True)
class IdleReport:
    """The job's models have stopped; the next job may start. Comes after the job's `EndMessage`."""

    task_id: str


Report: TypeAlias = StateReport | MessageReport | IdleReport
Post: TypeAlias = Callable[[Report], None]
PipelineSource: TypeAlias = VisualSubgoalPipeline | Callable[[], VisualSubgoalPipeline]


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


class ThreadWorker:
    """Runs the pipeline in a thread of this process.

    Args:
        pipeline: a pipeline, or a function that loads one (called in the thread, so that loading blocks nobody).
        on_sequence: called in the thread with each finished sequence, attempts and pictures included.
    """

    def __init__(
        self,
        pipeline: PipelineSource,
        *,
        encoding: Encoding = "png",
        on_sequence: Callable[[str, SubgoalSequence], None] | None = None,
    ) -> None:
        self._source = pipeline
        self._encoding: Encoding = encoding
        self._on_sequence = on_sequence
        self._jobs: queue.SimpleQueue[tuple[Job, threading.Event] | None] = queue.SimpleQueue()
        self._current: tuple[str, threading.Event] = ("", threading.Event())
        self._thread = threading.Thread(target=self._main, name="subgoal-worker", daemon=True)
        self._post: Post = lambda report: None
        self._pipeline: VisualSubgoalPipeline | None = None
        self._broken = ""

    def start(self, post: Post) -> None:
        self._post = post
        self._thread.start()

    def run(self, job: Job) -> None:
        cancel = threading.Event()
        self._current = (job.task_id, cancel)
        self._jobs.put((job, cancel))

    def cancel(self, task_id: str) -> None:
        current_id, cancel = self._current
        if current_id == task_id:
            cancel.set()

    def stop(self, timeout_s: float) -> None:
        self._current[1].set()
        self._jobs.put(None)
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def _main(self) -> None:
        self._load()
        while (item := self._jobs.get()) is not None:
            job, cancel = item
            try:
                self._run(job, cancel)
            except Exception as error:  # the pipeline itself does not raise; a plug-in or the encoder may
                log.exception("task %s broke", job.task_id)
                self._fail(job, f"{type(error).__name__}: {error}")
            finally:
                self._post(IdleReport(job.task_id))

    def _load(self) -> None:
        self._post(StateReport("loading"))
        try:
            self._pipeline = self._source if isinstance(self._source, VisualSubgoalPipeline) else self._source()
        except Exception as error:
            self._broken = f"the models did not load: {error}"
            log.error("%s", self._broken)
            self._post(StateReport("broken", self._broken))
        else:
            self._post(StateReport("ready", stack=self._pipeline.stack_name))

    def _run(self, job: Job, cancel: threading.Event) -> None:
        if self._pipeline is None:
            self._fail(job, self._broken)
            return
        encoder = EventEncoder(job, self._pipeline.stack_name, self._encoding)
        for event in for_job(self._pipeline, job).stream(job.frame, job.task, cancel):
            if isinstance(event, SequenceEnded) and self._on_sequence is not None:
                self._on_sequence(job.task_id, event.sequence)
            self._post(MessageReport(*encoder.message(event)))

    def _fail(self, job: Job, reason: str) -> None:
        self._post(MessageReport(EndMessage(**job.fields, status="failed", reason=clip(reason, 4000)), b""))


def for_job(pipeline: VisualSubgoalPipeline, job: Job) -> VisualSubgoalPipeline:
    """The same agents with the job's own limits: its attempts, and no more seconds than are left to it."""
    left_s = max(1e-3, min(job.ends_s - time.monotonic(), pipeline.config.sequence_s))
    attempts = pipeline.config.max_attempts if job.max_attempts is None else job.max_attempts
    limited = copy.copy(pipeline)  # of the same class, whose `stream` may do more
    limited.config = dataclasses.replace(pipeline.config, sequence_s=left_s, max_attempts=attempts)
    return limited
