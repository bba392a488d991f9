"""Runs a pipeline in a thread: inside the worker process, and in tests."""

from __future__ import annotations

import copy
import dataclasses
import logging
import queue
import threading
import time
from collections.abc import Callable

from itk_embodied.bridges.codec import clip
from itk_embodied.bridges.events import EventEncoder, Job
from itk_embodied.bridges.stages import WatchedAgent, warm_up
from itk_embodied.bridges.wire import Encoding, EndMessage
from itk_embodied.bridges.worker import (
    IdleReport,
    MessageReport,
    OnSequence,
    Post,
    StageReport,
    StateReport,
)
from itk_embodied.pipeline import VisualSubgoalPipeline
from itk_embodied.types import AttemptJudged, Event, SequenceEnded, SubgoalReady

log = logging.getLogger(__name__)


class ThreadWorker:
    """Runs the pipeline in a thread of this process.

    Args:
        pipeline: a pipeline, or a function that loads one (called in the thread, so that loading blocks nobody).
        on_sequence: called in the thread with each finished sequence, attempts and pictures included.
        on_event: called in the thread with a task's id and each event, before it is sent.
        warm_up_s: seconds each model may spend on a blank picture before it counts as ready; 0: not at all.
    """

    def __init__(
        self,
        pipeline: VisualSubgoalPipeline | Callable[[], VisualSubgoalPipeline],
        *,
        encoding: Encoding = "png",
        on_sequence: OnSequence | None = None,
        on_event: Callable[[str, Event], None] | None = None,
        warm_up_s: float = 0.0,
    ) -> None:
        self._source = pipeline
        self._encoding: Encoding = encoding
        self._on_sequence = on_sequence
        self._on_event = on_event
        self._warm_up_s = warm_up_s
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
            pipeline = self._source if isinstance(self._source, VisualSubgoalPipeline) else self._source()
            if self._warm_up_s > 0:
                self._post(StateReport("warming", stack=pipeline.stack_name))
                warm_up(pipeline, self._warm_up_s)
            self._pipeline = pipeline
        except Exception as error:
            self._broken = f"the models did not load: {error}"
            log.error("%s", self._broken)
            self._post(StateReport("broken", self._broken))
        else:
            self._post(StateReport("ready", stack=pipeline.stack_name))

    def _run(self, job: Job, cancel: threading.Event) -> None:
        if self._pipeline is None:
            self._fail(job, self._broken)
            return
        encoder = EventEncoder(job, self._pipeline.stack_name, self._encoding)
        for event in for_job(self._pipeline, job, self._post).stream(job.frame, job.task, cancel):
            if self._on_event is not None and isinstance(event, AttemptJudged | SubgoalReady | SequenceEnded):
                self._on_event(job.task_id, event)
            if isinstance(event, SequenceEnded) and self._on_sequence is not None:
                self._on_sequence(job.task_id, event.sequence)
            self._post(MessageReport(*encoder.message(event)))

    def _fail(self, job: Job, reason: str) -> None:
        self._post(MessageReport(EndMessage(**job.fields, status="failed", reason=clip(reason, 4000)), b""))


def for_job(pipeline: VisualSubgoalPipeline, job: Job, post: Post) -> VisualSubgoalPipeline:
    """The same agents, watched, with the job's own limits: its attempts, and no more seconds than are left to it."""
    left_s = max(1e-3, min(job.ends_s - time.monotonic(), pipeline.config.sequence_s))
    attempts = pipeline.config.max_attempts if job.max_attempts is None else job.max_attempts
    limited = copy.copy(pipeline)  # of the same class, whose `stream` may do more
    limited.config = dataclasses.replace(pipeline.config, sequence_s=left_s, max_attempts=attempts)

    def tell(stage: str, budget_s: float | None, seconds: float | None) -> None:
        post(StageReport(job.task_id, stage, budget_s, seconds))  # type: ignore[arg-type]

    limited.planner = WatchedAgent(pipeline.planner, tell)
    limited.generator = WatchedAgent(pipeline.generator, tell)
    limited.critic = WatchedAgent(pipeline.critic, tell)
    return limited
