"""What a client receives: subgoals in order, none twice, none missing, verified only unless asked otherwise."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from itk_embodied.bridges.client_actions import Ask, Deliver, Ended, Listen, Resubmit
from itk_embodied.bridges.client_follow import Follower
from itk_embodied.bridges.client_link import LinkState
from itk_embodied.bridges.codec import Received
from itk_embodied.bridges.images import decode_image
from itk_embodied.bridges.plans import plan_from
from itk_embodied.bridges.wire import EndMessage, PlanMessage, SubgoalMessage, stamp_to_s
from itk_embodied.errors import TransportError
from itk_embodied.types import Image, Plan, SequenceStatus, SubgoalStatus

if TYPE_CHECKING:
    from itk_embodied.bridges.client import SubgoalClient


@dataclass(frozen=True, eq=False)
class ReceivedSubgoal:
    """One step's goal image as it came over the wire.

    Attributes:
        image: RGB ``uint8`` ``(H, W, 3)``, read-only; None where the step failed. A raw picture is the network's own
            buffer, not a copy.
        step: the step's number in the plan; ``step_count`` is how many steps paint.
        stamp_ns: the camera frame's stamp, of the source's own clock.
        message: the whole header (score, seed, hashes, model, …).
        expires_s: until when it may be acted on, a `time.monotonic` instant; None: for ever.
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
    expires_s: float | None = None

    @property
    def expired(self) -> bool:
        """Whether it is too late to act on it, now."""
        return self.expires_s is not None and time.monotonic() > self.expires_s

    @property
    def stamp_s(self) -> float:
        return stamp_to_s(self.stamp_ns)

    @staticmethod
    def of(received: Received, expires_s: float | None = None) -> ReceivedSubgoal:
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
            expires_s=expires_s,
        )


class StreamFacts:
    """What both streams, sync and asyncio, tell of their task beside its subgoals."""

    def __init__(self, follower: Follower) -> None:
        self._follower = follower

    @property
    def task_id(self) -> str:
        return self._follower.task_id

    @property
    def plan(self) -> PlanMessage | None:
        """The plan; None until it has come."""
        return self._follower.plan

    def plan_after(self, done: int) -> Plan | None:
        """What is left of the plan once its first ``done`` goals are reached; None where nothing is, or none has come.

        For a task from a new frame: ``client.submit(frame, Task(text, plan=stream.plan_after(2)))``.
        """
        plan = plan_from(self.plan.steps) if self.plan is not None else None
        return plan.after(done) if plan is not None else None

    @property
    def end(self) -> EndMessage | None:
        """The task's last message; None while it runs."""
        return self._follower.end

    @property
    def status(self) -> SequenceStatus | None:
        """The task's terminal status; None while it runs."""
        return SequenceStatus(self.end.status) if self.end else None

    @property
    def reason(self) -> str:
        """Why the status is not ``verified``."""
        return self.end.reason if self.end else ""

    @property
    def link(self) -> LinkState:
        """Whether the service is there: ``live``, or ``lost`` while it is looked for."""
        return self._follower.link.state

    @property
    def skipped(self) -> int:
        """Goals that latest-only delivery left out."""
        return self._follower.skipped

    @property
    def expired(self) -> int:
        """Goals that were not delivered because their time of validity had passed."""
        return self._follower.expired


class SubgoalStream(StreamFacts):
    """Iterator over a task's subgoals; `status`, `reason`, `plan` and `end` tell the rest.

    Order and completeness: messages are numbered; one that is missing (a gap, or a heartbeat that is ahead of us) is
    asked for again; one that was delivered is never delivered twice.
    """

    def __init__(self, client: SubgoalClient, follower: Follower) -> None:
        super().__init__(follower)
        self._client = client

    def __iter__(self) -> Iterator[ReceivedSubgoal]:
        return self

    def __next__(self) -> ReceivedSubgoal:
        """Wait for the next subgoal.

        Raises:
            StopIteration: the task has ended; see `status`.
            TransportError: the service is gone for longer than the client's patience, or the deadline has passed.
        """
        follower, client = self._follower, self._client
        follower.begin(time.monotonic())
        while True:
            action = follower.next(time.monotonic())
            if isinstance(action, Deliver):
                return ReceivedSubgoal.of(action.received, action.expires_s)
            if isinstance(action, Ended):
                raise StopIteration
            if isinstance(action, Listen):
                received = client.receive(action.until_s)
                if received is None:
                    follower.quiet(time.monotonic())
                else:
                    follower.on_stream(received, time.monotonic())
            else:
                self._call(action)

    def _call(self, action: Ask | Resubmit) -> None:
        follower, client = self._follower, self._client
        try:
            if isinstance(action, Resubmit):
                session = client.resubmit(self.task_id, budget_s=action.budget_s)
            else:
                if action.afresh:
                    client.reopen()
                reply, missed = client.snapshot(self.task_id, action.after_seq, budget_s=action.budget_s)
        except TransportError:
            follower.unanswered(time.monotonic())
            return
        if isinstance(action, Resubmit):
            follower.on_resubmitted(session, time.monotonic())
        else:
            follower.on_snapshot(reply, missed, time.monotonic())
