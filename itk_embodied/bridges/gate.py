"""Who may connect: the service's answer to ZeroMQ's question (ZAP, RFC 27) when a client shows its CURVE key."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import Any

import zmq
from zmq.utils import z85

from itk_embodied.bridges.keys import AllowList, KeyPair

log = logging.getLogger(__name__)

_ASK = "inproc://zeromq.zap.01"  # where ZeroMQ asks, by its specification
_HANDSHAKE_MS = 5000  # somebody who connects and says nothing is cut off after that
_LOG_EVERY_S = 10.0


@dataclass(frozen=True)
class Guard:
    """The service's own key, and who is let in."""

    own: KeyPair
    allowed: AllowList

    def secure(self, socket: Any) -> None:
        """Make a socket, not bound yet, speak CURVE only."""
        socket.setsockopt(zmq.CURVE_SERVER, 1)
        socket.setsockopt_string(zmq.CURVE_SECRETKEY, self.own.secret)
        socket.setsockopt_string(zmq.CURVE_PUBLICKEY, self.own.public)
        socket.setsockopt_string(zmq.ZAP_DOMAIN, "itk-embodied")
        socket.setsockopt(zmq.HANDSHAKE_IVL, _HANDSHAKE_MS)


class Gate:
    """Answers ZeroMQ's questions in the I/O thread; owns one socket in the service's context."""

    def __init__(self, context: zmq.Context[Any], guard: Guard) -> None:
        self.socket: Any = context.socket(zmq.REP)
        self.socket.linger = 0
        self.socket.bind(_ASK)
        self.refused = 0
        self._guard = guard
        self._admitted: set[str] = set()
        self._logged_s = float("-inf")

    def serve_waiting(self) -> None:
        """Answer every question that has come."""
        while True:
            try:
                question = self.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            self.socket.send_multipart(self._answer(question))

    def shut_out(self) -> bool:
        """Whether somebody who was let in is allowed no longer; all who are connected must then ask anew."""
        gone = self._admitted - set(self._guard.allowed.keys().values())
        self._admitted -= gone
        return bool(gone)

    def _answer(self, question: list[bytes]) -> list[bytes]:
        request_id = question[1] if len(question) > 1 else b""
        if len(question) == 7 and question[0] == b"1.0" and question[5] == b"CURVE" and len(question[6]) == 32:
            public = z85.encode(question[6]).decode()
            if self._guard.allowed.admits(public):
                self._admitted.add(public)
                return [b"1.0", request_id, b"200", b"OK", public.encode(), b""]
        self._refuse(question[3].decode(errors="replace") if len(question) > 3 else "?")
        return [b"1.0", request_id, b"400", b"not allowed", b"", b""]

    def _refuse(self, address: str) -> None:
        self.refused += 1
        now_s = time.monotonic()
        if now_s - self._logged_s >= _LOG_EVERY_S:  # one who knocks for ever must not fill the log
            self._logged_s = now_s
            log.warning("a client at %s was refused: its key is not allowed (%d so far)", address, self.refused)

    def close(self) -> None:
        self.socket.close(linger=0)
