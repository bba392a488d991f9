"""`AsyncSubgoalClient`: `SubgoalClient` for asyncio; the same arguments, rules and errors.

async with AsyncSubgoalClient() as client:
    task_id = await client.submit(frame, "put the red cube in the teal bowl")
    async for subgoal in client.subgoals(task_id, deadline_s=600):
        await policy.reach(subgoal.image)
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeVar
from weakref import WeakSet

import zmq
import zmq.asyncio

from itk_embodied.bridges.client_actions import FollowRules
from itk_embodied.bridges.client_calls import SNAPSHOT_BYTES, SubmittedTasks, Waiter, judge_pong, not_ready, submission
from itk_embodied.bridges.client_exchange import Answer, Exchange, new_id
from itk_embodied.bridges.client_follow import Follower, OnMessage
from itk_embodied.bridges.client_link import LinkRules, OnLink
from itk_embodied.bridges.codec import Part, Received, WireVersionError, decode
from itk_embodied.bridges.keys import ClientKeys
from itk_embodied.bridges.received_async import AsyncSubgoalStream, Inbox
from itk_embodied.bridges.sockets import (
    DEAD_AFTER_S,
    DEFAULT_REQUESTS,
    DEFAULT_STREAM,
    check_address,
    connect,
    open_client_socket,
)
from itk_embodied.bridges.wire import (
    Cancel,
    CancelReply,
    Encoding,
    Health,
    HealthReply,
    Ping,
    Pong,
    Reply,
    Request,
    Snapshot,
    SnapshotReply,
    SubmitReply,
)
from itk_embodied.errors import TransportError, WireError
from itk_embodied.types import Frame, Image, Task

R = TypeVar("R", bound=Reply)


class AsyncSubgoalClient:
    """Talks to one `SubgoalService` from one event loop, for all its coroutines; arguments as `SubgoalClient`.

    Every call may be cancelled anywhere: nothing is left behind. Make and close it inside a running event loop.
    """

    def __init__(
        self,
        stream: str = DEFAULT_STREAM,
        requests: str = DEFAULT_REQUESTS,
        *,
        timeout_s: float = 5.0,
        dead_after_s: float = DEAD_AFTER_S,
        patience_s: float = 30.0,
        keys: ClientKeys | None = None,
    ) -> None:
        self.stream_address = check_address(stream, secured=keys is not None)
        self.requests_address = check_address(requests, secured=keys is not None)
        where = (self.stream_address, self.requests_address)
        self.link_rules = LinkRules(*where, timeout_s, dead_after_s, patience_s, keys)
        self.malformed = 0  # messages that could not be read; what they carried is asked for again
        self._followed: set[str] = set()
        self._submitted = SubmittedTasks()
        self._inboxes: WeakSet[Inbox] = WeakSet()
        self._idle: list[Any] = []  # request sockets that wait for nothing
        self._context = zmq.asyncio.Context()
        self._opened_s = 0.0
        self._reader: asyncio.Task[None] | None = None
        try:
            self._open()
        except BaseException:
            self._context.destroy(linger=0)
            raise

    async def submit(
        self,
        frame: Frame | Image,
        task: str | Task,
        *,
        seed: int = 0,
        deadline_s: float | None = None,
        max_attempts: int | None = None,
        valid_s: float | None = None,
        encoding: Encoding = "raw",
        task_id: str | None = None,
    ) -> str:
        """See `SubgoalClient.submit`."""
        submitted = submission(
            frame,
            task,
            seed=seed,
            deadline_s=deadline_s,
            max_attempts=max_attempts,
            valid_s=valid_s,
            encoding=encoding,
            task_id=task_id,
            now_s=time.monotonic(),
        )
        reply = (await self._request(submitted.request, SubmitReply, payload=submitted.payload)).reply
        self._submitted.add(submitted, reply.session, listening=False)
        return reply.task_id

    def subgoals(
        self,
        task_id: str,
        *,
        deadline_s: float,
        verified_only: bool = True,
        latest_only: bool = False,
        accept_expired: bool = False,
        resubmit: bool = False,
        after_seq: int = 0,
        clock_ns: Callable[[], int] | None = None,
        on_message: OnMessage | None = None,
        on_link: OnLink | None = None,
    ) -> AsyncSubgoalStream:
        """See `SubgoalClient.subgoals`; iterate with ``async for``."""
        if resubmit:
            self._submitted.get(task_id)
        self._followed.add(task_id)
        follower = Follower(
            task_id,
            FollowRules(deadline_s, verified_only, latest_only, accept_expired, resubmit),
            self.link_rules,
            now_s=time.monotonic(),
            submitted=self._submitted.find(task_id),
            after_seq=after_seq,
            clock_ns=clock_ns,
            on_message=on_message,
            on_link=on_link,
        )
        return AsyncSubgoalStream(self, follower, self.inbox())

    async def wait_for_task(self, deadline_s: float) -> str:
        """See `SubgoalClient.wait_for_task`."""
        inbox = self.inbox()
        waiter = Waiter(self.link_rules, self._followed, deadline_s=deadline_s, now_s=time.monotonic())
        waiter.on_snapshot((await self._request(waiter.request(), SnapshotReply)).reply, time.monotonic())
        while not waiter.found:
            received = await inbox.get(waiter.until_s(time.monotonic()))
            now_s = time.monotonic()
            if received is not None:
                waiter.on_stream(received, now_s)
                continue
            waiter.link.quiet(now_s)
            if waiter.link.try_at_s is not None and now_s >= waiter.link.try_at_s:
                self.reopen()
                waiter.link.quiet(now_s, unanswered=True)
        return waiter.found

    async def snapshot(
        self, task_id: str, after_seq: int = 0, *, budget_s: float | None = None
    ) -> tuple[SnapshotReply, list[Received]]:
        """See `SubgoalClient.snapshot`."""
        request = Snapshot(request_id=new_id(), task_id=task_id, after_seq=after_seq, max_bytes=SNAPSHOT_BYTES)
        answer = await self._request(request, SnapshotReply, budget_s)
        return answer.reply, answer.messages

    async def resubmit(self, task_id: str, *, budget_s: float | None = None) -> str:
        """Send a task of this client again, unchanged; returns the session of the service that took it in."""
        submitted = self._submitted.get(task_id)
        request = submitted.again(time.monotonic())
        reply = (await self._request(request, SubmitReply, budget_s, submitted.payload)).reply
        self._submitted.add(submitted, reply.session, listening=False)
        return reply.session

    async def cancel(self, task_id: str = "") -> tuple[str, ...]:
        """Stop a task, or all of them for an empty id; returns the ids that were told to stop."""
        return (await self._request(Cancel(request_id=new_id(), task_id=task_id), CancelReply)).reply.task_ids

    async def ping(self) -> Pong:
        """The service's state."""
        return (await self._request(Ping(request_id=new_id()), Pong)).reply

    async def health(self) -> HealthReply:
        """See `SubgoalClient.health`."""
        return (await self._request(Health(request_id=new_id()), HealthReply)).reply

    async def wait_ready(self, deadline_s: float) -> Pong:
        """See `SubgoalClient.wait_ready`."""
        ends_s = time.monotonic() + deadline_s
        last = "nobody answers"
        while (left_s := ends_s - time.monotonic()) > 0:
            try:
                budget_s = min(left_s, self.link_rules.timeout_s)
                pong = (await self._request(Ping(request_id=new_id()), Pong, budget_s)).reply
            except TransportError:
                continue
            last = judge_pong(pong, self.requests_address)
            if not last:
                return pong
            await asyncio.sleep(min(0.1, max(0.0, ends_s - time.monotonic())))
        raise not_ready(self.requests_address, deadline_s, last)

    def inbox(self) -> Inbox:
        """A bounded queue that gets every message of the stream from now on, until nobody holds it any more."""
        inbox = Inbox()
        self._inboxes.add(inbox)
        return inbox

    def reopen(self) -> None:
        """Connect anew, at most once a second whoever asks: all streams share the socket."""
        if time.monotonic() - self._opened_s >= 1.0:
            self._shut()
            self._open()

    def _open(self) -> None:
        self._opened_s = time.monotonic()
        self._sub = open_client_socket(self._context, zmq.SUB)
        connect(self._sub, self.stream_address, self.link_rules.keys)
        self._sub.subscribe(b"")
        self._reader = asyncio.get_running_loop().create_task(self._read_stream(self._sub))

    def _shut(self) -> None:
        if self._reader is not None:
            self._reader.cancel()
        for socket in (self._sub, *self._idle):
            socket.close(linger=0)
        self._idle.clear()

    async def _read_stream(self, sub: Any) -> None:
        with contextlib.suppress(asyncio.CancelledError, zmq.ZMQError):
            while True:
                parts = await sub.recv_multipart(copy=False)
                try:
                    item: Received | WireVersionError = decode([frame.buffer for frame in parts])
                except WireVersionError as error:
                    item = error  # whoever listens is to hear it
                except WireError:
                    self.malformed += 1
                    continue
                self._hand_out(item)

    def _hand_out(self, item: Received | WireVersionError) -> None:
        for inbox in list(self._inboxes):
            inbox.put(item)

    async def _request(
        self, request: Request, kind: type[R], budget_s: float | None = None, payload: Part = b""
    ) -> Answer[R]:
        """Every request has a socket to itself: one that was cut off is closed with all that is queued in it."""
        budget_s = self.link_rules.timeout_s if budget_s is None else budget_s
        now_s = time.monotonic()
        exchange = Exchange(request, kind, self.requests_address, budget_s=budget_s, now_s=now_s, payload=payload)
        dealer = self._idle.pop() if self._idle else self._new_dealer()
        answer: Answer[R] | None = None
        try:
            while answer is None:
                if exchange.due(time.monotonic()):
                    with contextlib.suppress(zmq.Again):  # full: the exchange sends again or gives up
                        await dealer.send_multipart(exchange.parts, zmq.NOBLOCK)
                if await dealer.poll(max(0, round((exchange.wake_s - time.monotonic()) * 1000))):
                    parts = await dealer.recv_multipart(zmq.NOBLOCK, copy=False)
                    answer = exchange.take([frame.buffer for frame in parts])
            return answer
        finally:
            self.malformed += exchange.malformed
            if answer is None or dealer.closed:
                dealer.close(linger=0)
            else:
                self._idle.append(dealer)

    def _new_dealer(self) -> Any:
        dealer = open_client_socket(self._context, zmq.DEALER)
        connect(dealer, self.requests_address, self.link_rules.keys)
        return dealer

    def close(self) -> None:
        """Close the sockets. May be called twice."""
        if not self._context.closed:
            self._shut()
            self._context.destroy(linger=0)

    async def __aenter__(self) -> AsyncSubgoalClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()
        if self._reader is not None:
            await asyncio.gather(self._reader, return_exceptions=True)
