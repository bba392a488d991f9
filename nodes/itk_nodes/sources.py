"""Where camera frames come from: a picture, a video, an OpenCV device, a simulated table, or frames over ZeroMQ."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any, Protocol

from itk_embodied.bridges import FrameSubscriber
from itk_embodied.errors import ConfigError, InputError, MissingDependencyError, did_you_mean
from itk_embodied.images import load_image
from itk_embodied.types import Frame, as_image


class FrameSource(Protocol):
    """Read and closed in a thread of its own; `read` may wait."""

    def read(self, timeout_s: float) -> Frame | None:
        """The next frame, or None where none came in time."""
        ...

    def close(self) -> None: ...


class FileSource:
    """One picture, again and again, stamped when it is sent: a camera that looks at a still scene."""

    def __init__(self, path: str | Path, *, rate_hz: float, frame_id: str) -> None:
        if not rate_hz > 0:
            raise ConfigError(f"rate_hz is {rate_hz}; it must be more than 0.")
        self._image = load_image(path)
        self._period_s = 1.0 / rate_hz
        self._frame_id = frame_id
        self._next_s = time.monotonic()
        self._closed = threading.Event()

    def read(self, timeout_s: float) -> Frame | None:
        wait_s = self._next_s - time.monotonic()
        if wait_s > timeout_s:
            self._closed.wait(timeout_s)
            return None
        if self._closed.wait(max(0.0, wait_s)):
            return None
        self._next_s = max(self._next_s + self._period_s, time.monotonic())
        return Frame(self._image, frame_id=self._frame_id)

    def close(self) -> None:
        self._closed.set()


class DeviceSource:
    """A camera that OpenCV can open: a number (0 is /dev/video0), a device file, or a stream's address."""

    def __init__(self, device: str, *, frame_id: str) -> None:
        self._cv2 = _opencv()
        self._device: int | str = int(device) if device.isdigit() else device
        self._frame_id = frame_id
        self._capture: Any = self._open()
        if self._capture is None:
            raise InputError(
                f"camera {device!r} cannot be opened; check that it is plugged in, that no other program uses it and "
                "that you may read it (group video), or give another number, file or address."
            )

    def _open(self) -> Any:
        capture = self._cv2.VideoCapture(self._device)
        if not capture.isOpened():
            capture.release()
            return None
        capture.set(self._cv2.CAP_PROP_BUFFERSIZE, 1)  # the newest frame, not a queue of old ones
        return capture

    def read(self, timeout_s: float) -> Frame | None:
        if self._capture is None:
            self._capture = self._open()
        got, bgr = self._capture.read() if self._capture is not None else (False, None)
        stamp_s = time.time()
        if not got or bgr is None:  # unplugged, or the end of a stream: try again, gently
            if self._capture is not None:
                self._capture.release()
                self._capture = None
            time.sleep(min(timeout_s, 0.5))
            return None
        image = as_image(self._cv2.cvtColor(bgr, self._cv2.COLOR_BGR2RGB), what="camera frame")
        return Frame(image, stamp_s=stamp_s, frame_id=self._frame_id)

    def close(self) -> None:
        if self._capture is not None:
            self._capture.release()


class VideoSource:
    """A video file, at its own speed, again from the start after its end; frames are stamped when they are sent."""

    def __init__(self, path: str | Path, *, frame_id: str) -> None:
        self._cv2 = _opencv()
        self._capture = self._cv2.VideoCapture(str(path))
        if not Path(path).is_file() or not self._capture.isOpened():
            self._capture.release()
            raise InputError(f"video {path} cannot be opened; give a file that OpenCV can read, such as .mp4 or .avi.")
        rate_hz = self._capture.get(self._cv2.CAP_PROP_FPS)
        self._period_s = 1.0 / rate_hz if 0 < rate_hz <= 1000 else 0.1
        self._frame_id = frame_id
        self._next_s = time.monotonic()
        self._closed = threading.Event()

    def read(self, timeout_s: float) -> Frame | None:
        wait_s = self._next_s - time.monotonic()
        if self._closed.wait(max(0.0, min(wait_s, timeout_s))) or wait_s > timeout_s:
            return None
        self._next_s = max(self._next_s + self._period_s, time.monotonic())
        got, bgr = self._capture.read()
        if not got:
            self._capture.set(self._cv2.CAP_PROP_POS_FRAMES, 0)
            got, bgr = self._capture.read()
        if not got:
            raise InputError("the video has no frame that can be read.")
        return Frame(as_image(self._cv2.cvtColor(bgr, self._cv2.COLOR_BGR2RGB)), frame_id=self._frame_id)

    def close(self) -> None:
        self._closed.set()
        self._capture.release()


def _opencv() -> Any:
    try:
        import cv2
    except ImportError as error:
        raise MissingDependencyError(
            "cameras and videos need OpenCV; install it: pip install opencv-python-headless"
        ) from error
    return cv2


class ZmqSource:
    """Frames that another process publishes with `FramePublisher`, their stamps and names unchanged."""

    def __init__(self, address: str) -> None:
        self._subscriber = FrameSubscriber(address)

    def read(self, timeout_s: float) -> Frame | None:
        return self._subscriber.latest(timeout_s)

    def close(self) -> None:
        self._subscriber.close()


KINDS = ("file", "device", "sim", "zmq")
_PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".ppm")


def open_source(
    kind: str, *, path: str, device: str, address: str, rate_hz: float, frame_id: str, scene: str = "", seed: int = 0
) -> FrameSource:
    """The source of a camera node's parameters; a file is a picture or a video by its name's end.

    Raises:
        ConfigError: an unknown kind. InputError: no such file or camera.
    """
    if kind == "file" and Path(path).suffix.lower() not in _PICTURES and Path(path).is_file():
        return VideoSource(path, frame_id=frame_id)
    if kind == "file":
        return FileSource(path, rate_hz=rate_hz, frame_id=frame_id)
    if kind == "device":
        return DeviceSource(device, frame_id=frame_id)
    if kind == "zmq":
        return ZmqSource(address)
    if kind == "sim":
        from itk_nodes.sim_source import SimSource

        return SimSource(scene, seed=seed, rate_hz=rate_hz, frame_id=frame_id)
    raise ConfigError(f"camera source {kind!r} is not known; {did_you_mean(kind, KINDS)}")
