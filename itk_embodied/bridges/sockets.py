"""Addresses and sockets: loopback or CURVE, bounded queues, bounded messages, and errors that say what to do."""

from __future__ import annotations

import errno
import ipaddress
import re
from typing import Any

import zmq

from itk_embodied.bridges.gate import Guard
from itk_embodied.bridges.keys import ClientKeys
from itk_embodied.bridges.wire import MAX_PAYLOAD_BYTES
from itk_embodied.errors import ConfigError, TransportError

DEFAULT_STREAM = "tcp://127.0.0.1:5591"
"""Where the service publishes (PUB)."""
DEFAULT_REQUESTS = "tcp://127.0.0.1:5592"
"""Where the service takes requests (ROUTER)."""
DEFAULT_FRAMES = "tcp://127.0.0.1:5593"
"""Where a camera publishes its frames (PUB)."""

HEARTBEAT_S = 1.0
DEAD_AFTER_S = 3.0

_TCP = re.compile(r"^tcp://(?P<host>\[[0-9A-Fa-f:.]+\]|[^:/\[\]]+):(?P<port>\d{1,5}|\*)$")


def check_address(address: str, *, secured: bool = False) -> str:
    """Return the address if it is a loopback one: ``tcp://127.0.0.1:5591``, ``tcp://localhost:5591``, ``ipc://…``.

    ``secured``: the connection uses CURVE keys, so that any address will do. ``localhost`` becomes 127.0.0.1: services
    bind to IPv4, and some systems resolve the name to IPv6 first.

    Raises:
        ConfigError: not an address, or one that other machines could reach.
    """
    if address.startswith(("ipc://", "inproc://")) and len(address) > len("inproc://"):
        return address
    match = _TCP.match(address)
    if match is None or (match["port"] != "*" and int(match["port"]) > 65535):
        raise ConfigError(f"address {address!r} is not understood; write it like {DEFAULT_STREAM} (port 0: any free).")
    if not secured and not _is_loopback(match["host"].strip("[]")):
        raise ConfigError(
            f"address {address!r} can be reached from other machines, and this connection is neither encrypted nor "
            "authenticated. Give CURVE keys (`itk-embodied keys new` makes them), or use a loopback address "
            "(tcp://127.0.0.1:PORT) and an SSH tunnel where another machine needs it."
        )
    return address.replace("//localhost:", "//127.0.0.1:")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def open_socket(context: zmq.Context[Any], kind: int, *, hwm: int, max_bytes: int = MAX_PAYLOAD_BYTES) -> Any:
    """A socket that never blocks its process's exit, queues at most ``hwm`` messages, and refuses larger frames."""
    socket = context.socket(kind)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.SNDHWM, hwm)
    socket.setsockopt(zmq.RCVHWM, hwm)
    socket.setsockopt(zmq.MAXMSGSIZE, max_bytes)
    socket.setsockopt(zmq.RECONNECT_IVL, 100)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, 2000)
    return socket


_CLIENT_HWM = 32  # messages; a client that does not read loses some, asks for them again, and costs no memory


def open_client_socket(context: zmq.Context[Any], kind: int) -> Any:
    """A client's socket: a peer that vanished without a word is noticed by the system, and connected to again.

    Not by ZeroMQ's own heartbeats: together with a bounded queue they abort the process of a client that does not read
    for a while (libzmq issues 3937, 4767). Our heartbeats tell sooner anyway.
    """
    socket = open_socket(context, kind, hwm=_CLIENT_HWM)
    socket.setsockopt(zmq.TCP_KEEPALIVE, 1)
    socket.setsockopt(zmq.TCP_KEEPALIVE_IDLE, 10)
    socket.setsockopt(zmq.TCP_KEEPALIVE_INTVL, round(DEAD_AFTER_S))
    socket.setsockopt(zmq.TCP_KEEPALIVE_CNT, 3)
    socket.setsockopt(zmq.CONNECT_TIMEOUT, round(DEAD_AFTER_S * 1000))
    return socket


def bind(socket: Any, address: str, *, what: str, guard: Guard | None = None) -> str:
    """Bind and return the real address, its port filled in; with ``guard``, for its allowed clients only.

    Raises:
        ConfigError: not a loopback address, and no guard.
        TransportError: the port is taken, or the system refuses.
    """
    address = check_address(address, secured=guard is not None)
    if guard is not None:
        guard.secure(socket)
    try:
        socket.bind(re.sub(r":0$", ":*", address) if address.startswith("tcp://") else address)
    except zmq.ZMQError as error:
        if error.errno == errno.EADDRINUSE:
            raise TransportError(
                f"{what} cannot listen at {address}: another process has that port. Stop it (`ss -ltnp` shows which), "
                "or give another port; 0 takes any free one."
            ) from error
        raise TransportError(f"{what} cannot listen at {address}: {error}. Give another address.") from error
    return str(socket.getsockopt_string(zmq.LAST_ENDPOINT))


def connect(socket: Any, address: str, keys: ClientKeys | None = None) -> None:
    """Connect (ZeroMQ does it in the background, again and again); with ``keys``, by CURVE.

    Raises:
        ConfigError: not a loopback address, and no keys.
    """
    address = check_address(address, secured=keys is not None)
    if keys is not None:
        socket.setsockopt_string(zmq.CURVE_SERVERKEY, keys.service)
        socket.setsockopt_string(zmq.CURVE_PUBLICKEY, keys.own.public)
        socket.setsockopt_string(zmq.CURVE_SECRETKEY, keys.own.secret)
    try:
        socket.connect(address)
    except zmq.ZMQError as error:
        raise ConfigError(f"cannot connect to {address!r}: {error}. Write it like {DEFAULT_STREAM}.") from error
