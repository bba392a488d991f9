"""Is the service still there? The judgement alone: no socket, no clock, so that both clients share it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from itk_embodied.bridges.keys import ClientKeys
from itk_embodied.bridges.sockets import DEAD_AFTER_S
from itk_embodied.errors import ConfigError, TransportError

log = logging.getLogger(__name__)

LinkState: TypeAlias = Literal["live", "lost"]
OnLink: TypeAlias = Callable[[LinkState, str], None]

_FIRST_PAUSE_S = 0.25
_LONGEST_PAUSE_S = 8.0
TRY_S = 1.0
"""What one attempt to reach a lost service may take before the next pause."""


@dataclass(frozen=True)
class LinkRules:
    """Where the service is and how long to wait for it.

    Attributes:
        stream, requests: the service's addresses, for messages.
        timeout_s: what a request may take before it counts as unanswered.
        dead_after_s: silence after which the service counts as lost (it sends a heartbeat every second).
        patience_s: silence after which the client gives up; until then it reconnects with growing pauses.
        keys: for a service that asks for them.
    """

    stream: str
    requests: str
    timeout_s: float = 5.0
    dead_after_s: float = DEAD_AFTER_S
    patience_s: float = 30.0
    keys: ClientKeys | None = None

    def __post_init__(self) -> None:
        for name in ("timeout_s", "dead_after_s"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be more than 0 seconds.")
        if not self.patience_s >= 0:
            raise ConfigError(f"patience_s is {self.patience_s}; it must be 0 (give up at once) or more.")


class Link:
    """Counts silence. Whoever owns it says when something was heard, when not, and what the time is."""

    def __init__(self, rules: LinkRules, now_s: float, on_link: OnLink | None = None) -> None:
        self.rules = rules
        self.state: LinkState = "live"
        self._on_link = on_link
        self._heard_s = now_s
        self._next_try_s = now_s
        self._tries = 0

    def listen_again(self, now_s: float) -> None:
        """Silence counts from when we listen, not while the robot was moving."""
        if self.state == "live":
            self._heard_s = max(self._heard_s, now_s)

    def heard(self, now_s: float) -> bool:
        """Something came from the service. True where it had been lost: then what was missed is to be asked for."""
        self._heard_s = now_s
        if self.state == "live":
            return False
        self._tries = 0
        self._become("live", f"the subgoal service at {self.rules.stream} is back")
        return True

    def quiet(self, now_s: float, *, unanswered: bool = False) -> None:
        """Nothing came. ``unanswered``: a request was not answered either, so the service is lost whatever was heard.

        Raises:
            TransportError: the silence has lasted longer than the rules allow.
        """
        silence_s = now_s - self._heard_s
        if self.state == "lost":
            if unanswered:
                self._tries += 1
                self._next_try_s = now_s + min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2.0**self._tries)
        elif unanswered or silence_s >= self.rules.dead_after_s:
            self._next_try_s = now_s + (_FIRST_PAUSE_S if unanswered else 0.0)
            self._become("lost", f"{self._silent(silence_s)}; trying to reach it again")
        if self.state == "lost" and silence_s >= max(self.rules.dead_after_s, self.rules.patience_s):
            raise TransportError(
                f"{self._silent(silence_s)} and gave no answer to {self._tries} attempts to reach it (patience "
                f"{self.rules.patience_s:g} s). Check that it runs (`itk-embodied serve`) and that the address is "
                "right, then submit again."
            )

    @property
    def try_at_s(self) -> float | None:
        """When to try to reach a lost service; None while it is live."""
        return self._next_try_s if self.state == "lost" else None

    @property
    def wake_s(self) -> float:
        """When `quiet` has something new to say."""
        if self.state == "live":
            return self._heard_s + self.rules.dead_after_s
        return min(self._next_try_s, self._heard_s + max(self.rules.dead_after_s, self.rules.patience_s))

    def _silent(self, silence_s: float) -> str:
        return (
            f"the subgoal service at {self.rules.stream} has been silent for {silence_s:.1f} s (budget "
            f"{self.rules.dead_after_s:g} s, heartbeat every second)"
        )

    def _become(self, state: LinkState, why: str) -> None:
        self.state = state
        log.warning("%s", why) if state == "lost" else log.info("%s", why)
        if self._on_link is not None:
            self._on_link(state, why)
