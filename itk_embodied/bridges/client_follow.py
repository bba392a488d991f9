"""Following one task: which message is next, what is missing, what to deliver. No socket, no clock.

A driver (`itk_embodied.bridges.received` with sockets, `itk_embodied.bridges.client_async` with asyncio) asks `next`
what to do, does it, and reports what came of it. So both clients behave the same, and every case can be tested alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import TypeAlias

from itk_embodied.bridges.client_actions import Action, Ask, Deliver, Ended, FollowRules, Listen, Resubmit
from itk_embodied.bridges.client_calls import Submitted
from itk_embodied.bridges.client_link import TRY_S, Link, LinkRules, OnLink
from itk_embodied.bridges.codec import Received
from itk_embodied.bridges.wire import (
    EndMessage,
    Heartbeat,
    Message,
    PlanMessage,
    SnapshotReply,
    SubgoalMessage,
    TaskHeader,
)
from itk_embodied.errors import TransportError

OnMessage: TypeAlias = Callable[[Message], None]

_DRAIN = 256  # messages looked at before latest-only delivery, so that a fast sender cannot hold it up for ever


class Follower:
    """The state of one followed task.

    Order and completeness: messages are numbered; what is missing (a gap, or a heartbeat that is ahead of us) is asked
    for; what was delivered is never delivered again, not even where a restarted service makes the task anew.

    Args:
        submitted: the task, where this client submitted it itself.
        after_seq: the last message that was handled before, by a program that resumes.
        clock_ns: the clock of the frames' source, where this program has it; a goal past its ``valid_until_ns`` by that
            clock is expired, too. Without it a goal's age counts from when the service took its task in, by clocks that
            never jump.
    """

    def __init__(
        self,
        task_id: str,
        rules: FollowRules,
        link: LinkRules,
        *,
        now_s: float,
        submitted: Submitted | None = None,
        after_seq: int = 0,
        clock_ns: Callable[[], int] | None = None,
        on_message: OnMessage | None = None,
        on_link: OnLink | None = None,
    ) -> None:
        self.task_id = task_id
        self.plan: PlanMessage | None = None
        self.end: EndMessage | None = None
        self.skipped = 0
        self.expired = 0
        self.link = Link(link, now_s, on_link)
        self._rules = rules
        self._where = link
        self._ends_s = now_s + rules.deadline_s
        self._clock_ns = clock_ns
        # When the service took the task in: at most this long ago; better known after a snapshot.
        self._taken_s = submitted.sent_s if submitted else now_s
        self._on_message = on_message
        self._session = submitted.session if submitted else ""
        self._last_seq = after_seq
        self._ask = not (submitted and submitted.listening) or after_seq > 0
        self._pardon = not self._ask  # one heartbeat may have been sent before the task was taken in
        self._resubmit = False
        self._restarted = False
        self._ready: deque[Received] = deque()
        self._held: Received | None = None  # latest-only: the newest goal so far
        self._drained = 0
        self._seen: dict[int, str] = {}  # step -> hash of the goal that was there before a restart

    def next(self, now_s: float) -> Action:
        """What to do now.

        Raises:
            TransportError: the deadline has passed, or the service has been lost for too long.
        """
        while self._ready:
            goal = self._digest(self._ready.popleft(), now_s)
            if goal is None:
                continue
            if not self._rules.latest_only:
                return Deliver(goal, self._expires_s(goal.message))
            self.skipped += self._held is not None
            self._held = goal
        if self._held is not None:
            if self.end is None and not self._ask and self._drained < _DRAIN:
                self._drained += 1
                return Listen(now_s)
            return self._release()
        if self.end is not None:
            return Ended()
        if now_s > self._ends_s:
            raise TransportError(
                f"task {self.task_id} at {self._where.stream} did not end within the {self._rules.deadline_s:g} s "
                "given to subgoals(); give more, or cancel the task."
            )
        return self._step(now_s)

    def _step(self, now_s: float) -> Action:
        try_at_s = self.link.try_at_s
        if try_at_s is not None:
            if now_s >= try_at_s:
                return Ask(self._last_seq, TRY_S, afresh=True)
            return Listen(min(self._ends_s, self.link.wake_s))
        if self._resubmit:
            return Resubmit(self._where.timeout_s)
        if self._ask:
            return Ask(self._last_seq, min(self._where.timeout_s, self._where.dead_after_s))
        return Listen(min(self._ends_s, self.link.wake_s))

    def _release(self) -> Deliver:
        goal, self._held, self._drained = self._held, None, 0
        assert goal is not None
        return Deliver(goal, self._expires_s(goal.message))

    def begin(self, now_s: float) -> None:
        """The user has come back for the next subgoal."""
        self.link.listen_again(now_s)

    def quiet(self, now_s: float) -> None:
        """Nothing came before the time that `Listen` said."""
        if self._held is not None:
            self._drained = _DRAIN
        else:
            self.link.quiet(now_s)

    def on_stream(self, received: Received, now_s: float) -> None:
        """Something came over the stream."""
        if self.link.heard(now_s):
            self._ask = True
        message = received.message
        if isinstance(message, TaskHeader) and message.task_id == self.task_id:
            if message.session == self._session and message.seq == self._last_seq + 1:
                self._take(received)
            elif message.session != self._session or message.seq > self._last_seq:
                self._ask = True
        elif isinstance(message, Heartbeat) and message.pending != self.task_id:
            active = message.session == self._session and message.active == self.task_id
            if active or not self._pardon:
                self._ask = self._ask or not (active and message.active_seq <= self._last_seq)
            self._pardon = False

    def on_snapshot(self, reply: SnapshotReply, missed: Sequence[Received], now_s: float) -> None:
        """The answer to `Ask`.

        Raises:
            TransportError: the service does not know the task, and never told us anything of it.
        """
        self.link.heard(now_s)
        self._ask = False
        self._taken_s = min(self._taken_s, now_s - reply.age_s)
        restarted = bool(self._session) and reply.session != self._session
        if reply.place == "unknown":
            self._unknown(reply, restarted)
            return
        if restarted:
            self._start_over(reply.session)
            return
        self._session = reply.session
        for received in missed:
            message = received.message
            if isinstance(message, TaskHeader) and message.seq == self._last_seq + 1:
                self._take(received)
        self._ask = self._last_seq < reply.last_seq  # the answer was a piece, or what came of it was not whole

    def on_resubmitted(self, session: str, now_s: float) -> None:
        """The answer to `Resubmit`."""
        self.link.heard(now_s)
        self._start_over(session)

    def unanswered(self, now_s: float) -> None:
        """`Ask` or `Resubmit` had no answer within its budget."""
        self._ask = True
        self.link.quiet(now_s, unanswered=True)

    def _unknown(self, reply: SnapshotReply, restarted: bool) -> None:
        where = f"the service at {self._where.requests}"
        if not restarted:
            why = "it was restarted, or the task ended long ago" if not self._session else "the task ended long ago"
            raise TransportError(f"{where} does not know task {self.task_id}: {why}. Submit it again.")
        if self._rules.resubmit:
            self._resubmit = True
            return
        self._end_here(f"{where} was restarted and lost the task; submit it again with a new frame", reply.session)

    def _start_over(self, session: str) -> None:
        """A restarted service makes the task anew: read it from the start, deliver what is new in it."""
        self._session = session
        self._last_seq = 0
        self._ready.clear()
        self._resubmit = False
        self._restarted = True
        self._ask = True

    def _take(self, received: Received) -> None:
        assert isinstance(received.message, TaskHeader)
        self._last_seq = received.message.seq
        self._ready.append(received)

    def _digest(self, received: Received, now_s: float) -> Received | None:
        """Note a message; returns it where it is a subgoal for the user."""
        message = received.message
        if self.end is not None:
            return None
        if isinstance(message, PlanMessage):
            self.plan = message
        elif isinstance(message, EndMessage):
            self.end = message
        if self._on_message is not None:
            self._on_message(message)
        return received if isinstance(message, SubgoalMessage) and self._wanted(message, now_s) else None

    def _expires_s(self, message: Message) -> float | None:
        if not isinstance(message, SubgoalMessage) or not message.valid_until_ns:
            return None
        return self._taken_s + (message.valid_until_ns - message.stamp_ns) / 1e9

    def _is_expired(self, message: SubgoalMessage, now_s: float) -> bool:
        expires_s = self._expires_s(message)
        if expires_s is None:
            return False
        return now_s > expires_s or (self._clock_ns is not None and self._clock_ns() > message.valid_until_ns)

    def _wanted(self, message: SubgoalMessage, now_s: float) -> bool:
        if self._restarted and message.step in self._seen:
            if self._seen[message.step] != message.image_sha256:
                self._end_here(
                    f"the restarted service at {self._where.requests} made another goal for step {message.step} than "
                    "the one that was delivered; submit the task again with a new frame",
                    self._session,
                )
            return False
        if message.status != "failed":
            self._seen[message.step] = message.image_sha256
        if self._rules.verified_only and message.status != "verified":
            return False
        if not self._rules.accept_expired and self._is_expired(message, now_s):
            self.expired += 1
            return False
        return True

    def _end_here(self, reason: str, session: str) -> None:
        """The service cannot end this task any more, so its client does."""
        self._ready.clear()
        self.end = EndMessage(task_id=self.task_id, session=session, status="failed", reason=reason)
        if self._on_message is not None:
            self._on_message(self.end)
