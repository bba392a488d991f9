"""Answers the requests that reach the service: submit, snapshot, cancel, ping, health."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import zmq

from itk_embodied.bridges.board import TaskBoard, TaskRecord
from itk_embodied.bridges.codec import Part, Received, clip, decode, encode, with_fields
from itk_embodied.bridges.events import Job
from itk_embodied.bridges.images import decode_image
from itk_embodied.bridges.plans import plan_from
from itk_embodied.bridges.tally import Tally
from itk_embodied.bridges.wire import (
    Cancel,
    CancelReply,
    Health,
    HealthReply,
    Ping,
    Pong,
    Refused,
    Reply,
    ServiceState,
    Snapshot,
    SnapshotReply,
    Submit,
    SubmitReply,
    stamp_to_s,
)
from itk_embodied.errors import ItkError, WireError
from itk_embodied.types import Frame, Task

log = logging.getLogger(__name__)

_BURST = 32  # requests answered before heartbeats and the worker get their turn again
_MAX_INTAKE = 4  # frames being decoded at once; more are refused, so that a flood costs no memory


class Host(Protocol):
    """What the desk asks of the loop that owns it."""

    session: str
    state: tuple[ServiceState, str]
    stack: str
    tally: Tally
    began_s: float

    def call(self, work: Any) -> None: ...


class RequestDesk:
    """Reads the ROUTER socket. A frame is decoded in a thread of its own: a large PNG must not delay a heartbeat."""

    def __init__(
        self, host: Host, board: TaskBoard, router: Callable[[], Any], *, deadline_s: float, valid_s: float
    ) -> None:
        self._host = host
        self._board = board
        self._router = router
        self._deadline_s = deadline_s
        self._valid_s = valid_s
        self._intake = ThreadPoolExecutor(1, thread_name_prefix="subgoal-intake")
        self._in_intake = 0

    def serve_waiting(self) -> None:
        """Answer what has come, up to a burst."""
        for _ in range(_BURST):
            try:
                identity, *parts = self._router().recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            self._serve(identity, parts)

    def _serve(self, identity: bytes, parts: list[bytes]) -> None:
        request_id = ""
        try:
            received = decode(parts)
            request = received.message
            request_id = getattr(request, "request_id", "")
            if isinstance(request, Submit):
                self._submit(identity, request, received)
            elif isinstance(request, Snapshot):
                self._snapshot(identity, request)
            elif isinstance(request, Cancel):
                stopped = self._board.cancel(request.task_id, time.monotonic())
                self._reply(identity, CancelReply(request_id=request_id, task_ids=stopped))
            elif isinstance(request, Ping):
                self._reply(identity, self._pong(request_id))
            elif isinstance(request, Health):
                self._reply(identity, self._health(request_id))
            else:
                kind = type(request).__name__
                raise WireError(f"{kind} is not a request; allowed: submit, snapshot, cancel, ping, health.")
        except ItkError as error:
            self._refuse(identity, request_id, str(error))

    def _submit(self, identity: bytes, request: Submit, received: Received) -> None:
        if self._host.state[0] in ("broken", "stopping"):
            raise WireError(f"the service is {self._host.state[0]}: {self._host.state[1] or 'it is going away'}")
        if self._in_intake >= _MAX_INTAKE:
            raise WireError(f"{_MAX_INTAKE} frames are being read already; send the task again in a second.")
        seconds = self._deadline_s if request.deadline_s is None else request.deadline_s
        ends_s = time.monotonic() + seconds
        self._in_intake += 1
        self._intake.submit(self._read_frame, identity, request, received.payload, seconds, ends_s)

    def _read_frame(self, identity: bytes, request: Submit, payload: Part, seconds: float, ends_s: float) -> None:
        """In the intake thread: pixels and hash; the board is touched in the I/O thread."""
        job: Job | None = None
        problem = ""
        try:
            image = decode_image(request.image, payload)
            frame = Frame(image, stamp_s=stamp_to_s(request.stamp_ns), frame_id=request.frame_id)
            job = Job(
                task_id=request.task_id,
                frame=frame,
                task=Task(request.task, seed=request.seed, plan=plan_from(request.plan)),
                ends_s=ends_s,
                deadline_s=seconds,
                stamp_ns=request.stamp_ns,
                frame_sha256=frame.sha256,
                max_attempts=request.max_attempts,
                valid_s=request.valid_s or self._valid_s,
            )
        except ItkError as error:
            problem = str(error)
        except Exception as error:
            log.exception("a submitted frame broke the intake")
            problem = f"the frame could not be read: {type(error).__name__}: {error}"
        self._host.call(lambda board: self._take_in(board, identity, request, job, problem))

    def _take_in(self, board: TaskBoard, identity: bytes, request: Submit, job: Job | None, problem: str) -> None:
        self._in_intake -= 1
        if job is None:
            self._refuse(identity, request.request_id, problem)
            return
        self._host.tally.submitted += 1
        record = board.submit(job)
        reply = SubmitReply(request_id=request.request_id, task_id=job.task_id, place=record.place)
        self._reply(identity, reply)

    def _snapshot(self, identity: bytes, request: Snapshot) -> None:
        record = self._board.get(request.task_id)
        sent = first_of(record.sent[request.after_seq :], request.max_bytes) if record else []
        if request.after_seq:  # it had some already, so these are missed ones
            self._host.tally.resent += len(sent)
        reply = SnapshotReply(
            request_id=request.request_id,
            task_id=record.job.task_id if record else request.task_id,
            place=record.place if record else "unknown",
            last_seq=record.seq if record else 0,
            count=len(sent),
            age_s=time.monotonic() - record.job.taken_s if record else 0.0,
        )
        self._reply(identity, reply, [part for parts in sent for part in parts])

    def _pong(self, request_id: str) -> Pong:
        active: TaskRecord | None = self._board.active
        pending: TaskRecord | None = self._board.pending
        return Pong(
            request_id=request_id,
            state=self._host.state[0],
            detail=clip(self._host.state[1], 4000),
            stack=clip(self._host.stack, 200),
            active=active.job.task_id if active else "",
            pending=pending.job.task_id if pending else "",
        )

    def _health(self, request_id: str) -> HealthReply:
        tally = self._host.tally
        return HealthReply(
            request_id=request_id,
            state=self._host.state[0],
            detail=clip(self._host.state[1], 4000),
            stack=clip(self._host.stack, 200),
            uptime_s=time.monotonic() - self._host.began_s,
            tasks=dict(tally.tasks),
            subgoals=dict(tally.subgoals),
            attempts=tally.attempts,
            refused=tally.refused,
            dropped=tally.dropped,
            worker_restarts=tally.restarts,
        )

    def _refuse(self, identity: bytes, request_id: str, problem: str) -> None:
        self._host.tally.refused += 1
        self._reply(identity, Refused(request_id=request_id, error=clip(problem, 4000)))

    def _reply(self, identity: bytes, reply: Reply, more: list[Part] | None = None) -> None:
        parts = encode(with_fields(reply, session=self._host.session))
        try:
            self._router().send_multipart([identity, *parts, *(more or [])], zmq.NOBLOCK, copy=False)
        except zmq.ZMQError as error:  # the client went away or does not read; it will ask again
            self._host.tally.dropped += 1
            log.debug("a reply could not be sent: %s", error)

    def close(self) -> None:
        self._intake.shutdown(wait=False, cancel_futures=True)


def first_of(messages: list[list[Part]], max_bytes: int) -> list[list[Part]]:
    """As many as hold at most ``max_bytes`` of payload, one at least; all for 0."""
    if not max_bytes:
        return messages
    held = 0
    for count, parts in enumerate(messages):
        held += len(parts[2])
        if held > max_bytes:
            return messages[: max(1, count)]
    return messages
