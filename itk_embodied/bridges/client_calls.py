"""What a client asks of a service, as wire messages; the same for the sync and the asyncio client."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace

import numpy as np

from itk_embodied.bridges.client_exchange import new_id
from itk_embodied.bridges.client_link import Link, LinkRules
from itk_embodied.bridges.codec import Part, Received, with_fields
from itk_embodied.bridges.images import encode_image
from itk_embodied.bridges.plans import step_infos
from itk_embodied.bridges.wire import (
    Encoding,
    Heartbeat,
    Pong,
    Snapshot,
    SnapshotReply,
    Submit,
    TaskHeader,
    stamp_to_ns,
)
from itk_embodied.errors import InputError, ItkError, TransportError
from itk_embodied.types import Frame, Image, Task

SNAPSHOT_BYTES = 8 << 20
"""A snapshot is asked for in pieces: a long one would take a slow link, and the service, too long."""
_KEPT = 4  # submitted tasks whose frame is kept for sending them again


@dataclass(frozen=True, eq=False)
class Submitted:
    """A task on its way in, and the session of the service that took it.

    Attributes:
        sent_s: when it was sent, a `time.monotonic` instant; the service took it in a little later.
        listening: whether the stream was being heard by then, so that not even its first message can be missed unseen.
    """

    request: Submit
    payload: Part
    sent_s: float
    session: str = ""
    listening: bool = False

    def again(self, now_s: float) -> Submit:
        """The same task with what is left of its deadline."""
        deadline_s = self.request.deadline_s
        left_s = None if deadline_s is None else max(1e-3, self.sent_s + deadline_s - now_s)
        return with_fields(self.request, request_id=new_id(), deadline_s=left_s)


def submission(
    frame: Frame | Image,
    task: str | Task,
    *,
    seed: int,
    deadline_s: float | None,
    max_attempts: int | None,
    valid_s: float | None,
    encoding: Encoding,
    task_id: str | None,
    now_s: float,
) -> Submitted:
    """The request of `SubgoalClient.submit`."""
    frame = frame if isinstance(frame, Frame) else Frame(np.asarray(frame))
    task = task if isinstance(task, Task) else Task(task, seed=seed)
    info, payload = encode_image(frame.image, encoding)
    request = Submit(
        request_id=new_id(),
        task_id=task_id or new_id(),
        task=task.text,
        seed=task.seed,
        plan=step_infos(task.plan),
        stamp_ns=stamp_to_ns(frame.stamp_s),
        frame_id=frame.frame_id,
        image=info,
        deadline_s=deadline_s,
        max_attempts=max_attempts,
        valid_s=valid_s,
    )
    return Submitted(request, payload, now_s)


class SubmittedTasks:
    """The newest tasks that this client submitted."""

    def __init__(self) -> None:
        self._tasks: OrderedDict[str, Submitted] = OrderedDict()

    def add(self, submitted: Submitted, session: str, *, listening: bool) -> None:
        self._tasks[submitted.request.task_id] = replace(submitted, session=session, listening=listening)
        while len(self._tasks) > _KEPT:
            self._tasks.popitem(last=False)

    def find(self, task_id: str) -> Submitted | None:
        """None where another client submitted it."""
        return self._tasks.get(task_id)

    def get(self, task_id: str) -> Submitted:
        """The task, to send it again.

        Raises:
            InputError: this client did not submit it, or too many others since.
        """
        submitted = self._tasks.get(task_id)
        if submitted is None:
            raise InputError(
                f"task {task_id} cannot be submitted again: its frame is not here. Only the last {_KEPT} tasks that "
                "this very client submitted can be; leave resubmit=True out for others."
            )
        return submitted


class Waiter:
    """Waits for a task that somebody starts. Like `Follower`, without socket or clock."""

    def __init__(self, rules: LinkRules, followed: set[str], *, deadline_s: float, now_s: float) -> None:
        self.link = Link(rules, now_s)
        self.found = ""
        self._followed = followed
        self._deadline_s = deadline_s
        self._ends_s = now_s + deadline_s
        self._where = rules.stream

    def request(self) -> Snapshot:
        """Which task runs or waits now? Asked first, before listening."""
        return Snapshot(request_id=new_id(), after_seq=2**53)

    def on_snapshot(self, reply: SnapshotReply, now_s: float) -> None:
        self.link.heard(now_s)
        if reply.place in ("active", "pending"):
            self._find(reply.task_id)

    def on_stream(self, received: Received, now_s: float) -> None:
        self.link.heard(now_s)
        message = received.message
        if isinstance(message, Heartbeat):
            self._find(message.active)
        elif isinstance(message, TaskHeader):
            self._find(message.task_id)

    def until_s(self, now_s: float) -> float:
        """Until when to listen.

        Raises:
            TransportError: the time is up.
        """
        if now_s > self._ends_s:
            raise TransportError(
                f"no task was started at {self._where} within {self._deadline_s:g} s; submit one, or wait longer."
            )
        return min(self._ends_s, self.link.wake_s)

    def _find(self, task_id: str) -> None:
        if task_id and task_id not in self._followed:
            self.found = task_id


def judge_pong(pong: Pong, where: str) -> str:
    """Empty where the service is ready, else why not yet.

    Raises:
        ItkError: it will never be.
    """
    if pong.state == "broken":
        raise ItkError(f"the subgoal service at {where} is broken: {pong.detail}")
    return "" if pong.state == "ready" else f"it is {pong.state}"


def not_ready(where: str, deadline_s: float, last: str) -> TransportError:
    return TransportError(
        f"the subgoal service at {where} is not ready after {deadline_s:g} s ({last}). Start it, check the address, or "
        "wait longer."
    )
