"""`SubgoalClient`: what a robot's program uses. Needs numpy, msgspec, pyzmq and Pillow; no torch, no ROS.

with SubgoalClient() as client:
    task_id = client.submit(frame, "put the red cube in the teal bowl")
    subgoals = client.subgoals(task_id, deadline_s=600)
    for subgoal in subgoals:          # verified ones only, unless asked otherwise
        policy.reach(subgoal.image)
    print(subgoals.status, subgoals.reason)
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from types import TracebackType
from typing import TypeVar

import numpy as np
import zmq

from itk_embodied.bridges.codec import Part, Received, WireVersionError, decode, encode
from itk_embodied.bridges.images import encode_image
from itk_embodied.bridges.received import ReceivedSubgoal, SubgoalStream
from itk_embodied.bridges.sockets import (
    DEAD_AFTER_S,
    DEFAULT_REQUESTS,
    DEFAULT_STREAM,
    check_address,
    connect,
    open_socket,
)
from itk_embodied.bridges.wire import (
    Cancel,
    CancelReply,
    Encoding,
    Heartbeat,
    Message,
    Ping,
    Pong,
    Refused,
    Reply,
    Request,
    Snapshot,
    SnapshotReply,
    Submit,
    SubmitReply,
    TaskHeader,
    stamp_to_ns,
)
from itk_embodied.errors import ItkError, TransportError, WireError
from itk_embodied.types import Frame, Image, Task

__all__ = ["ReceivedSubgoal", "SubgoalClient", "SubgoalStream"]

R = TypeVar("R", bound=Reply)
_HWM = 256


class SubgoalClient:
    """Talks to one `SubgoalService`. Use it from one thread.

    Args:
        stream, requests: the service's two addresses.
        timeout_s: what a request may take before it counts as unanswered.
        dead_after_s: silence after which the service counts as gone (it sends a heartbeat every second).
    """

    def __init__(
        self,
        stream: str = DEFAULT_STREAM,
        requests: str = DEFAULT_REQUESTS,
        *,
        timeout_s: float = 5.0,
        dead_after_s: float = DEAD_AFTER_S,
    ) -> None:
        self.stream_address = check_address(stream)
        self.requests_address = check_address(requests)
        self.timeout_s = timeout_s
        self.dead_after_s = dead_after_s
        self.malformed = 0  # messages that could not be read; what they carried is asked for again
        self._followed: set[str] = set()
        self._context = zmq.Context()
        try:
            self._sub = open_socket(self._context, zmq.SUB, hwm=_HWM)
            connect(self._sub, self.stream_address)
            self._sub.subscribe(b"")
            self._dealer = self._new_dealer()
        except BaseException:
            self.close()
            raise

    def submit(
        self,
        frame: Frame | Image,
        task: str | Task,
        *,
        seed: int = 0,
        deadline_s: float | None = None,
        max_attempts: int | None = None,
        encoding: Encoding = "raw",
    ) -> str:
        """Start a task from a camera frame; returns its id once the service has it.

        A task that is waiting already is replaced by this one; a task that runs is not.

        Args:
            frame: a `Frame`, or RGB ``uint8`` ``(H, W, 3)`` pixels taken just now.
            deadline_s: seconds from now after which the task ends as ``expired``.
            max_attempts: pictures tried per step.
            encoding: how the frame travels; ``jpeg`` is lossy.

        Raises:
            InputError: the frame or the task cannot be used.
            TransportError: no answer, or the service refused (the message says why).
        """
        frame = frame if isinstance(frame, Frame) else Frame(np.asarray(frame))
        task = task if isinstance(task, Task) else Task(task, seed=seed)
        info, payload = encode_image(frame.image, encoding)
        request = Submit(
            request_id=uuid.uuid4().hex,
            task_id=uuid.uuid4().hex,
            task=task.text,
            seed=task.seed,
            stamp_ns=stamp_to_ns(frame.stamp_s),
            frame_id=frame.frame_id,
            image=info,
            deadline_s=deadline_s,
            max_attempts=max_attempts,
        )
        return self._request(request, SubmitReply, payload)[0].task_id

    def subgoals(
        self,
        task_id: str,
        *,
        deadline_s: float,
        verified_only: bool = True,
        on_message: Callable[[Message], None] | None = None,
    ) -> SubgoalStream:
        """Iterate over a task's subgoals, those from before this call included, until its terminal status.

        Args:
            deadline_s: how long all of it may take before `TransportError`.
            verified_only: leave out what the critic did not accept. False delivers every step's outcome.
            on_message: called with each message of the task (plan, attempts, …), for progress.
        """
        self._followed.add(task_id)
        return SubgoalStream(self, task_id, deadline_s=deadline_s, verified_only=verified_only, on_message=on_message)

    def wait_for_task(self, deadline_s: float) -> str:
        """The id of the task that runs or waits, whoever submitted it; waits for one that this client has not followed.

        Raises:
            TransportError: none within ``deadline_s``, or the service is gone.
        """
        began_s = time.monotonic()
        ends_s = began_s + deadline_s
        reply, _ = self._request(Snapshot(request_id=uuid.uuid4().hex, after_seq=2**53), SnapshotReply)
        found = reply.task_id if reply.place in ("active", "pending") else ""
        heard_s = time.monotonic()
        while not found or found in self._followed:
            if time.monotonic() > ends_s:
                raise TransportError(
                    f"no task was started at {self.stream_address} within {deadline_s:g} s; submit one, or wait longer."
                )
            received = self.receive(min(ends_s, heard_s + self.dead_after_s))
            if received is None:
                self.check_alive(heard_s)
                continue
            heard_s = time.monotonic()
            message = received.message
            if isinstance(message, Heartbeat):
                found = message.active
            elif isinstance(message, TaskHeader):
                found = message.task_id
        return found

    def snapshot(self, task_id: str, after_seq: int = 0) -> tuple[SnapshotReply, list[Received]]:
        """A task's messages after ``after_seq``, as the service keeps them."""
        request = Snapshot(request_id=uuid.uuid4().hex, task_id=task_id, after_seq=after_seq)
        reply, more = self._request(request, SnapshotReply)
        if len(more) != 3 * reply.count:
            raise WireError(f"a snapshot of {reply.count} messages has {len(more)} ZeroMQ frames; expected 3 each.")
        return reply, [decode(more[at : at + 3]) for at in range(0, len(more), 3)]

    def cancel(self, task_id: str = "") -> tuple[str, ...]:
        """Stop a task, or all of them for an empty id; returns the ids that were told to stop."""
        return self._request(Cancel(request_id=uuid.uuid4().hex, task_id=task_id), CancelReply)[0].task_ids

    def ping(self) -> Pong:
        """The service's state."""
        return self._request(Ping(request_id=uuid.uuid4().hex), Pong)[0]

    def wait_ready(self, deadline_s: float) -> Pong:
        """Wait until the service is there and its models are loaded.

        Raises:
            TransportError: not within ``deadline_s``.
            ItkError: its models could not be loaded.
        """
        ends_s = time.monotonic() + deadline_s
        last = "nobody answers"
        while True:
            left_s = ends_s - time.monotonic()
            if left_s <= 0:
                raise TransportError(
                    f"the subgoal service at {self.requests_address} is not ready after {deadline_s:g} s ({last}). "
                    "Start it, check the address, or wait longer."
                )
            try:
                request = Ping(request_id=uuid.uuid4().hex)
                pong = self._request(request, Pong, timeout_s=min(left_s, self.timeout_s))[0]
            except TransportError:
                continue
            if pong.state == "ready":
                return pong
            if pong.state == "broken":
                raise ItkError(f"the subgoal service at {self.requests_address} is broken: {pong.detail}")
            last = f"it is {pong.state}"
            time.sleep(min(0.1, max(0.0, ends_s - time.monotonic())))

    def receive(self, until_s: float) -> Received | None:
        """The next message of the stream, before ``until_s`` (`time.monotonic`); None where none came.

        Raises:
            WireVersionError: the service speaks another version.
        """
        while self._sub.poll(max(0, round((until_s - time.monotonic()) * 1000))):
            try:
                return decode(self._sub.recv_multipart())
            except WireVersionError:
                raise
            except WireError:
                self.malformed += 1
        return None

    def check_alive(self, heard_s: float) -> None:
        """Raise `TransportError` if nothing was heard for too long."""
        silence_s = time.monotonic() - heard_s
        if silence_s >= self.dead_after_s:
            raise TransportError(
                f"the subgoal service at {self.stream_address} has been silent for {silence_s:.1f} s (budget "
                f"{self.dead_after_s:g} s, heartbeat every second). Check that it runs and that the address is right, "
                "then submit again."
            )

    def _new_dealer(self) -> zmq.Socket[bytes]:
        dealer: zmq.Socket[bytes] = open_socket(self._context, zmq.DEALER, hwm=_HWM)
        connect(dealer, self.requests_address)
        return dealer

    def _request(
        self, request: Request, kind: type[R], payload: Part = b"", timeout_s: float | None = None
    ) -> tuple[R, list[bytes]]:
        """Send, wait, match the reply by its id. A request that was not answered leaves no trace behind."""
        budget_s = self.timeout_s if timeout_s is None else timeout_s
        ends_s = time.monotonic() + budget_s
        try:
            self._dealer.send_multipart(encode(request, payload), zmq.NOBLOCK)
        except zmq.Again:
            ends_s = time.monotonic()
        while self._dealer.poll(max(0, round((ends_s - time.monotonic()) * 1000))):
            parts = self._dealer.recv_multipart()
            reply = decode(parts[:3]).message
            if not isinstance(reply, Reply) or reply.request_id not in (request.request_id, ""):
                continue  # a late answer to an earlier request
            if isinstance(reply, Refused):
                raise TransportError(f"the subgoal service at {self.requests_address} refused: {reply.error}")
            if isinstance(reply, kind):
                return reply, parts[3:]
        self._dealer.close(linger=0)  # what is queued in it must not arrive after we gave up
        self._dealer = self._new_dealer()
        name = str(request.__struct_config__.tag)
        raise TransportError(
            f"no answer to {name!r} from the subgoal service at {self.requests_address} within {budget_s:g} s. Check "
            "that it runs (`itk-embodied serve`) and that the address is right."
        )

    def close(self) -> None:
        """Close the sockets. May be called twice."""
        self._context.destroy(linger=0)

    def __enter__(self) -> SubgoalClient:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()
