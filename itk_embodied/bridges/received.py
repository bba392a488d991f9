"""What a client receives: subgoals in order, none twice, none missing, verified only unless asked otherwise."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from itk_embodied.bridges.codec import Received
from itk_embodied.bridges.images import decode_image
from itk_embodied.bridges.wire import (
    EndMessage,
    Heartbeat,
    Message,
    PlanMessage,
    SubgoalMessage,
    TaskHeader,
    stamp_to_s,
)
from itk_embodied.errors import TransportError
from itk_embodied.types import Image, SequenceStatus, SubgoalStatus

if TYPE_CHECKING:
    from itk_embodied.bridges.client import SubgoalClient


@dataclass(frozen=True, eq=False)
class ReceivedSubgoal:
    """One step's goal image as it came over the wire.

    Attributes:
        image: RGB ``uint8`` ``(H, W, 3)``, read-only; None where the step failed.
        step: the step's number in the plan; ``step_count`` is how many steps paint.
        stamp_ns: the camera frame's stamp, of the source's own clock.
        message: the whole header (score, seed, hashes, model, …).
    """

    image: Image | None
    status: SubgoalStatus
    instruction: str
    prompt: str
    step: int
    step_count: int
    task_id: str
    stamp_ns: int
    message: SubgoalMessage

    @property
    def stamp_s(self) -> float:
        return stamp_to_s(self.stamp_ns)

    @staticmethod
    def of(received: Received) -> ReceivedSubgoal:
        message = received.message
        assert isinstance(message, SubgoalMessage)
        return ReceivedSubgoal(
            image=decode_image(message.image, received.payload) if message.image else None,
            status=SubgoalStatus(message.status),
            instruction=message.instruction,
            prompt=message.prompt,
            step=message.step,
            step_count=message.step_count,
            task_id=message.task_id,
            stamp_ns=message.stamp_ns,
            message=message,
        )


class SubgoalStream:
    """Iterator over a task's subgoals; `status`, `reason`, `plan` and `end` tell the rest.

    Order and completeness: messages are numbered; one that is missing (a gap, or a heartbeat that is ahead of us) is
    asked for again; one that was delivered is never delivered twice.
    """

    def __init__(
        self,
        client: SubgoalClient,
        task_id: str,
        *,
        deadline_s: float,
        verified_only: bool,
        on_message: Callable[[Message], None] | None,
    ) -> None:
        self.task_id = task_id
        self.plan: PlanMessage | None = None
        self.end: EndMessage | None = None
        self._client = client
        self._deadline_s = deadline_s
        self._ends_s = time.monotonic() + deadline_s
        self._verified_only = verified_only
        self._on_message = on_message
        self._last_seq = 0
        self._ready: deque[Received] = deque()
        self._asked = False

    @property
    def status(self) -> SequenceStatus | None:
        """The task's terminal status; None while it runs."""
        return SequenceStatus(self.end.status) if self.end else None

    @property
    def reason(self) -> str:
        """Why the status is not ``verified``."""
        return self.end.reason if self.end else ""

    def __iter__(self) -> Iterator[ReceivedSubgoal]:
        return self

    def __next__(self) -> ReceivedSubgoal:
        """Wait for the next subgoal.

        Raises:
            StopIteration: the task has ended; see `status`.
            TransportError: the service is gone, restarted, or the deadline has passed.
        """
        while self.end is None:
            received = self._next()
            message = received.message
            if isinstance(message, PlanMessage):
                self.plan = message
            elif isinstance(message, EndMessage):
                self.end = message
            if self._on_message is not None:
                self._on_message(message)
            if isinstance(message, SubgoalMessage) and (message.status == "verified" or not self._verified_only):
                return ReceivedSubgoal.of(received)
        raise StopIteration

    def _next(self) -> Received:
        """The task's next message in order."""
        heard_s = time.monotonic()  # silence counts from when we listen, not while the robot was moving
        while not self._ready:
            if not self._asked:
                self._catch_up()
                self._asked = True
                continue
            now_s = time.monotonic()
            if now_s > self._ends_s:
                raise TransportError(
                    f"task {self.task_id} at {self._client.stream_address} did not end within the {self._deadline_s:g} "
                    "s given to subgoals(); give more, or cancel the task."
                )
            received = self._client.receive(min(self._ends_s, heard_s + self._client.dead_after_s))
            if received is None:
                self._client.check_alive(heard_s)
                continue
            heard_s = time.monotonic()
            self._sort_in(received)
        return self._ready.popleft()

    def _sort_in(self, received: Received) -> None:
        message = received.message
        if isinstance(message, TaskHeader) and message.task_id == self.task_id:
            if message.seq == self._last_seq + 1:
                self._take(received)
            elif message.seq > self._last_seq:
                self._catch_up()
        elif isinstance(message, Heartbeat):
            up_to_date = message.active == self.task_id and message.active_seq == self._last_seq
            if not up_to_date and message.pending != self.task_id:
                self._catch_up()

    def _catch_up(self) -> None:
        reply, missed = self._client.snapshot(self.task_id, self._last_seq)
        if reply.place == "unknown":
            raise TransportError(
                f"the service at {self._client.requests_address} does not know task {self.task_id}: it was restarted, "
                "or the task ended long ago. Submit it again."
            )
        for received in missed:
            message = received.message
            if isinstance(message, TaskHeader) and message.seq == self._last_seq + 1:
                self._take(received)

    def _take(self, received: Received) -> None:
        assert isinstance(received.message, TaskHeader)
        self._last_seq = received.message.seq
        self._ready.append(received)
