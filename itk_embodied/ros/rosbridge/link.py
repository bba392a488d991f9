"""The WebSocket to the rosbridge: roslibpy's asyncio transport, with a deadline for the start and reconnection after.

Only roslibpy's connection and event loop are used: what goes over them is encoded and decoded by `msgspec`, and
compression is off (base64 of JPEG hardly shrinks, and deflating it costs more than sending it).
"""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable
from typing import Any

from itk_embodied.errors import MissingDependencyError, TransportError
from itk_embodied.ros.rosbridge.options import BridgeOptions

log = logging.getLogger("ros.rosbridge")

_FIRST_RETRY_S, _REMIND_S, _CLOSE_S = 0.2, 10.0, 3.0
_PING_S, _PONG_S = 5.0, 10.0
MAX_BACKLOG = 8 << 20
"""Bytes that may wait for a slow bridge before frames are dropped."""


class Link:
    """One connection. ``on_ready``, ``on_lost`` and ``on_message`` are called in its thread.

    Raises:
        MissingDependencyError: roslibpy is not installed.
    """

    def __init__(
        self,
        options: BridgeOptions,
        on_ready: Callable[[], None],
        on_lost: Callable[[], None],
        on_message: Callable[[bytes], None],
    ) -> None:
        self.options = options
        self._on_ready, self._on_lost = on_ready, on_lost
        self._ready = threading.Event()
        self._lost = threading.Event()
        self._closing = False
        self._protocol: Any = None
        self._factory = _factory(options, on_message)
        self._factory.on("ready", self._opened)
        self._factory.on("close", self._closed)

    def open(self) -> None:
        """Connect, or say why not within ``wait_s``.

        Raises:
            TransportError: nobody answered.
        """
        self._factory.connect()
        if self._ready.wait(self.options.wait_s):
            return
        self._closing = True
        self._factory.maxRetries = 0
        raise TransportError(
            f"no rosbridge answers at {self.options.url} (host {self.options.host}, port {self.options.port}): tried "
            f"for {self.options.wait_s:g} s, {self._why()}. Start one there (ROS 2: ros2 launch rosbridge_server "
            "rosbridge_websocket_launch.xml; without a ROS installation: tools/rosbridge.sh), or name another with "
            "--bridge ws://HOST:PORT or ITK_ROSBRIDGE_URL."
        )

    def _why(self) -> str:
        try:
            with socket.create_connection((self.options.host, self.options.port), timeout=2.0):
                return "something listens there but does not speak WebSocket as a rosbridge does"
        except OSError as error:
            return f"the last error was: {error.strerror or error}"

    def _opened(self, protocol: Any) -> None:
        again = self._lost.is_set()
        self._lost.clear()
        self._protocol = protocol
        self._on_ready()
        self._ready.set()
        log.log(logging.WARNING if again else logging.INFO, "rosbridge at %s is %s", self.options.url,
                "back; topics and services are made again" if again else "connected")  # fmt: skip

    def _closed(self, protocol: Any) -> None:
        self._protocol = None
        self._on_lost()
        self._lost.set()
        if not self._closing:
            log.warning(
                "rosbridge at %s was lost; trying again, at least every %g s", self.options.url,
                self.options.slowest_retry_s,
            )  # fmt: skip
            self._later(_REMIND_S, self._remind)

    def _remind(self) -> None:
        if self._protocol is None and not self._closing:
            log.warning("rosbridge at %s is still away; nothing gets in or out", self.options.url)
            self._later(_REMIND_S, self._remind)

    def _later(self, delay_s: float, call: Callable[[], None]) -> None:
        self._factory.manager.loop.call_later(delay_s, call)

    def later(self, delay_s: float, call: Callable[[], None]) -> None:
        """Call back in the link's thread; from any thread."""
        self._factory.manager.loop.call_soon_threadsafe(self._later, delay_s, call)

    def send(self, frame: bytes) -> bool:
        """Queue a frame, in order; False while the bridge is away."""
        protocol = self._protocol
        if protocol is None:
            return False
        protocol.send_message(frame)
        return True

    def backlog(self) -> int:
        """Bytes that the bridge has not taken yet."""
        protocol = self._protocol
        transport = getattr(protocol, "transport", None)
        return protocol.queued + transport.get_write_buffer_size() if transport is not None else 0

    def close(self) -> None:
        """Send what is queued, then close."""
        self._closing = True
        self._factory.maxRetries = 0
        protocol = self._protocol
        if protocol is not None:
            protocol.send_close()
            self._lost.wait(_CLOSE_S)


def _factory(options: BridgeOptions, on_message: Callable[[bytes], None]) -> Any:
    try:
        from roslibpy.comm.comm_asyncio import AsyncioRosBridgeClientFactory, AsyncioRosBridgeProtocol
    except ImportError as error:
        raise MissingDependencyError(
            f"the rosbridge backend needs roslibpy 2.1 or newer ({error}): pip install 'itk-embodied[rosbridge]'"
        ) from error

    class Protocol(AsyncioRosBridgeProtocol):  # type: ignore[misc]
        queued = 0

        def send_message(self, payload: bytes) -> None:
            self.queued += len(payload)
            super().send_message(payload)

        def sendMessage(self, payload: bytes, **kinds: Any) -> None:
            self.queued -= len(payload)
            super().sendMessage(payload, **kinds)

        def onMessage(self, payload: bytes, isBinary: bool) -> None:
            try:
                on_message(payload)
            except Exception:
                log.exception("a message from the rosbridge was skipped")

    class Factory(AsyncioRosBridgeClientFactory):  # type: ignore[misc]
        protocol = Protocol
        initialDelay = _FIRST_RETRY_S
        factor = 2.0
        maxDelay = options.slowest_retry_s
        compression = None

    logging.getLogger("roslibpy").setLevel(logging.ERROR)  # its own lines repeat ours
    factory = Factory(options.url)
    factory.setProtocolOptions(autoPingInterval=_PING_S, autoPingTimeout=_PONG_S, openHandshakeTimeout=_PING_S)
    factory.setProtocolOptions(utf8validateIncoming=False)  # decoding validates it
    return factory
