"""The sync client's sockets: the stream in, requests out. What it does with them is decided elsewhere."""

from __future__ import annotations

import time
from typing import Any, TypeVar

import zmq

from itk_embodied.bridges.client_exchange import Answer, Exchange
from itk_embodied.bridges.client_link import LinkRules
from itk_embodied.bridges.codec import Part, Received, WireVersionError, decode
from itk_embodied.bridges.sockets import connect, open_client_socket
from itk_embodied.bridges.wire import Reply, Request
from itk_embodied.errors import TransportError, WireError

R = TypeVar("R", bound=Reply)


class ClientSockets:
    """A SUB and a DEALER socket to one service. For one thread.

    Attributes:
        malformed: messages that could not be read; what they carried is asked for again.
        heard: whether anything has come over the stream since it was connected, so that all that follows will, too.
    """

    def __init__(self, rules: LinkRules) -> None:
        self.link_rules = rules
        self.malformed = 0
        self.heard = False
        self._context = zmq.Context()
        try:
            self._sub, self._dealer = self._open()
        except BaseException:
            self.close()
            raise

    @property
    def stream_address(self) -> str:
        return self.link_rules.stream

    @property
    def requests_address(self) -> str:
        return self.link_rules.requests

    @property
    def timeout_s(self) -> float:
        return self.link_rules.timeout_s

    @property
    def dead_after_s(self) -> float:
        return self.link_rules.dead_after_s

    def receive(self, until_s: float) -> Received | None:
        """The next message of the stream, before ``until_s`` (`time.monotonic`); None where none came.

        Raises:
            WireVersionError: the service speaks another version.
        """
        while True:
            try:
                # Read before polling: under load a message is there already, and polling costs as much as reading.
                received = decode([frame.buffer for frame in self._sub.recv_multipart(zmq.NOBLOCK, copy=False)])
                self.heard = True
                return received
            except zmq.Again:
                if not self._sub.poll(max(0, round((until_s - time.monotonic()) * 1000))):
                    return None
            except WireVersionError:
                raise
            except WireError:
                self.malformed += 1

    def skip_waiting(self) -> None:
        """Drop what has come before now. Whoever wanted some of it finds a gap, and asks for it."""
        for _ in range(10_000):
            try:
                self._sub.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return
            self.heard = True

    def reopen(self) -> None:
        """Connect anew: the other end may have vanished without a word, which no socket notices by itself."""
        self._sub.close(linger=0)
        self._dealer.close(linger=0)
        self.heard = False
        self._sub, self._dealer = self._open()

    def _open(self) -> tuple[Any, Any]:
        sub = open_client_socket(self._context, zmq.SUB)
        connect(sub, self.stream_address, self.link_rules.keys)
        sub.subscribe(b"")
        return sub, self._new_dealer()

    def _new_dealer(self) -> Any:
        dealer = open_client_socket(self._context, zmq.DEALER)
        connect(dealer, self.requests_address, self.link_rules.keys)
        return dealer

    def _request(
        self, request: Request, kind: type[R], budget_s: float | None = None, payload: Part = b""
    ) -> Answer[R]:
        """Send, wait, match the reply by its id. A request that was not answered leaves no trace behind."""
        budget_s = self.timeout_s if budget_s is None else budget_s
        exchange = Exchange(
            request, kind, self.requests_address, budget_s=budget_s, now_s=time.monotonic(), payload=payload
        )
        try:
            while True:
                if exchange.due(time.monotonic()):
                    self._send(exchange.parts)
                if not self._dealer.poll(max(0, round((exchange.wake_s - time.monotonic()) * 1000))):
                    continue
                parts = self._dealer.recv_multipart(copy=False)
                answer = exchange.take([frame.buffer for frame in parts])
                if answer is not None:
                    return answer
        except TransportError:
            self._dealer.close(linger=0)  # what is queued in it must not arrive after we gave up
            self._dealer = self._new_dealer()
            raise
        finally:
            self.malformed += exchange.malformed

    def _send(self, parts: list[Part]) -> None:
        try:
            self._dealer.send_multipart(parts, zmq.NOBLOCK)
        except zmq.Again:
            return  # the queue is full: the peer is gone or slow; the exchange sends again or gives up

    def close(self) -> None:
        """Close the sockets. May be called twice."""
        self._context.destroy(linger=0)
