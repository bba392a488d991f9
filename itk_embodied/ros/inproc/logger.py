"""A node's logger, shaped as ``rclpy.logging``'s, on Python's logging."""

from __future__ import annotations

import logging
import time
from typing import Any

_ROOT = "ros"


class Logger:
    """``get_logger().info(...)`` with ``once=True`` and ``throttle_duration_sec=...``."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._log = logging.getLogger(f"{_ROOT}.{name}")
        self._said: dict[str, float] = {}

    def get_child(self, name: str) -> Logger:
        return Logger(f"{self.name}.{name}")

    def set_level(self, level: int) -> None:
        self._log.setLevel(int(level))

    def debug(self, message: str, **options: Any) -> bool:
        return self._say(logging.DEBUG, message, **options)

    def info(self, message: str, **options: Any) -> bool:
        return self._say(logging.INFO, message, **options)

    def warning(self, message: str, **options: Any) -> bool:
        return self._say(logging.WARNING, message, **options)

    warn = warning

    def error(self, message: str, **options: Any) -> bool:
        return self._say(logging.ERROR, message, **options)

    def fatal(self, message: str, **options: Any) -> bool:
        return self._say(logging.CRITICAL, message, **options)

    def _say(self, level: int, message: str, *, once: bool = False, throttle_duration_sec: float | None = None) -> bool:
        now_s = time.monotonic()
        last_s = self._said.get(message)
        if last_s is not None and (once or (throttle_duration_sec and now_s - last_s < throttle_duration_sec)):
            return False
        if once or throttle_duration_sec:
            self._said[message] = now_s
        self._log.log(level, "%s", message)
        return True
