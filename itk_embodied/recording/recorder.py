"""Records messages in a thread of its own: it never holds up, and never ends, whoever has something to record."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from itk_embodied.recording.bag import BagWriter

log = logging.getLogger(__name__)

QUEUE_BYTES = 64 * 1024 * 1024


class Recorder:
    """A bag that is written while its node works.

    Camera frames are dropped where the disk cannot keep up; words never are. A write that fails (a full disk) ends the
    recording, not the node: ``problem`` says why, and what was written stays readable.
    """

    def __init__(
        self, path: Path, metadata: Mapping[str, str] | None = None, *, queue_bytes: int = QUEUE_BYTES
    ) -> None:
        self.problem = ""
        self.written = 0
        self.dropped = 0
        self._bag = BagWriter(path, metadata)
        self._limit = queue_bytes
        self._waiting = 0
        self._queue: deque[tuple[str, str, Any, int, int]] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._main, name="recorder", daemon=True)
        self._thread.start()

    @property
    def path(self) -> Path:
        return self._bag.path

    def put(self, topic: str, type_name: str, message: Any, *, may_drop: bool = False) -> bool:
        """Record a message soon; False where it was dropped. It must not be changed afterwards."""
        size = len(getattr(message, "data", b""))
        with self._changed:
            if self._closing or self.problem:
                return False
            if may_drop and self._waiting + size > self._limit:
                self.dropped += 1
                return False
            self._queue.append((topic, type_name, message, time.time_ns(), size))
            self._waiting += size
            self._changed.notify()
        return True

    def _main(self) -> None:
        while True:
            with self._changed:
                while not self._queue and not self._closing:
                    self._changed.wait()
                if not self._queue:
                    break
                topic, type_name, message, stamp_ns, size = self._queue.popleft()
                self._waiting -= size
            try:
                self._bag.write(topic, type_name, message, stamp_ns)
                self.written += 1
            except Exception as error:
                self._give_up(error)
                return
        try:
            self._bag.close()
        except Exception as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        said = error.strerror if isinstance(error, OSError) and error.strerror else f"{type(error).__name__}: {error}"
        with self._changed:
            self.problem = f"the recording {self.path} stopped after {self.written} messages: {said}."
            self._queue.clear()
            self._waiting = 0
        log.error("%s", self.problem)
        with contextlib.suppress(OSError):
            self._bag.abandon()

    def close(self, timeout_s: float = 5.0) -> None:
        """Write what is queued, then the index; may be called twice."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(timeout_s)
