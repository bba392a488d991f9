"""What following a task can ask its driver to do, and what a user wants of the task's subgoals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from itk_embodied.bridges.codec import Received


@dataclass(frozen=True)
class Listen:
    """Take one message of the stream, or report `Follower.quiet` once ``until_s`` has passed."""

    until_s: float


@dataclass(frozen=True)
class Ask:
    """Ask for a snapshot after ``after_seq`` within ``budget_s``; over new sockets where ``afresh``."""

    after_seq: int
    budget_s: float
    afresh: bool = False


@dataclass(frozen=True)
class Resubmit:
    """Send the task again, unchanged, to a service that was restarted; within ``budget_s``."""

    budget_s: float


@dataclass(frozen=True, eq=False)
class Deliver:
    """Hand this subgoal to the user. ``expires_s``: until when it may be acted on; None: for ever."""

    received: Received
    expires_s: float | None = None


@dataclass(frozen=True)
class Ended:
    """The task has its terminal status."""


Action: TypeAlias = Listen | Ask | Resubmit | Deliver | Ended


@dataclass(frozen=True)
class FollowRules:
    """What a user wants of a task's subgoals; see `SubgoalClient.subgoals` for the meaning of each."""

    deadline_s: float
    verified_only: bool = True
    latest_only: bool = False
    accept_expired: bool = False
    resubmit: bool = False
