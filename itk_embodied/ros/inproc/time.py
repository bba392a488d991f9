"""Time, duration and clock, shaped as ``rclpy.time``, ``rclpy.duration`` and ``rclpy.clock``."""

from __future__ import annotations

import time as system_time
from functools import total_ordering
from typing import Any

from itk_embodied.ros import messages

S_TO_NS = 1_000_000_000


@total_ordering
class Duration:
    """A span of time."""

    def __init__(self, *, seconds: float = 0, nanoseconds: int = 0) -> None:
        self._nanoseconds = round(seconds * S_TO_NS) + int(nanoseconds)

    @property
    def nanoseconds(self) -> int:
        return self._nanoseconds

    def to_msg(self) -> messages.Duration:
        sec, nanosec = divmod(self._nanoseconds, S_TO_NS)
        return messages.Duration(sec=sec, nanosec=nanosec)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Duration) and self._nanoseconds == other._nanoseconds

    def __lt__(self, other: Duration) -> bool:
        return self._nanoseconds < other._nanoseconds

    def __hash__(self) -> int:
        return hash(self._nanoseconds)

    def __repr__(self) -> str:
        return f"Duration(nanoseconds={self._nanoseconds})"


@total_ordering
class Time:
    """A point in time of the system clock."""

    def __init__(self, *, seconds: float = 0, nanoseconds: int = 0) -> None:
        if seconds < 0 or nanoseconds < 0:
            raise ValueError("Time values must not be negative")
        self._nanoseconds = round(seconds * S_TO_NS) + int(nanoseconds)

    @property
    def nanoseconds(self) -> int:
        return self._nanoseconds

    def seconds_nanoseconds(self) -> tuple[int, int]:
        return divmod(self._nanoseconds, S_TO_NS)

    def to_msg(self) -> messages.Time:
        sec, nanosec = self.seconds_nanoseconds()
        return messages.Time(sec=sec, nanosec=nanosec)

    @classmethod
    def from_msg(cls, msg: messages.Time, clock_type: Any = None) -> Time:
        return cls(nanoseconds=msg.sec * S_TO_NS + msg.nanosec)

    def __sub__(self, other: Time | Duration) -> Any:
        if isinstance(other, Time):
            return Duration(nanoseconds=self._nanoseconds - other._nanoseconds)
        return Time(nanoseconds=self._nanoseconds - other.nanoseconds)

    def __add__(self, other: Duration) -> Time:
        return Time(nanoseconds=self._nanoseconds + other.nanoseconds)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Time) and self._nanoseconds == other._nanoseconds

    def __lt__(self, other: Time) -> bool:
        return self._nanoseconds < other._nanoseconds

    def __hash__(self) -> int:
        return hash(self._nanoseconds)

    def __repr__(self) -> str:
        return f"Time(nanoseconds={self._nanoseconds})"


class Clock:
    """The system clock."""

    def now(self) -> Time:
        return Time(nanoseconds=system_time.time_ns())
