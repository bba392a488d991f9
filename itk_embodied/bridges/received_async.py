"""The asyncio side of what a client receives: a bounded inbox for each stream, and the stream itself."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING

from itk_embodied.bridges.client_actions import Ask, Deliver, Ended, Listen, Resubmit
from itk_embodied.bridges.client_follow import Follower
from itk_embodied.bridges.codec import Received, WireVersionError
from itk_embodied.bridges.received import ReceivedSubgoal, StreamFacts
from itk_embodied.errors import TransportError

if TYPE_CHECKING:
    from itk_embodied.bridges.client_async import AsyncSubgoalClient

_INBOX = 64  # messages; the oldest give way, and the follower asks for what it misses


class Inbox:
    """The stream's newest messages for one reader. A reader that does not read costs a bounded amount of memory."""

    def __init__(self) -> None:
        self._items: deque[Received | WireVersionError] = deque(maxlen=_INBOX)
        self._some = asyncio.Event()

    def put(self, item: Received | WireVersionError) -> None:
        self._items.append(item)
        self._some.set()

    async def get(self, until_s: float) -> Received | None:
        """The oldest message, waiting until ``until_s`` (`time.monotonic`) for one; None where none came.

        Raises:
            WireVersionError: the service speaks another version.
        """
        if not self._items:
            self._some.clear()
            try:
                await asyncio.wait_for(self._some.wait(), max(0.0, until_s - time.monotonic()))
            except TimeoutError:
                return None
        item = self._items.popleft()
        if isinstance(item, WireVersionError):
            raise item
        return item


class AsyncSubgoalStream(StreamFacts):
    """Asynchronous iterator over a task's subgoals; see `SubgoalStream`."""

    def __init__(self, client: AsyncSubgoalClient, follower: Follower, inbox: Inbox) -> None:
        super().__init__(follower)
        self._client = client
        self._inbox = inbox
        self._decoding: Deliver | None = None  # not handed over yet: a cancelled caller must not lose it

    def __aiter__(self) -> AsyncSubgoalStream:
        return self

    async def __anext__(self) -> ReceivedSubgoal:
        """Wait for the next subgoal.

        Raises:
            StopAsyncIteration: the task has ended; see `status`.
            TransportError: the service is gone for longer than the client's patience, or the deadline has passed.
        """
        follower = self._follower
        follower.begin(time.monotonic())
        while True:
            if self._decoding is not None:
                return await self._decoded(self._decoding)
            action = follower.next(time.monotonic())
            if isinstance(action, Deliver):
                self._decoding = action
                continue
            if isinstance(action, Ended):
                raise StopAsyncIteration
            if isinstance(action, Listen):
                received = await self._inbox.get(action.until_s)
                if received is None:
                    follower.quiet(time.monotonic())
                else:
                    follower.on_stream(received, time.monotonic())
            else:
                await self._call(action)

    async def _call(self, action: Ask | Resubmit) -> None:
        follower, client = self._follower, self._client
        try:
            if isinstance(action, Resubmit):
                session = await client.resubmit(self.task_id, budget_s=action.budget_s)
            else:
                if action.afresh:
                    client.reopen()
                reply, missed = await client.snapshot(self.task_id, action.after_seq, budget_s=action.budget_s)
        except TransportError:
            follower.unanswered(time.monotonic())
            return
        if isinstance(action, Resubmit):
            follower.on_resubmitted(session, time.monotonic())
        else:
            follower.on_snapshot(reply, missed, time.monotonic())

    async def _decoded(self, action: Deliver) -> ReceivedSubgoal:
        """Decoding a PNG takes milliseconds, which other coroutines shall not wait for; a raw picture takes none."""
        image = getattr(action.received.message, "image", None)
        if image is None or image.encoding == "raw":
            goal = ReceivedSubgoal.of(action.received, action.expires_s)
        else:
            goal = await asyncio.to_thread(ReceivedSubgoal.of, action.received, action.expires_s)
        self._decoding = None
        return goal
