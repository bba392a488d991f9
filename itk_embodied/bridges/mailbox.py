"""Hands values from any thread to the one thread that polls sockets, and wakes it."""

from __future__ import annotations

import contextlib
import socket
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Mailbox(Generic[T]):
    """A queue with a file descriptor that is readable while something is in it."""

    def __init__(self) -> None:
        self._items: deque[T] = deque()
        self._read, self._write = socket.socketpair()
        self._read.setblocking(False)
        self._write.setblocking(False)
        self._closed = False

    def fileno(self) -> int:
        return self._read.fileno()

    def put(self, item: T) -> None:
        """Never blocks. After `close` the item is dropped."""
        if self._closed:
            return
        self._items.append(item)
        # A full buffer means that the reader has been woken already; a closed one, that nobody reads any more.
        with contextlib.suppress(OSError):
            self._write.send(b"\0")

    def take_all(self) -> list[T]:
        """Everything that is in it, oldest first."""
        with contextlib.suppress(BlockingIOError):
            self._read.recv(4096)  # what is left over, if ever, wakes the reader once more
        items = []
        while self._items:
            items.append(self._items.popleft())
        return items

    def close(self) -> None:
        self._closed = True
        self._read.close()
        self._write.close()
