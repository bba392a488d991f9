"""The receiving side of every path: a burst in, the nanoseconds at which each picture was sent and was at hand out."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, Protocol, TypeAlias

import numpy as np
import zmq

from itk_embodied.bridges.bench.burst import burst_task
from itk_embodied.bridges.bench.sender import HWM
from itk_embodied.bridges.bench.styles import (
    GROOT_REPLY,
    OPENPI_REPLY,
    unpack_bare,
    unpack_groot_style,
    unpack_openpi_style,
    unpack_rosbridge_style,
    websocket_bytes,
    zmtp_bytes,
)
from itk_embodied.bridges.client import SubgoalClient
from itk_embodied.bridges.codec import encode
from itk_embodied.bridges.keys import ClientKeys
from itk_embodied.errors import TransportError
from itk_embodied.types import Image

Times: TypeAlias = list[tuple[int, int]]
Order: TypeAlias = Callable[[str, int, float], None]

_PATIENCE_S = 60.0


class Way(Protocol):
    """One way for a picture to come. ``bytes_on_wire`` is one message's, framing included, once one has come."""

    name: str
    bytes_on_wire: int

    def burst(self, count: int, pause_s: float) -> Times: ...

    def close(self) -> None: ...


def check(image: Image, expected: Image) -> None:
    if image.shape != expected.shape or image.dtype != np.uint8:
        raise TransportError(f"a picture of shape {image.shape} came; {expected.shape} was sent.")


class BarePath:
    """pyzmq with nothing around it: PUB to SUB, two frames, no copies on either side."""

    def __init__(self, name: str, address: str, order: Order, picture: Image, server_key: bytes | None = None) -> None:
        self.name, self._order, self._picture = name, order, picture
        self.bytes_on_wire = 0
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.SUB)
        self._socket.setsockopt(zmq.RCVHWM, HWM)
        if server_key:
            self._socket.curve_publickey, self._socket.curve_secretkey = zmq.curve_keypair()
            self._socket.curve_serverkey = server_key
        self._socket.connect(address)
        self._socket.subscribe(b"")
        self._meet()

    def _meet(self) -> None:
        """A PUB socket says nothing to whom it does not know yet: try until one has come, then let the rest pass."""
        for _ in range(100):
            self._order(self.name, 1, 0.0)
            if self._socket.poll(100):
                while self._socket.poll(200):
                    self._socket.recv_multipart()
                return
        raise TransportError(f"nothing came over the path {self.name}")

    def burst(self, count: int, pause_s: float) -> Times:
        self._order(self.name, count, pause_s)
        times: Times = []
        for _ in range(count):
            if not self._socket.poll(round(_PATIENCE_S * 1000)):
                raise TransportError(f"the path {self.name} lost messages: {len(times)} of {count} came")
            frames = self._socket.recv_multipart(copy=False)
            sent_ns, image = unpack_bare(frames)
            times.append((sent_ns, time.monotonic_ns()))
        check(image, self._picture)
        self.bytes_on_wire = zmtp_bytes([len(frame.buffer) for frame in frames])
        return times

    def close(self) -> None:
        self._context.destroy(linger=0)


class OurPath:
    """`SubgoalClient` and `SubgoalService`, as a robot uses them."""

    def __init__(self, name: str, addresses: list[str], picture: Image, keys: ClientKeys | None = None) -> None:
        self.name, self._picture = name, picture
        self.bytes_on_wire = 0
        self._client = SubgoalClient(*addresses, keys=keys)
        self._client.wait_ready(_PATIENCE_S)
        self._frame = np.zeros((32, 32, 3), np.uint8)

    def burst(self, count: int, pause_s: float) -> Times:
        task_id = self._client.submit(self._frame, burst_task(count, pause_s))
        times: Times = []
        for goal in self._client.subgoals(task_id, deadline_s=_PATIENCE_S + count * pause_s):
            times.append((goal.message.seed, time.monotonic_ns()))
        assert goal.image is not None and goal.message.image is not None
        check(goal.image, self._picture)
        size = goal.message.image.size_bytes
        header = encode(goal.message, bytes(size))[1]
        self.bytes_on_wire = zmtp_bytes([len(b"subgoal"), len(header), size])
        if len(times) != count:
            raise TransportError(f"{len(times)} of {count} subgoals came")
        return times

    def close(self) -> None:
        self._client.close()


class GrootPath:
    """A REP socket, as GR00T's server has it; the next request waits for the answer to the last."""

    name = "groot_style"

    def __init__(self, context: Any, order: Order, picture: Image) -> None:
        self._order, self._picture = order, picture
        self.bytes_on_wire = 0
        self._socket = context.socket(zmq.REP)
        self._socket.bind("tcp://127.0.0.1:*")
        self.address = str(self._socket.getsockopt_string(zmq.LAST_ENDPOINT))

    def burst(self, count: int, pause_s: float) -> Times:
        self._order(self.name, count, pause_s)
        times: Times = []
        for _ in range(count):
            data = self._socket.recv(copy=False).buffer
            sent_ns, image = unpack_groot_style(data)
            times.append((sent_ns, time.monotonic_ns()))
            self._socket.send(GROOT_REPLY)
        check(image, self._picture)
        self.bytes_on_wire = zmtp_bytes([0, len(data)])
        return times

    def close(self) -> None:
        self._socket.close(linger=0)


class WebSocketServer:
    """Takes both WebSocket paths on one port, each in a thread of its own."""

    def __init__(self, stack: ExitStack) -> None:
        from websockets.sync.server import serve

        self.items: queue.SimpleQueue[tuple[int, int, Image, int]] = queue.SimpleQueue()
        server = serve(self._handle, "127.0.0.1", 0, compression=None, max_size=None)
        self.address = f"ws://127.0.0.1:{server.socket.getsockname()[1]}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        stack.callback(server.shutdown)

    def _handle(self, connection: Any) -> None:
        openpi = connection.request.path == "/openpi"
        for data in closing_quietly(connection):
            sent_ns, image = unpack_openpi_style(data) if openpi else unpack_rosbridge_style(data)
            self.items.put((sent_ns, time.monotonic_ns(), image, websocket_bytes(len(data), masked=True)))
            if openpi:
                connection.send(OPENPI_REPLY)


def closing_quietly(connection: Any) -> Iterator[Any]:
    """The connection's messages; its end is no error, however abrupt: the sender is killed when all is measured."""
    from websockets.exceptions import ConnectionClosed

    with contextlib.suppress(ConnectionClosed):
        yield from connection


class WebSocketPath:
    """openpi's observations (each answered), or rosbridge's pictures."""

    def __init__(self, name: str, server: WebSocketServer, order: Order, picture: Image) -> None:
        self.name, self._server, self._order, self._picture = name, server, order, picture
        self.bytes_on_wire = 0

    def burst(self, count: int, pause_s: float) -> Times:
        self._order(self.name, count, pause_s)
        times: Times = []
        for _ in range(count):
            sent_ns, here_ns, image, self.bytes_on_wire = self._server.items.get(timeout=_PATIENCE_S)
            times.append((sent_ns, here_ns))
        check(image, self._picture)
        return times

    def close(self) -> None:
        """The server is the runner's."""
