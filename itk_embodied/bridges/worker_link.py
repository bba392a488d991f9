"""What a service and its worker process say to each other: a private socket pair, the wire's codec, no pickle.

A message is ``[topic, header, payload]`` as on the wire, with the three lengths before it. The task's own messages
(`PlanMessage`, `AttemptMessage`, `SubgoalMessage`, `EndMessage`) travel as they will be published.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections import deque
from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import Meta

from itk_embodied.bridges.codec import Part, Received, decode, encode
from itk_embodied.bridges.wire import (
    MAX_HEADER_BYTES,
    MAX_PAYLOAD_BYTES,
    Encoding,
    Header,
    ImageInfo,
    ServiceState,
    StepInfo,
    TaskMessage,
)
from itk_embodied.bridges.wire_fields import Count, Hash, Id, LongText, Name, Nanoseconds, Seconds, Seq
from itk_embodied.bridges.worker import StageName
from itk_embodied.errors import WireError

_LENGTHS = struct.Struct(">HII")
_MAX_TOPIC_BYTES = 64


class Setup(Header, frozen=True, kw_only=True, tag="setup"):
    """First word to a worker: what to load, and what to tell. ``records``: whole sequences, for reports."""

    stack: LongText
    encoding: Encoding
    records: bool
    warm_up_s: Seconds
    log_level: int
    settings: dict[str, bool | int | float] = msgspec.field(default_factory=dict)


class Run(Header, frozen=True, kw_only=True, tag="run"):
    """A job; its frame is the payload. ``left_s`` and ``age_s`` are relative: no clock is shared."""

    task_id: Id
    task: LongText
    seed: Seq
    plan: tuple[StepInfo, ...] = ()
    stamp_s: float
    stamp_ns: Nanoseconds
    frame_id: LongText
    frame_sha256: Hash
    image: ImageInfo
    left_s: float
    deadline_s: Seconds
    age_s: Seconds
    max_attempts: Count | None = None
    valid_s: Seconds | None = None


class Stop(Header, frozen=True, kw_only=True, tag="stop"):
    """Stop the job at its next denoising step or token."""

    task_id: Id


class Exit(Header, frozen=True, kw_only=True, tag="exit"):
    """Last word to a worker."""


class Alive(Header, frozen=True, kw_only=True, tag="alive"):
    """Four times a second, from a thread of its own."""


class State(Header, frozen=True, kw_only=True, tag="state"):
    """See `StateReport`."""

    state: ServiceState
    detail: LongText = ""
    stack: Name = ""


class Stage(Header, frozen=True, kw_only=True, tag="stage"):
    """See `StageReport`."""

    task_id: Id
    stage: StageName
    budget_s: Seconds | None = None
    seconds: Seconds | None = None


class Idle(Header, frozen=True, kw_only=True, tag="idle"):
    """See `IdleReport`."""

    task_id: Id


class LogLine(Header, frozen=True, kw_only=True, tag="log"):
    """A log record of the worker, for the service's own log."""

    level: int
    logger: Name
    text: LongText


class Record(Header, frozen=True, kw_only=True, tag="record"):
    """A part of a finished sequence, see `itk_embodied.bridges.worker_records`; the payload is msgpack."""

    task_id: Id
    part: Literal["attempt", "subgoal", "sequence"]
    size_bytes: Annotated[int, Meta(ge=0, le=MAX_PAYLOAD_BYTES)]


ToWorker: TypeAlias = Setup | Run | Stop | Exit
FromWorker: TypeAlias = TaskMessage | Alive | State | Stage | Idle | LogLine | Record

TO_WORKER: msgspec.msgpack.Decoder[ToWorker] = msgspec.msgpack.Decoder(ToWorker)
FROM_WORKER: msgspec.msgpack.Decoder[FromWorker] = msgspec.msgpack.Decoder(FromWorker)


class Link:
    """One end of the socket pair. On a blocking socket `read` waits; on another it returns None until all is there."""

    def __init__(self, sock: socket.socket, decoder: msgspec.msgpack.Decoder[Any]) -> None:
        self._sock = sock
        self._decoder = decoder
        self._sending = threading.Lock()
        self._pending: deque[memoryview] = deque()
        self._begin()

    def _begin(self) -> None:
        self._lengths: tuple[int, int, int] | None = None
        self._buffer = memoryview(bytearray(_LENGTHS.size))
        self._filled = 0

    def fileno(self) -> int:
        return self._sock.fileno()

    def read(self) -> Received | None:
        """One message.

        Raises:
            EOFError: the other end is gone.
            WireError: what came is no message.
        """
        while True:
            while self._filled < len(self._buffer):
                try:
                    count = self._sock.recv_into(self._buffer[self._filled :])
                except BlockingIOError:
                    return None
                except OSError as error:
                    raise EOFError(str(error)) from error
                if not count:
                    raise EOFError("the other end of the worker's link is gone")
                self._filled += count
            if self._lengths is not None:
                return self._take(self._lengths)
            self._expect(*_LENGTHS.unpack(self._buffer))

    def _expect(self, topic: int, header: int, payload: int) -> None:
        """The lengths are known: check them, then make room."""
        if topic > _MAX_TOPIC_BYTES or header > MAX_HEADER_BYTES or payload > MAX_PAYLOAD_BYTES:
            raise WireError(f"a worker's message claims {topic}, {header} and {payload} bytes; that is too much.")
        self._lengths = (topic, header, payload)
        self._buffer = memoryview(bytearray(topic + header + payload))
        self._filled = 0

    def _take(self, lengths: tuple[int, int, int]) -> Received:
        topic, header, _ = lengths
        whole = self._buffer
        self._begin()
        return decode([whole[:topic], whole[topic : topic + header], whole[topic + header :]], self._decoder)

    def send(self, message: Header, payload: Part = b"") -> None:
        """Send now, waiting while the other end does not read. From any thread.

        Raises:
            OSError: the other end is gone.
        """
        parts = _framed(message, payload)
        with self._sending:
            for part in parts:
                self._sock.sendall(part)

    def queue(self, message: Header, payload: Part = b"") -> None:
        """Send soon, without waiting; see `flush`. From one thread."""
        self._pending.extend(memoryview(part) for part in _framed(message, payload) if len(part))

    @property
    def has_queued(self) -> bool:
        return bool(self._pending)

    def flush(self) -> None:
        """Send of what is queued as much as the other end takes now."""
        try:
            while self._pending:
                part = self._pending[0]
                count = self._sock.send(part)
                if count == len(part):
                    self._pending.popleft()
                else:
                    self._pending[0] = part[count:]
        except BlockingIOError:
            return
        except OSError:
            self._pending.clear()  # the reading side notices, and says so

    def close(self) -> None:
        self._sock.close()


def _framed(message: Header, payload: Part) -> list[Part]:
    topic, header, body = encode(message, payload)
    return [_LENGTHS.pack(len(topic), len(header), len(body)) + bytes(topic) + bytes(header), body]
