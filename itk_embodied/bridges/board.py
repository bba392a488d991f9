"""Who runs next: one active task, one pending, the newest replacing it, and one terminal status for each.

Plain state, no threads, no sockets, no clock of its own: whoever owns it calls in, and passes the time.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from itk_embodied.bridges.codec import Part, with_fields
from itk_embodied.bridges.events import Job
from itk_embodied.bridges.progress import Progress
from itk_embodied.bridges.wire import EndMessage, TaskMessage, TaskPlace
from itk_embodied.bridges.worker import IdleReport, LostReport, MessageReport, Worker
from itk_embodied.types import SequenceStatus

CANCEL_GRACE_S = 0.5
"""How long a cancelled task may take to end by itself before the board ends it."""
EXPIRE_GRACE_S = 1.0
"""The same for a task past its deadline, which the pipeline watches itself."""

Publish: TypeAlias = Callable[["TaskRecord", TaskMessage, Part], None]


@dataclass(eq=False)
class TaskRecord:
    """One task and all that was published of it."""

    job: Job
    place: TaskPlace = "pending"
    seq: int = 0
    end: EndMessage | None = None
    cancelled_by_s: float | None = None  # was told to stop; the board ends it then if it has not ended by itself
    sent: list[list[Part]] = field(default_factory=list)
    progress: Progress = field(default_factory=Progress)

    @property
    def patience_ends_s(self) -> float:
        """When the board ends the task whatever its models do."""
        if self.cancelled_by_s is not None:
            return self.cancelled_by_s
        return self.job.ends_s + (EXPIRE_GRACE_S if self.place == "active" else 0.0)

    @property
    def size_bytes(self) -> int:
        return sum(len(part) for parts in self.sent for part in parts)


class TaskBoard:
    """The state of all tasks of one service.

    Args:
        publish: is given every message, numbered, in order; appends what it sends to the record's ``sent``.
        keep: how many ended tasks stay readable; ``keep_bytes`` bounds what they hold.
    """

    def __init__(self, worker: Worker, publish: Publish, *, keep: int = 8, keep_bytes: int = 128 << 20) -> None:
        self._worker = worker
        self._publish = publish
        self._keep = keep
        self._keep_bytes = keep_bytes
        self._records: OrderedDict[str, TaskRecord] = OrderedDict()
        self._busy = ""  # the task whose models still run; may have ended already
        self.active: TaskRecord | None = None
        self.pending: TaskRecord | None = None

    def get(self, task_id: str) -> TaskRecord | None:
        """A task's record; for an empty id the active one, else the pending one, else the newest."""
        if task_id:
            return self._records.get(task_id)
        newest = next(reversed(self._records.values()), None)
        return self.active or self.pending or newest

    def submit(self, job: Job) -> TaskRecord:
        """Take a task in. A task id that is known already changes nothing."""
        known = self._records.get(job.task_id)
        if known is not None:
            return known
        record = self._records[job.task_id] = TaskRecord(job)
        if self.pending is not None:
            self._end(self.pending, SequenceStatus.CANCELLED, "replaced by a newer task")
        self.pending = record
        self._start_next()
        return record

    def cancel(self, task_id: str, now_s: float) -> tuple[str, ...]:
        """Stop a task, or all of them for an empty id. Returns the ids that were told to stop."""
        stopped = []
        for record in (self.pending, self.active):
            if record is None or task_id not in ("", record.job.task_id):
                continue
            stopped.append(record.job.task_id)
            if record.place == "pending":
                self._end(record, SequenceStatus.CANCELLED, "the task was cancelled before it started")
            elif record.cancelled_by_s is None:
                record.cancelled_by_s = now_s + CANCEL_GRACE_S
                self._worker.cancel(record.job.task_id)
        return tuple(reversed(stopped))

    def on_message(self, report: MessageReport) -> None:
        """The worker has something to publish. Dropped where the task has ended."""
        record = self._records.get(report.message.task_id)
        if record is None or record.end is not None:
            return
        self._send(record, report.message, report.payload)

    def on_lost(self, report: LostReport) -> None:
        """The worker died or hung while it ran the task."""
        record = self._records.get(report.task_id)
        if record is not None and record.end is None:
            told = record.cancelled_by_s is not None
            status = SequenceStatus.PARTIAL if record.progress.verified else SequenceStatus.FAILED
            self._end(record, SequenceStatus.CANCELLED if told else status, report.reason)

    def on_idle(self, report: IdleReport) -> None:
        """The worker can take the next job."""
        record = self._records.get(report.task_id)
        if record is not None and record.end is None:
            self._end(record, SequenceStatus.FAILED, "the pipeline stopped without a result")
        if self._busy == report.task_id:
            self._busy = ""
        self._start_next()

    def tick(self, now_s: float) -> None:
        """End what is past its deadline."""
        record = self.pending
        if record is not None and now_s > record.job.ends_s:
            reason = f"the task waited for another one past its deadline of {record.job.deadline_s:g} s"
            self._end(record, SequenceStatus.EXPIRED, reason)
        record = self.active
        if record is None or now_s <= record.patience_ends_s:
            return
        if record.cancelled_by_s is not None:
            self._end(record, SequenceStatus.CANCELLED, "the task was cancelled")
            return
        self._worker.cancel(record.job.task_id)
        reason = f"the task ran past its deadline of {record.job.deadline_s:g} s"
        self._end(record, SequenceStatus.EXPIRED, reason)

    def next_event_s(self) -> float | None:
        """When `tick` has something to do next, a `time.monotonic` instant."""
        times = [r.patience_ends_s for r in (self.active, self.pending) if r is not None]
        return min(times, default=None)

    def end_all(self, reason: str) -> None:
        """The service stops: every open task ends."""
        for record in (self.pending, self.active):
            if record is not None:
                self._worker.cancel(record.job.task_id)
                self._end(record, SequenceStatus.CANCELLED, reason)

    def _start_next(self) -> None:
        if self._busy or self.pending is None:
            return
        record, self.pending = self.pending, None
        self.active = record
        record.place = "active"
        self._busy = record.job.task_id
        self._worker.run(record.job)

    def _end(self, record: TaskRecord, status: SequenceStatus, reason: str) -> None:
        """End a task that did not end by itself; the step it was on ends first, as failed."""
        closing = record.progress.close_step(record.job, reason)
        if closing is not None:
            self._send(record, closing, b"")
        self._send(record, record.progress.end(record.job, status, reason), b"")

    def _send(self, record: TaskRecord, message: TaskMessage, payload: Part) -> None:
        if isinstance(message, EndMessage):
            record.end = message
            record.place = "ended"
            if self.active is record:
                self.active = None
            if self.pending is record:
                self.pending = None
        record.progress.note(message)
        record.seq += 1
        self._publish(record, with_fields(message, seq=record.seq), payload)
        if record.end is not None:
            self._forget_old()

    def _forget_old(self) -> None:
        ended = [record for record in self._records.values() if record.end is not None]
        held = sum(record.size_bytes for record in ended)
        while ended and (len(ended) > self._keep or (held > self._keep_bytes and len(ended) > 1)):
            oldest = ended.pop(0)
            held -= oldest.size_bytes
            del self._records[oldest.job.task_id]
