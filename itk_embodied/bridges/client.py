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
from collections.abc import Callable
from types import TracebackType

from itk_embodied.bridges.client_actions import FollowRules
from itk_embodied.bridges.client_calls import SNAPSHOT_BYTES, SubmittedTasks, Waiter, judge_pong, not_ready, submission
from itk_embodied.bridges.client_exchange import new_id
from itk_embodied.bridges.client_follow import Follower, OnMessage
from itk_embodied.bridges.client_link import LinkRules, OnLink
from itk_embodied.bridges.client_sockets import ClientSockets
from itk_embodied.bridges.codec import Received
from itk_embodied.bridges.keys import ClientKeys
from itk_embodied.bridges.received import ReceivedSubgoal, SubgoalStream
from itk_embodied.bridges.sockets import (
    DEAD_AFTER_S,
    DEFAULT_REQUESTS,
    DEFAULT_STREAM,
    check_address,
)
from itk_embodied.bridges.wire import (
    Cancel,
    CancelReply,
    Encoding,
    Health,
    HealthReply,
    Ping,
    Pong,
    Snapshot,
    SnapshotReply,
    SubmitReply,
)
from itk_embodied.errors import TransportError
from itk_embodied.types import Frame, Image, Task

__all__ = ["ReceivedSubgoal", "SubgoalClient", "SubgoalStream"]


class SubgoalClient(ClientSockets):
    """Talks to one `SubgoalService`. Use it from one thread; `AsyncSubgoalClient` is its asyncio twin.

    Args:
        stream, requests: the service's two addresses.
        timeout_s: what a request may take before it counts as unanswered; it is sent again meanwhile.
        dead_after_s: silence after which the service counts as lost (it sends a heartbeat every second).
        patience_s: how long a lost service is looked for, with growing pauses, before `TransportError`; 0: not at all.
        keys: one's own CURVE pair and the service's public key, for a service that asks for them.
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
        stream = check_address(stream, secured=keys is not None)
        requests = check_address(requests, secured=keys is not None)
        super().__init__(LinkRules(stream, requests, timeout_s, dead_after_s, patience_s, keys))
        self._followed: set[str] = set()
        self._submitted = SubmittedTasks()

    def submit(
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
        """Start a task from a camera frame; returns its id once the service has it.

        A task that is waiting already is replaced by this one; a task that runs is not.

        Args:
            frame: a `Frame`, or RGB ``uint8`` ``(H, W, 3)`` pixels taken just now.
            deadline_s: seconds from now after which the task ends as ``expired``.
            max_attempts: pictures tried per step.
            valid_s: seconds after the frame's stamp until which its goals may be acted on; None: as the service says.
            encoding: how the frame travels; ``jpeg`` is lossy.
            task_id: an id of your own (8 to 64 letters, digits, ``_``, ``-``); submitting it twice runs it once.

        Raises:
            InputError: the frame or the task cannot be used.
            TransportError: no answer, or the service refused (the message says why).
        """
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
        self.skip_waiting()
        reply = self._request(submitted.request, SubmitReply, payload=submitted.payload).reply
        self._submitted.add(submitted, reply.session, listening=self.heard)
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
    ) -> SubgoalStream:
        """Iterate over a task's subgoals, those from before this call included, until its terminal status.

        Args:
            deadline_s: how long all of it may take before `TransportError`.
            verified_only: leave out what the critic did not accept. False delivers every step's outcome.
            latest_only: where several goals wait, deliver the newest and count the others in ``skipped``.
            accept_expired: deliver goals whose time of validity has passed, too; else they are counted in ``expired``.
            resubmit: where the service is restarted, send the task again (same frame, same seed); goals that were
                delivered already are not delivered again. Only for tasks that this client submitted. Without it such
                a task ends as ``failed``, and its reason says so.
            after_seq: resume behind this message: the ``message.seq`` of the last goal that was carried out.
            clock_ns: the clock that stamped the frame, where this program has it, e.g. `time.time_ns`. Without it a
                goal's age counts from when the service took its task in.
            on_message: called with each message of the task (plan, attempts, …), for progress.
            on_link: called with ``"lost"`` or ``"live"`` and a sentence when the service falls silent or comes back.
        """
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
        return SubgoalStream(self, follower)

    def wait_for_task(self, deadline_s: float) -> str:
        """The id of the task that runs or waits, whoever submitted it; waits for one that this client has not followed.

        Raises:
            TransportError: none within ``deadline_s``, or the service is gone.
        """
        waiter = Waiter(self.link_rules, self._followed, deadline_s=deadline_s, now_s=time.monotonic())
        waiter.on_snapshot(self._request(waiter.request(), SnapshotReply).reply, time.monotonic())
        while not waiter.found:
            now_s = time.monotonic()
            received = self.receive(waiter.until_s(now_s))
            now_s = time.monotonic()
            if received is not None:
                waiter.on_stream(received, now_s)
                continue
            waiter.link.quiet(now_s)
            if waiter.link.try_at_s is not None and now_s >= waiter.link.try_at_s:
                self.reopen()
                waiter.link.quiet(now_s, unanswered=True)
        return waiter.found

    def snapshot(
        self, task_id: str, after_seq: int = 0, *, budget_s: float | None = None
    ) -> tuple[SnapshotReply, list[Received]]:
        """A task's messages after ``after_seq``, as the service keeps them; the first few where they are large."""
        request = Snapshot(request_id=new_id(), task_id=task_id, after_seq=after_seq, max_bytes=SNAPSHOT_BYTES)
        answer = self._request(request, SnapshotReply, budget_s)
        return answer.reply, answer.messages

    def resubmit(self, task_id: str, *, budget_s: float | None = None) -> str:
        """Send a task of this client again, unchanged; returns the session of the service that took it in."""
        submitted = self._submitted.get(task_id)
        request = submitted.again(time.monotonic())
        reply = self._request(request, SubmitReply, budget_s, submitted.payload).reply
        self._submitted.add(submitted, reply.session, listening=False)
        return reply.session

    def cancel(self, task_id: str = "") -> tuple[str, ...]:
        """Stop a task, or all of them for an empty id; returns the ids that were told to stop."""
        return self._request(Cancel(request_id=new_id(), task_id=task_id), CancelReply).reply.task_ids

    def ping(self) -> Pong:
        """The service's state."""
        return self._request(Ping(request_id=new_id()), Pong).reply

    def health(self) -> HealthReply:
        """How the service has been since it started: tasks and subgoals by status, refusals, worker restarts."""
        return self._request(Health(request_id=new_id()), HealthReply).reply

    def wait_ready(self, deadline_s: float) -> Pong:
        """Wait until the service is there and its models are loaded.

        Raises:
            TransportError: not within ``deadline_s``.
            ItkError: its models could not be loaded.
        """
        ends_s = time.monotonic() + deadline_s
        last = "nobody answers"
        while (left_s := ends_s - time.monotonic()) > 0:
            try:
                pong = self._request(Ping(request_id=new_id()), Pong, min(left_s, self.timeout_s)).reply
            except TransportError:
                continue
            last = judge_pong(pong, self.requests_address)
            if not last:
                return pong
            time.sleep(min(0.1, max(0.0, ends_s - time.monotonic())))
        raise not_ready(self.requests_address, deadline_s, last)

    def __enter__(self) -> SubgoalClient:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()
