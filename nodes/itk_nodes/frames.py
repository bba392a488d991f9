"""The newest camera frame, undecoded until a task needs it, and whether it is fresh enough to plan from."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from itk_embodied.errors import InputError
from itk_embodied.ros.pictures import NANOSECONDS, rgb_of, rgb_of_compressed, stamp_ns
from itk_embodied.types import Frame, Image


@dataclass(frozen=True, eq=False)
class _Held:
    message: Any
    decode: Callable[[Any], Image]
    stamp_ns: int


class LatestFrame:
    """Keeps one frame message; a newer one takes its place."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: _Held | None = None
        self.count = 0

    def put_image(self, message: Any) -> None:
        self._put(_Held(message, rgb_of, stamp_ns(message.header)))

    def put_compressed(self, message: Any) -> None:
        self._put(_Held(message, rgb_of_compressed, stamp_ns(message.header)))

    def _put(self, held: _Held) -> None:
        with self._lock:
            self.count += 1
            if self._held is None or held.stamp_ns >= self._held.stamp_ns:
                self._held = held
            elif self._held.stamp_ns - held.stamp_ns > 10 * NANOSECONDS:
                self._held = held  # the camera's clock was set back: an old stamp must not block new frames for ever

    def age_s(self, now_ns: int) -> float | None:
        """Seconds since the newest frame was taken; None where none has come."""
        held = self._held
        return None if held is None else (now_ns - held.stamp_ns) / NANOSECONDS

    def fresh(self, now_ns: int, max_age_s: float) -> tuple[Frame, int]:
        """The newest frame and its exact stamp in nanoseconds.

        Raises:
            InputError: none has come, it is too old, its stamp lies ahead, or it cannot be read; the message says it.
        """
        held = self._held
        if held is None:
            raise InputError("no camera frame has come yet; check the camera and the image topic.")
        age_s = (now_ns - held.stamp_ns) / NANOSECONDS
        if age_s > max_age_s:
            raise InputError(
                f"the newest camera frame is {age_s:.2f} s old; at most {max_age_s:g} s is allowed. Check the camera, "
                "the clocks, or raise max_frame_age_s."
            )
        if age_s < -max_age_s:
            raise InputError(
                f"the newest camera frame's stamp lies {-age_s:.2f} s ahead of this machine's clock; synchronise them."
            )
        frame_id = held.message.header.frame_id or "camera"
        return Frame(held.decode(held.message), stamp_s=held.stamp_ns / NANOSECONDS, frame_id=frame_id), held.stamp_ns
