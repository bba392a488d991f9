"""One request until its answer: when to send, when to send again, which answer is ours. No socket, no clock."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Generic, TypeVar

from itk_embodied.bridges.codec import Part, Parts, Received, WireVersionError, decode, encode
from itk_embodied.bridges.wire import Cancel, Refused, Reply, Request, SnapshotReply
from itk_embodied.errors import TransportError, WireError

R = TypeVar("R", bound=Reply)

_FIRST_RESEND_S = 0.5
_ANONYMOUS_REFUSALS = 3  # so many times "I could not read that" mean that it is not the network's doing


def new_id() -> str:
    return uuid.uuid4().hex


@dataclass(frozen=True)
class Answer(Generic[R]):
    """A reply and the messages that came with it (a snapshot's)."""

    reply: R
    messages: list[Received]


class Exchange(Generic[R]):
    """The state of one request.

    Requests may be sent twice without harm (a task has its id from the client), so a lost one is sent again, after
    0.5 s, then after twice that, until its budget is used up. A cancel of "whatever runs" is the exception.

    Args:
        where: the service's address, for messages.
        budget_s: seconds from ``now_s`` after which the request counts as unanswered.
    """

    def __init__(
        self, request: Request, kind: type[R], where: str, *, budget_s: float, now_s: float, payload: Part = b""
    ) -> None:
        self.request_id = request.request_id
        self.parts = encode(request, payload)
        self.malformed = 0
        self._kind = kind
        self._where = where
        self._name = str(request.__struct_config__.tag)
        self._budget_s = budget_s
        self._ends_s = now_s + budget_s
        self._send_s = now_s
        self._pause_s = _FIRST_RESEND_S
        self._once = isinstance(request, Cancel) and not request.task_id
        self._refusals = 0

    def due(self, now_s: float) -> bool:
        """Whether to send `parts` now.

        Raises:
            TransportError: the budget is used up.
        """
        if now_s >= self._ends_s:
            raise TransportError(
                f"no answer to {self._name!r} from the subgoal service at {self._where} within {self._budget_s:g} s. "
                "Check that it runs (`itk-embodied serve`) and that the address is right."
            )
        if now_s < self._send_s:
            return False
        self._send_s = self._ends_s if self._once else now_s + self._pause_s
        self._pause_s *= 2.0
        return True

    @property
    def wake_s(self) -> float:
        """Until when to wait for an answer before asking `due` again."""
        return min(self._send_s, self._ends_s)

    def take(self, parts: Parts) -> Answer[R] | None:
        """Look at what came; None where it is not (or not readably) the answer.

        Raises:
            TransportError: the service refused; the message says why.
            WireVersionError: the service speaks another version.
        """
        try:
            reply = decode(parts[:3]).message
            if not isinstance(reply, Reply) or reply.request_id not in (self.request_id, ""):
                return None  # a late answer to an earlier request
            if isinstance(reply, Refused):
                self._refused(reply)
                return None
            if isinstance(reply, self._kind):
                return Answer(reply, _messages(reply, parts[3:]))
        except WireVersionError:
            raise
        except WireError:
            self.malformed += 1
        return None

    def _refused(self, reply: Refused) -> None:
        """A refusal without our id: the service could not read what it got. It may have been damaged on the way."""
        self._refusals += 1
        if not reply.request_id and self._refusals < _ANONYMOUS_REFUSALS and not self._once:
            self._send_s = 0.0
            return
        raise TransportError(f"the subgoal service at {self._where} refused {self._name!r}: {reply.error}")


def _messages(reply: Reply, more: Parts) -> list[Received]:
    if not isinstance(reply, SnapshotReply):
        return []
    if len(more) != 3 * reply.count:
        raise WireError(f"a snapshot of {reply.count} messages has {len(more)} ZeroMQ frames; expected 3 each.")
    return [decode(more[at : at + 3]) for at in range(0, len(more), 3)]
