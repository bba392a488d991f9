"""The service's one I/O thread: requests in, the numbered stream and heartbeats out. It never runs a model."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import zmq

from itk_embodied.bridges.board import TaskBoard, TaskRecord
from itk_embodied.bridges.codec import Part, encode, with_fields
from itk_embodied.bridges.gate import Guard
from itk_embodied.bridges.mailbox import Mailbox
from itk_embodied.bridges.requests import RequestDesk
from itk_embodied.bridges.server_sockets import ServerSockets
from itk_embodied.bridges.tally import Tally
from itk_embodied.bridges.wire import Heartbeat, ServiceState, SubgoalMessage, TaskMessage
from itk_embodied.bridges.worker import (
    IdleReport,
    LostReport,
    MessageReport,
    Report,
    RestartReport,
    StageReport,
    StateReport,
    Worker,
)
from itk_embodied.errors import TransportError

log = logging.getLogger(__name__)

Listener: TypeAlias = Callable[[TaskMessage, Part], None]
Call: TypeAlias = Callable[[TaskBoard], object]

_POLL_S = 0.5
_FAREWELL_MS = 300  # how long the last messages may take to leave when the service stops


@dataclass(frozen=True)
class LoopConfig:
    """See `itk_embodied.service.ServiceConfig`, which has the same and more."""

    stream: str
    requests: str
    hwm: int
    heartbeat_s: float
    deadline_s: float
    valid_s: float
    keep_tasks: int
    guard: Guard | None = None


class ServiceLoop:
    """Owns the sockets and the board. Other threads reach it through `call` only.

    Args:
        on_message: called in the I/O thread with each message that is published.
        on_stage: the same with each model's beginning and end.
    """

    def __init__(
        self,
        worker: Worker,
        config: LoopConfig,
        *,
        on_message: Listener | None = None,
        on_stage: Callable[[StageReport], None] | None = None,
    ) -> None:
        self.session = uuid.uuid4().hex
        self.state: tuple[ServiceState, str] = ("loading", "")
        self.stack = ""
        self.tally = Tally()
        self.began_s = time.monotonic()
        self._worker = worker
        self._heartbeat_s = config.heartbeat_s
        self._on_message = on_message
        self._on_stage = on_stage
        self._board = TaskBoard(worker, self._publish, keep=config.keep_tasks)
        self._mailbox: Mailbox[Call] = Mailbox()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._main, name="subgoal-service", daemon=True)
        try:
            self._sockets = ServerSockets(config.stream, config.requests, hwm=config.hwm, guard=config.guard)
        except BaseException:
            self._mailbox.close()
            raise
        self.stream_address = self._sockets.stream_address
        self.requests_address = self._sockets.requests_address
        self._desk = RequestDesk(
            self, self._board, lambda: self._sockets.router, deadline_s=config.deadline_s, valid_s=config.valid_s
        )

    def start(self) -> None:
        if self._thread.ident is not None:
            raise TransportError("the service was started already; make a new SubgoalService.")
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        self._stop.set()
        self._mailbox.put(lambda board: None)
        if self._thread.is_alive():
            self._thread.join(timeout_s + 1.0)
        elif self._thread.ident is None:  # never started: nobody else closes the sockets
            self._close()
        self._worker.stop(timeout_s)

    def call(self, work: Call) -> None:
        """Run ``work`` on the board in the I/O thread, soon."""
        self._mailbox.put(work)

    def _post(self, report: Report) -> None:
        self._mailbox.put(lambda board: self._on_report(report))

    def _on_report(self, report: Report) -> None:
        if isinstance(report, StateReport):
            self.state = (report.state, report.detail)
            self.stack = report.stack or self.stack
            self._beat()
        elif isinstance(report, MessageReport):
            self._board.on_message(report)
        elif isinstance(report, StageReport):
            if report.seconds is not None:
                self.tally.stages[report.stage].add(report.seconds)
            if self._on_stage is not None:
                self._on_stage(report)
        elif isinstance(report, RestartReport):
            self.tally.restarts = report.count
        elif isinstance(report, LostReport):
            self._board.on_lost(report)
        elif isinstance(report, IdleReport):
            self._board.on_idle(report)

    def _main(self) -> None:
        try:
            self._worker.start(self._post)
            self._serve()
        except Exception:
            log.exception("the service's I/O thread broke")
            self.state = ("broken", "the service's I/O thread broke; see the log")
        finally:
            self.state = ("stopping", self.state[1])
            self._board.end_all("the service stopped")
            self._beat()
            self._close(_FAREWELL_MS)

    def _serve(self) -> None:
        poller = self._poller()
        next_beat_s = time.monotonic()
        while not self._stop.is_set():
            now_s = time.monotonic()
            if now_s >= next_beat_s:
                self._beat()
                next_beat_s = now_s + self._heartbeat_s
                if self._sockets.gate is not None and self._sockets.gate.shut_out():
                    log.warning("a client's key was removed: every client has to show its key again")
                    self._sockets.reopen()
                    poller = self._poller()
            self._board.tick(now_s)
            due_s = min(next_beat_s, self._board.next_event_s() or next_beat_s, now_s + _POLL_S)
            ready = dict(poller.poll(max(1, round((due_s - now_s) * 1000))))
            for work in self._mailbox.take_all():
                work(self._board)
            if self._sockets.gate is not None and self._sockets.gate.socket in ready:
                self._sockets.gate.serve_waiting()
                self.tally.strangers = self._sockets.gate.refused
            if self._sockets.router in ready:
                self._desk.serve_waiting()

    def _poller(self) -> zmq.Poller:
        poller = zmq.Poller()
        poller.register(self._sockets.router, zmq.POLLIN)
        poller.register(self._mailbox.fileno(), zmq.POLLIN)
        if self._sockets.gate is not None:
            poller.register(self._sockets.gate.socket, zmq.POLLIN)
        return poller

    def _publish(self, record: TaskRecord, message: TaskMessage, payload: Part) -> None:
        message = with_fields(message, session=self.session)
        parts = encode(message, payload)
        record.sent.append(parts)
        topic, header, body = parts
        self._sockets.pub.send(topic, zmq.SNDMORE)
        self._sockets.pub.send(header, zmq.SNDMORE)
        self._sockets.pub.send(body, copy=False)
        self.tally.note(message)
        if isinstance(message, SubgoalMessage) and message.status == "verified" and record.progress.verified == 1:
            self.tally.first.add(time.monotonic() - record.job.taken_s)
        if self._on_message is not None:
            try:
                self._on_message(message, payload)
            except Exception:  # a listener's mistake must not end the service
                log.exception("a listener of the subgoal service raised")

    def _beat(self) -> None:
        active, pending = self._board.active, self._board.pending
        beat = Heartbeat(
            session=self.session,
            state=self.state[0],
            active=active.job.task_id if active else "",
            active_seq=active.seq if active else 0,
            pending=pending.job.task_id if pending else "",
            uptime_s=time.monotonic() - self.began_s,
        )
        self.tally.active, self.tally.pending = int(active is not None), int(pending is not None)
        self._sockets.pub.send_multipart(encode(beat))

    def _close(self, linger_ms: int = 0) -> None:
        self._desk.close()
        self._mailbox.close()
        self._sockets.close(linger_ms)
