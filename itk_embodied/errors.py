"""Every error this library raises on purpose.

A message names what was given, what is allowed, and what to do next; the command line prints it as one line.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ItkError(Exception):
    """Root of all errors of this project. ``exit_code`` is what the command line exits with."""

    exit_code = 1


class InputError(ItkError):
    """What the user gave (an image, a task, a file) cannot be used."""

    exit_code = 2


class ConfigError(ItkError):
    """A stack, parameter or configuration file is wrong."""

    exit_code = 2


class MissingDependencyError(ItkError):
    """An optional package or system library is absent; the message has the install line."""

    exit_code = 3


class CheckpointError(ItkError):
    """A model checkpoint is missing or unreadable; the message names the hub id and how to fetch it."""

    exit_code = 3


class ModelOutputError(ItkError):
    """A model answered something that its contract does not allow. ``raw`` keeps its whole text."""

    def __init__(self, message: str, raw: str = "") -> None:
        super().__init__(message)
        self.raw = raw


class BudgetExceededError(ItkError):
    """A stage used up its seconds."""


class CancelledError(ItkError):
    """The user cancelled the task."""


class WireError(ItkError):
    """A message on the wire is malformed, too large, or of an unknown version."""


class TransportError(ItkError):
    """A peer cannot be reached or does not answer; names host, port, budget and remedy."""


class ConformanceError(ItkError):
    """A plug-in breaks the contract of its role."""


def did_you_mean(given: str, allowed: Iterable[str]) -> str:
    """One sentence that lists what is allowed and, where one is close, suggests it."""
    names = sorted(allowed)
    close = difflib.get_close_matches(given, names, n=1, cutoff=0.5)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return f"allowed: {', '.join(names)}.{hint}"
