"""The models in a process of their own: watched, and replaced when it dies or hangs.

The process is started afresh (never forked from one that has loaded a GPU or GL library) and gets everything over a
private socket pair. Whatever happens to it, the job it was on is reported as lost with the reason, once, and the next
job runs in the next process.
"""

from __future__ import annotations

import logging
import select
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from itk_embodied.bridges.codec import Part, clip
from itk_embodied.bridges.events import Job
from itk_embodied.bridges.images import encode_image
from itk_embodied.bridges.mailbox import Mailbox
from itk_embodied.bridges.plans import step_infos
from itk_embodied.bridges.wire import Encoding, EndMessage, Header, TaskHeader
from itk_embodied.bridges.worker import (
    IdleReport,
    LostReport,
    MessageReport,
    OnSequence,
    Post,
    RestartReport,
    StageReport,
    StateReport,
)
from itk_embodied.bridges.worker_handle import Handle, death
from itk_embodied.bridges.worker_link import Idle, Link, LogLine, Record, Run, Setup, Stage, State, Stop
from itk_embodied.bridges.worker_records import Assembler
from itk_embodied.bridges.worker_watch import Backoff, Watch, WorkerConfig
from itk_embodied.errors import WireError

log = logging.getLogger(__name__)

_STAGES = {"plan": "planning", "generate": "painting", "judge": "judging"}
_REAP_S, _HURRY_S = 5.0, 1.0  # for a process that ends in order; the second where the service goes too


class ProcessWorker:
    """See `itk_embodied.bridges.worker.Worker`.

    Args:
        stack: a shipped stack's name or a TOML file.
        settings: fields of `PipelineConfig` that override the stack's.
        on_sequence: called with each sequence that ended by itself, all attempts and pictures included.
    """

    def __init__(
        self,
        stack: str | Path,
        *,
        config: WorkerConfig | None = None,
        encoding: Encoding = "png",
        settings: Mapping[str, Any] | None = None,
        on_sequence: OnSequence | None = None,
    ) -> None:
        self.config = config or WorkerConfig()
        self._stack = str(stack)
        self._encoding: Encoding = encoding
        self._settings = dict(settings or {})
        self._on_sequence = on_sequence
        self._mailbox: Mailbox[Callable[[], None]] = Mailbox()
        self._thread = threading.Thread(target=self._main, name="worker-supervisor", daemon=True)
        self._post: Post = lambda report: None
        self._stopping = threading.Event()
        self._backoff = Backoff(self.config)
        self._restarts = 0
        self._handle: Handle | None = None
        self._watch = Watch(self.config, 0.0)
        self._spawn_at_s = 0.0
        self._ready = False
        self._broken = self._lost = ""
        self._job: Job | None = None
        self._sent = False  # whether this worker has the job
        self._assembler: Assembler | None = None

    @property
    def pid(self) -> int | None:
        """The worker's process id; None between two of them."""
        handle = self._handle
        return handle.pid if handle else None

    @property
    def _link(self) -> Link | None:
        return self._handle.link if self._handle else None

    def start(self, post: Post) -> None:
        self._post = post
        self._thread.start()

    def run(self, job: Job) -> None:
        self._mailbox.put(lambda: self._take_job(job))

    def cancel(self, task_id: str) -> None:
        self._mailbox.put(lambda: self._cancel(task_id))

    def stop(self, timeout_s: float) -> None:
        self._stopping.set()
        self._mailbox.put(lambda: None)
        if self._thread.is_alive():
            self._thread.join(timeout_s + _REAP_S)
        elif self._thread.ident is None:
            self._mailbox.close()

    # Everything below runs in the supervisor's thread.

    def _main(self) -> None:
        try:
            while not self._stopping.is_set():
                try:
                    self._turn()
                except Exception as error:  # a mistake here must not leave a job without an end
                    log.exception("the worker's supervisor broke; the worker is replaced")
                    self._lose(f"the worker's supervisor broke: {type(error).__name__}: {error}")
        finally:
            self._end_process()
            self._mailbox.close()

    def _turn(self) -> None:
        now_s = time.monotonic()
        if self._link is None and not self._broken and now_s >= self._spawn_at_s:
            self._spawn(now_s)
        self._wait(now_s)
        for command in self._mailbox.take_all():
            command()
        if self._link is None:
            return
        self._link.flush()
        try:
            self._receive(self._link)
        except EOFError:
            self._lose("")
        except WireError as error:
            self._lose(f"the worker process sent something that is no message: {error}")
        # Judged only after everything that has come is read: it may be we who were asleep.
        problem = self._watch.problem(time.monotonic()) if self._link is not None and not self._broken else ""
        if problem:
            self._lose(problem)

    def _wait(self, now_s: float) -> None:
        link = self._link
        if link is None:
            timeout_s = None if self._broken else max(0.0, self._spawn_at_s - now_s)
            select.select([self._mailbox], [], [], timeout_s)
            return
        timeout_s = None if self._broken else max(0.0, self._watch.next_s() - now_s) + 0.001
        readable: list[Any] = [self._mailbox, link]
        select.select(readable, [link] if link.has_queued else [], [], timeout_s)

    def _receive(self, link: Link) -> None:
        while (received := link.read()) is not None:
            now_s = time.monotonic()
            self._watch.heard(now_s)
            self._on_message(received.message, received.payload, now_s)

    def _spawn(self, now_s: float) -> None:
        try:
            self._handle = Handle()
        except OSError as error:
            self._spawn_at_s = now_s + self._backoff.failed()
            self._post(StateReport("loading", f"the worker process cannot be started: {error}"))
            return
        self._watch = Watch(self.config, now_s)
        self._ready = self._sent = False
        records = self._on_sequence is not None
        level = logging.getLogger().getEffectiveLevel()
        limits: dict[str, Any] = {"warm_up_s": self.config.warm_up_s, "log_level": level, "settings": self._settings}
        self._tell(Setup(stack=self._stack, encoding=self._encoding, records=records, **limits))

    def _take_job(self, job: Job) -> None:
        self._job = job
        if self._broken:
            self._finish(job, "failed", self._broken)
        elif self._ready:
            self._send_job(job)

    def _send_job(self, job: Job) -> None:
        now_s = time.monotonic()
        info, payload = encode_image(job.frame.image, "raw", hashed=False)
        run = Run(
            task_id=job.task_id,
            task=job.task.text,
            seed=job.task.seed,
            plan=step_infos(job.task.plan),
            stamp_s=job.frame.stamp_s,
            stamp_ns=job.stamp_ns,
            frame_id=job.frame.frame_id,
            frame_sha256=job.frame_sha256,
            image=info,
            left_s=job.ends_s - now_s,
            deadline_s=job.deadline_s,
            age_s=max(0.0, now_s - job.taken_s),
            max_attempts=job.max_attempts,
            valid_s=job.valid_s,
        )
        self._sent = True
        self._assembler = Assembler(job)
        self._tell(run, payload)

    def _tell(self, message: Header, payload: Part = b"") -> None:
        if self._link is not None:
            self._link.queue(message, payload)
            self._link.flush()

    def _cancel(self, task_id: str) -> None:
        if self._job is None or self._job.task_id != task_id:
            return
        if not self._sent:
            self._finish(self._job, "cancelled", "the task was cancelled while the models were loading")
        else:
            self._tell(Stop(task_id=task_id))
            self._watch.stopping(time.monotonic())

    def _finish(self, job: Job, status: Any, reason: str) -> None:
        """End a job that no worker has."""
        self._job = None
        self._post(MessageReport(EndMessage(**job.fields, status=status, reason=clip(reason, 100_000)), b""))
        self._post(IdleReport(job.task_id))

    def _on_message(self, message: Any, payload: Part, now_s: float) -> None:
        if isinstance(message, TaskHeader):
            self._post(MessageReport(message, payload))  # type: ignore[arg-type]
        elif isinstance(message, Stage):
            self._on_stage(message, now_s)
        elif isinstance(message, State):
            self._on_state(message)
        elif isinstance(message, Record):
            self._on_record(message, payload)
        elif isinstance(message, LogLine):
            logging.getLogger(message.logger).log(message.level, "%s", message.text)
        elif isinstance(message, Idle) and self._job is not None and message.task_id == self._job.task_id:
            self._watch.idle()
            self._backoff.succeeded()
            self._job, self._sent, self._assembler = None, False, None
            self._post(IdleReport(message.task_id))

    def _on_stage(self, stage: Stage, now_s: float) -> None:
        if stage.seconds is None:
            self._watch.stage_began(_STAGES[stage.stage], stage.budget_s, now_s)
        else:
            self._watch.stage_ended()
        self._post(StageReport(stage.task_id, stage.stage, stage.budget_s, stage.seconds))

    def _on_state(self, state: State) -> None:
        if state.state == "ready":
            self._watch.loaded()
            self._ready, self._lost = True, ""
        elif state.state == "broken":
            self._broken = state.detail
        self._post(StateReport(state.state, state.detail or self._lost, state.stack))
        if self._job is not None and not self._sent and (self._ready or self._broken):
            self._take_job(self._job)

    def _on_record(self, record: Record, payload: Part) -> None:
        if self._assembler is None or self._on_sequence is None or record.task_id != self._assembler.job.task_id:
            return
        sequence = self._assembler.take(record, payload)
        if sequence is not None:
            try:
                self._on_sequence(record.task_id, sequence)
            except Exception:  # a listener's mistake is no fault of the worker's
                log.exception("a listener for sequences raised")

    def _lose(self, problem: str) -> None:
        """Replace the worker: it died (empty ``problem``) or has to."""
        during = self._watch.stage
        handle = self._handle
        code = self._end_process(kill=bool(problem))
        if self._broken:
            return  # it said why, and another would say the same
        words = handle.last_words if handle is not None else ""
        reason = problem or f"the worker process {death(code)} while {during}" + (f" ({words})" if words else "")
        delay_s = self._backoff.failed()
        self._spawn_at_s = time.monotonic() + delay_s
        self._restarts += 1
        self._lost = f"{reason}; another one starts after {delay_s:g} s"
        log.error("%s", self._lost)
        self._post(StateReport("loading", self._lost))
        self._post(RestartReport(self._restarts, reason))
        job = self._job
        if job is not None and self._sent:
            self._job, self._sent, self._assembler = None, False, None
            self._post(LostReport(job.task_id, reason))
            self._post(IdleReport(job.task_id))

    def _end_process(self, *, kill: bool = False) -> int | None:
        """End the process with all its own, in order where it can; returns its exit code."""
        handle, self._handle = self._handle, None
        self._ready = False
        if handle is None:
            return None
        return handle.end(0.0 if kill else _HURRY_S if self._stopping.is_set() else _REAP_S)
