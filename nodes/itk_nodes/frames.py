"""The newest camera frame, undecoded until a task needs it, and whether it is fresh enough to plan from."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from itk_embodied.errors import InputError
from itk_embodied.ros.pictures import NANOSECONDS, rgb_of, rgb_of_compressed, stamp_ns
from itk_embodied.types import Frame, Image
from itk_nodes import topics


@dataclass(eq=False)
class Held:
    """A frame message as it came. ``recorded`` is for whoever records it."""

    message: Any
    type_name: str
    decode: Callable[[Any], Image]
    stamp_ns: int
    recorded: bool = False

    @property
    def shape(self) -> tuple[Any, ...]:
        """What decides whether such a message can be read at all: its encoding and sizes."""
        return tuple(getattr(self.message, name, None) for name in ("encoding", "format", "height", "width", "step"))


class LatestFrame:
    """Keeps one frame message; a newer one takes its place."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: Held | None = None
        self._judged: tuple[tuple[Any, ...], str] = ((), "")
        self.count = 0

    def put_image(self, message: Any) -> Held:
        return self._put(Held(message, topics.IMAGE, rgb_of, stamp_ns(message.header)))

    def put_compressed(self, message: Any) -> Held:
        return self._put(Held(message, topics.COMPRESSED, rgb_of_compressed, stamp_ns(message.header)))

    def _put(self, held: Held) -> Held:
        with self._lock:
            self.count += 1
            if self._held is None or held.stamp_ns >= self._held.stamp_ns:
                self._held = held
            elif self._held.stamp_ns - held.stamp_ns > 10 * NANOSECONDS:
                self._held = held  # the camera's clock was set back: an old stamp must not block new frames for ever
        return held

    def age_s(self, now_ns: int) -> float | None:
        """Seconds since the newest frame was taken; None where none has come."""
        held = self._held
        return None if held is None else (now_ns - held.stamp_ns) / NANOSECONDS

    @property
    def problem(self) -> str:
        """Why the camera's frames cannot be used, such as an encoding; looked at again when their kind changes."""
        held = self._held
        if held is None:
            return ""
        if held.shape != self._judged[0] or self._judged[1]:
            try:
                held.decode(held.message)
                self._judged = (held.shape, "")
            except InputError as error:
                self._judged = (held.shape, str(error))
        return self._judged[1]

    def newest(self, now_ns: int, max_age_s: float) -> Held:
        """The newest frame's message, if it is fresh.

        Raises:
            InputError: none has come, it is too old, or its stamp lies ahead; the message says it.
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
        return held

    def fresh(self, now_ns: int, max_age_s: float) -> tuple[Frame, int]:
        """The newest frame and its exact stamp in nanoseconds.

        Raises:
            InputError: as `newest`, or it cannot be read.
        """
        held = self.newest(now_ns, max_age_s)
        return frame_of(held), held.stamp_ns


def frame_of(held: Held) -> Frame:
    """The frame of a message.

    Raises:
        InputError: it cannot be read.
    """
    frame_id = held.message.header.frame_id or "camera"
    return Frame(held.decode(held.message), stamp_s=held.stamp_ns / NANOSECONDS, frame_id=frame_id)
