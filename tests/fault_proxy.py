"""A TCP proxy that understands ZMTP 3 framing, so that it can lose, double, swap, cut and delay whole messages.

It speaks no ZeroMQ itself: it copies the greetings and the handshake, then reads frame by frame, puts the frames of a
message together, and does to some messages what a bad network or a bad middlebox would.
"""

from __future__ import annotations

import contextlib
import random
import socket
import threading
import time
from dataclasses import dataclass, field
from typing import Self

_GREETING = 64
_MORE, _LONG, _COMMAND = 1, 2, 4


@dataclass(frozen=True)
class Faults:
    """Shares of messages that suffer, each in 0..1. ``cut`` breaks the TCP connection in the middle of a message.

    ``both_ways``: towards the service as well; else only what comes from it.
    """

    drop: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    truncate: float = 0.0
    cut: float = 0.0
    delay_s: float = 0.0
    both_ways: bool = False
    seed: int = 0


@dataclass
class Counts:
    """What was done so far."""

    passed: int = 0
    harmed: int = 0
    connections: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


class FaultProxy:
    """Forwards ``tcp://127.0.0.1:<own port>`` to a ZeroMQ address. `faults` may be changed while it runs."""

    def __init__(self, target: str, faults: Faults | None = None) -> None:
        host, port = target.removeprefix("tcp://").rsplit(":", 1)
        self.target = (host, int(port))
        self.faults = faults or Faults()
        self.counts = Counts()
        self.stalled = threading.Event()  # set: connections stay open, nothing passes
        self._closed = threading.Event()
        self._sockets: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while not self._closed.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self.target, timeout=2)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            with self.counts.lock:
                self.counts.connections += 1
                number = self.counts.connections
                self._sockets |= {client, server}
            for source, sink, towards in ((client, server, True), (server, client, False)):
                chance = random.Random(f"{self.faults.seed}/{number}/{towards}")
                threading.Thread(target=self._pump, args=(source, sink, towards, chance), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, towards: bool, chance: random.Random) -> None:
        held: bytes | None = None
        reader = source.makefile("rb")
        with contextlib.suppress(OSError, ConnectionError, ValueError):
            copied = 0
            while copied < _GREETING:  # bit by bit: each side answers the other's first bytes
                part = reader.read1(_GREETING - copied)
                if not part:
                    raise ConnectionError("the peer closed")
                copied += len(part)
                sink.sendall(part)
            while True:
                data, frames = _message(reader)
                while self.stalled.is_set() and not self._closed.is_set():
                    time.sleep(0.01)
                # Short messages are the handshake, subscriptions and ZeroMQ's own heartbeats: left alone.
                if len(frames) < 3 or (towards and not self.faults.both_ways):
                    sink.sendall(data)
                    continue
                copies = self._suffer(data, frames, chance)
                if copies is None:  # cut
                    sink.sendall(data[: len(data) // 2])
                    break
                if chance.random() < self.faults.reorder and held is None:
                    held = data
                    self._harm()
                    continue
                for copy in copies:
                    sink.sendall(copy)
                if held is not None:
                    sink.sendall(held)
                    held = None
        for end in (source, sink):
            self._drop(end)

    def _suffer(self, data: bytes, frames: list[bytes], chance: random.Random) -> list[bytes] | None:
        faults = self.faults
        if faults.delay_s:
            time.sleep(chance.random() * faults.delay_s)
        if chance.random() < faults.cut:
            self._harm()
            return None
        if chance.random() < faults.drop:
            self._harm()
            return []
        if chance.random() < faults.truncate:
            self._harm()
            return [_shortened(frames, chance)]
        if chance.random() < faults.duplicate:
            self._harm()
            return [data, data]
        with self.counts.lock:
            self.counts.passed += 1
        return [data]

    def _harm(self) -> None:
        with self.counts.lock:
            self.counts.harmed += 1

    def _drop(self, end: socket.socket) -> None:
        with self.counts.lock:
            self._sockets.discard(end)
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()

    def cut_all(self) -> None:
        """Break every connection now."""
        with self.counts.lock:
            sockets = list(self._sockets)
        for end in sockets:
            self._drop(end)

    def close(self) -> None:
        self._closed.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _exactly(reader: object, count: int) -> bytes:
    data = reader.read(count)  # type: ignore[attr-defined]
    if len(data) < count:
        raise ConnectionError("the peer closed")
    return bytes(data)


def _message(reader: object) -> tuple[bytes, list[bytes]]:
    """The next message as it is on the wire, and its frames' bodies (one, for a command)."""
    raw, bodies = [], []
    while True:
        flags = _exactly(reader, 1)
        size = _exactly(reader, 8 if flags[0] & _LONG else 1)
        body = _exactly(reader, int.from_bytes(size, "big"))
        raw += [flags, size, body]
        bodies.append(body)
        if flags[0] & _COMMAND or not flags[0] & _MORE:
            return b"".join(raw), bodies


def _shortened(frames: list[bytes], chance: random.Random) -> bytes:
    """The message with one frame cut short or, now and then, its last frame missing; its framing stays right."""
    frames = list(frames)
    if chance.random() < 0.25:
        frames.pop()
    else:
        at = chance.choice([n for n, body in enumerate(frames) if body])
        frames[at] = frames[at][: chance.randrange(len(frames[at]))]
    out = b""
    for n, body in enumerate(frames):
        flags = (_MORE if n + 1 < len(frames) else 0) | (_LONG if len(body) > 255 else 0)
        out += bytes([flags]) + len(body).to_bytes(8 if len(body) > 255 else 1, "big") + body
    return out
