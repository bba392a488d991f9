"""The sending process. Prints its addresses as JSON, then sends bursts: one line on stdin each, ``PATH COUNT PAUSE_S``.

Our own service needs no line: a task submitted by the client is its order for a burst.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import zmq

from itk_embodied.bridges.bench.burst import BurstWorker
from itk_embodied.bridges.bench.styles import (
    pack_bare,
    pack_groot_style,
    pack_openpi_style,
    pack_rosbridge_style,
    sample_picture,
)
from itk_embodied.bridges.gate import Guard
from itk_embodied.bridges.keys import AllowList, load_pair
from itk_embodied.bridges.wire import Encoding
from itk_embodied.service import ServiceConfig, SubgoalService
from itk_embodied.types import Image

HWM = 256
"""Messages that may wait on a path; several bursts, so that no path loses any."""
SERVICES: dict[str, Encoding] = {"itk": "raw", "itk_curve": "raw", "itk_jpeg": "jpeg", "itk_png": "png"}
"""Our own service, four times; ``itk_curve`` encrypts and lets in the one client whose key it was given."""
Send = Callable[[Image], None]


def bare_publisher(context: Any, keys: tuple[bytes, bytes] | None = None) -> tuple[Any, str]:
    socket = context.socket(zmq.PUB)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.SNDHWM, HWM)
    if keys:
        socket.curve_publickey, socket.curve_secretkey = keys
        socket.curve_server = True
    socket.bind("tcp://127.0.0.1:*")
    return socket, str(socket.getsockopt_string(zmq.LAST_ENDPOINT))


def main() -> None:
    there = json.loads(sys.argv[1])
    image = sample_picture()
    addresses: dict[str, Any] = {}
    sends: dict[str, Send] = {}
    with ExitStack() as stack:
        context = zmq.Context()
        stack.callback(context.destroy, linger=0)
        keys = zmq.curve_keypair()
        addresses["curve_key"] = keys[0].decode()
        for name, curve in (("pyzmq", None), ("pyzmq_curve", keys)):
            socket, addresses[name] = bare_publisher(context, curve)
            sends[name] = lambda image, socket=socket: socket.send_multipart(  # type: ignore[misc]
                pack_bare(image, time.monotonic_ns()), copy=False
            )
        guard = Guard(load_pair(there["service_key"]), AllowList(there["allowed"]))
        for name, encoding in SERVICES.items():
            config = ServiceConfig(
                "tcp://127.0.0.1:0",
                "tcp://127.0.0.1:0",
                encoding=encoding,
                hwm=HWM,
                keep_tasks=1,
                guard=guard if name == "itk_curve" else None,
            )
            service = stack.enter_context(SubgoalService(BurstWorker(image, encoding), config))
            addresses[name] = [service.stream_address, service.requests_address]
        request = context.socket(zmq.REQ)
        request.connect(there["groot"])

        def groot(image: Image) -> None:
            request.send(pack_groot_style(image, time.monotonic_ns()), copy=False)
            request.recv()

        sends["groot_style"] = groot
        if "websocket" in there:
            sends.update(websockets(there["websocket"], stack))
        print(json.dumps(addresses), flush=True)
        serve(sends, image)


def websockets(address: str, stack: ExitStack) -> dict[str, Send]:
    from websockets.sync.client import connect

    options: dict[str, Any] = {"compression": None, "max_size": None, "proxy": None}
    openpi_socket = stack.enter_context(connect(f"{address}/openpi", **options))
    rosbridge_socket = stack.enter_context(connect(f"{address}/rosbridge", **options))

    def openpi(image: Image) -> None:
        openpi_socket.send(pack_openpi_style(image, time.monotonic_ns()))
        openpi_socket.recv()

    def rosbridge(image: Image) -> None:
        rosbridge_socket.send(pack_rosbridge_style(image, time.monotonic_ns()))

    return {"openpi_style": openpi, "rosbridge_style": rosbridge}


def serve(sends: dict[str, Send], image: Image) -> None:
    for line in sys.stdin:
        name, count, pause_s = line.split()
        for _ in range(int(count)):
            sends[name](image)
            if float(pause_s):
                time.sleep(float(pause_s))


if __name__ == "__main__":
    main()
