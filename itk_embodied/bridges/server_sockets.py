"""The service's sockets: PUB for the stream, ROUTER for requests, and the gate before both where keys are used."""

from __future__ import annotations

import time
from typing import Any

import zmq

from itk_embodied.bridges.gate import Gate, Guard
from itk_embodied.bridges.sockets import bind, open_socket
from itk_embodied.errors import TransportError

_REQUESTS_HWM = 8  # requests one client may have waiting; each may carry a whole frame
_REBIND_S = 2.0
_WHAT = "the subgoal service"


class ServerSockets:
    """Opened by whoever makes the service, used by its I/O thread alone."""

    def __init__(self, stream: str, requests: str, *, hwm: int, guard: Guard | None) -> None:
        self._context = zmq.Context()
        self._hwm, self._guard = hwm, guard
        self.gate: Gate | None = None
        try:
            if guard is not None:
                self.gate = Gate(self._context, guard)
            self.pub, self.router = self._open()
            self.stream_address = bind(self.pub, stream, what=_WHAT, guard=guard)
            self.requests_address = bind(self.router, requests, what=_WHAT, guard=guard)
        except BaseException:
            self._context.destroy(linger=0)
            raise

    def _open(self) -> tuple[Any, Any]:
        pub = open_socket(self._context, zmq.PUB, hwm=self._hwm)
        router = open_socket(self._context, zmq.ROUTER, hwm=_REQUESTS_HWM)
        router.setsockopt(zmq.SNDHWM, self._hwm)
        router.setsockopt(zmq.ROUTER_MANDATORY, 1)  # a reply that cannot be sent is an error, and counted
        return pub, router

    def reopen(self) -> None:
        """Cut every connection. Clients come back within a second, through the gate, and ask for what they missed."""
        for socket in (self.pub, self.router):
            socket.close(linger=0)
        self.pub, self.router = self._open()
        for socket, address in ((self.pub, self.stream_address), (self.router, self.requests_address)):
            self._bind_again(socket, address)

    def _bind_again(self, socket: Any, address: str) -> None:
        """ZeroMQ closes the old listener in the background, so that its port is free only a moment later."""
        ends_s = time.monotonic() + _REBIND_S
        while True:
            try:
                bind(socket, address, what=_WHAT, guard=self._guard)
                return
            except TransportError:
                if time.monotonic() > ends_s:
                    raise
                time.sleep(0.005)

    def close(self, linger_ms: int) -> None:
        """Close; the last messages get ``linger_ms`` to leave."""
        if self.gate is not None:
            self.gate.close()
        for socket in (self.pub, self.router):
            socket.close(linger=linger_ms)
        self._context.term()  # waits at most for the sockets' linger time
