"""The one error of the simulated table. It says what was given, what is allowed, and what to do."""

from __future__ import annotations


class SimError(Exception):
    """The simulator cannot do what was asked."""
