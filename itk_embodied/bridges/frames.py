"""Camera frames over ZeroMQ: a simulator or camera process publishes, a node takes the newest."""

from __future__ import annotations

import time
import uuid
from types import TracebackType
from typing import Any

import zmq

from itk_embodied.bridges.codec import decode, encode
from itk_embodied.bridges.images import decode_image, encode_image
from itk_embodied.bridges.sockets import DEFAULT_FRAMES, bind, connect, open_socket
from itk_embodied.bridges.wire import Encoding, FrameMessage, stamp_to_ns, stamp_to_s
from itk_embodied.errors import WireError
from itk_embodied.types import Frame, as_image

_HWM = 4  # frames; a slow reader loses old ones, never memory


class FramePublisher:
    """Publishes camera frames on topic ``frame``. Use it from one thread.

    Args:
        address: where to listen; port 0 takes any free one, see `address` afterwards.
        encoding: ``raw`` costs nothing on one machine; ``jpeg`` is small.
    """

    def __init__(self, address: str = DEFAULT_FRAMES, *, encoding: Encoding = "raw") -> None:
        self._context = zmq.Context()
        self._socket = open_socket(self._context, zmq.PUB, hwm=_HWM)
        self._encoding: Encoding = encoding
        self._session = uuid.uuid4().hex
        self._seq = 0
        try:
            self.address = bind(self._socket, address, what="the frame publisher")
        except BaseException:
            self.close()
            raise

    def publish(self, frame: Frame) -> None:
        """Send one frame; never blocks."""
        self._seq += 1
        info, payload = encode_image(frame.image, self._encoding, hashed=False)
        message = FrameMessage(
            session=self._session,
            seq=self._seq,
            stamp_ns=stamp_to_ns(frame.stamp_s),
            frame_id=frame.frame_id,
            image=info,
        )
        # The raw payload is a view of a read-only picture that may outlive this call only if ZeroMQ copies it.
        self._socket.send_multipart(encode(message, payload), copy=True)

    def close(self) -> None:
        self._context.destroy(linger=0)

    def __enter__(self) -> FramePublisher:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


class FrameSubscriber:
    """Takes the newest camera frame from a `FramePublisher`. Use it from one thread.

    ``dropped`` counts messages that could not be read; ``last_error`` says why the last of them could not.
    """

    def __init__(self, address: str = DEFAULT_FRAMES) -> None:
        self.address = address
        self.dropped = 0
        self.last_error = ""
        self._context = zmq.Context()
        self._socket = open_socket(self._context, zmq.SUB, hwm=_HWM)
        try:
            connect(self._socket, address)
            self._socket.subscribe(b"frame")
        except BaseException:
            self.close()
            raise

    def latest(self, timeout_s: float) -> Frame | None:
        """The newest frame that has come, waiting up to ``timeout_s`` for one; None where none came."""
        ends_s = time.monotonic() + timeout_s
        while True:
            if not self._socket.poll(max(0, round((ends_s - time.monotonic()) * 1000))):
                return None
            frame = self._decode(self._newest())
            if frame is not None:
                return frame

    def _newest(self) -> list[bytes]:
        parts: list[bytes] = self._socket.recv_multipart()
        while self._socket.poll(0):
            parts = self._socket.recv_multipart()
        return parts

    def _decode(self, parts: list[bytes]) -> Frame | None:
        try:
            received = decode(parts)
            message: Any = received.message
            if not isinstance(message, FrameMessage):
                raise WireError(f"a camera stream carries frames; got {type(message).__name__}.")
            image = as_image(decode_image(message.image, received.payload), what="camera frame")
        except Exception as error:
            self.dropped += 1
            self.last_error = str(error)
            return None
        return Frame(image, stamp_s=stamp_to_s(message.stamp_ns), frame_id=message.frame_id)

    def close(self) -> None:
        self._context.destroy(linger=0)

    def __enter__(self) -> FrameSubscriber:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()
