"""Runs callbacks one at a time, shaped as ``rclpy.executors.SingleThreadedExecutor``."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from itk_embodied.ros.inproc.context import Context, get_default_context
from itk_embodied.ros.inproc.entities import Future, Waitable, Work

if TYPE_CHECKING:
    from itk_embodied.ros.inproc.node import Node


class ExternalShutdownException(Exception):
    """The context was shut down while something was spinning."""

    def __init__(self) -> None:
        super().__init__("The ROS context was shut down from outside")


class SingleThreadedExecutor:
    """Takes turns between everything its nodes wait for, so that a busy topic starves no other."""

    def __init__(self, *, context: Context | None = None) -> None:
        self._context = context or get_default_context()
        self._nodes: list[Node] = []
        self._last_turn: dict[int, int] = {}
        self._turn = 0
        self._shutdown = False

    @property
    def context(self) -> Context:
        return self._context

    def add_node(self, node: Node) -> bool:
        if node in self._nodes:
            return False
        if node.executor is not None:
            node.executor.remove_node(node)
        self._nodes.append(node)
        node.executor = self
        self.wake()
        return True

    def remove_node(self, node: Node) -> None:
        if node in self._nodes:
            self._nodes.remove(node)
            node.executor = None
            self.wake()

    def get_nodes(self) -> list[Node]:
        return list(self._nodes)

    def wake(self) -> None:
        self._context.graph.wake()

    def shutdown(self, timeout_sec: float | None = None) -> bool:
        self._shutdown = True
        for node in self.get_nodes():
            self.remove_node(node)
        self.wake()
        return True

    def spin(self) -> None:
        """Until the executor or the context is shut down."""
        while self._context.ok() and not self._shutdown:
            self.spin_once()

    def spin_once(self, timeout_sec: float | None = None) -> None:
        """Run one callback, waiting for one up to ``timeout_sec`` (None: for ever, 0: not at all)."""
        work = self._next(timeout_sec, lambda: False)
        if work is not None:
            work()

    def spin_until_future_complete(self, future: Future, timeout_sec: float | None = None) -> None:
        ends_s = None if timeout_sec is None else time.monotonic() + timeout_sec
        while not future.done() and self._context.ok() and not self._shutdown:
            left_s = None if ends_s is None else ends_s - time.monotonic()
            if left_s is not None and left_s <= 0:
                return
            work = self._next(left_s, future.done)
            if work is not None:
                work()

    def _next(self, timeout_sec: float | None, enough: Callable[[], bool]) -> Work | None:
        if timeout_sec is not None and timeout_sec < 0:
            timeout_sec = None  # as rclpy: a negative timeout waits for ever
        ends_s = None if timeout_sec is None else time.monotonic() + timeout_sec
        graph = self._context.graph
        with graph.changed:
            while True:
                if not self._context.ok():
                    raise ExternalShutdownException
                now_s = time.monotonic()
                work = self._take(now_s)
                if work is not None or self._shutdown or enough():
                    return work
                if ends_s is not None and now_s >= ends_s:
                    return None
                due_s = [due for waitable in self._waitables() if (due := waitable.due_s()) is not None]
                until_s = min([*due_s, *([] if ends_s is None else [ends_s])], default=None)
                graph.changed.wait(None if until_s is None else max(0.0, until_s - now_s))

    def _waitables(self) -> list[Waitable]:
        return [waitable for node in self._nodes for waitable in node.waitables]

    def _take(self, now_s: float) -> Work | None:
        waitables = self._waitables()
        known = self._last_turn
        for waitable in sorted(waitables, key=lambda item: known.get(id(item), 0)):
            work = waitable.take(now_s)
            if work is not None:
                self._turn += 1
                self._last_turn = {id(item): known.get(id(item), 0) for item in waitables}
                self._last_turn[id(waitable)] = self._turn
                return work
        return None

    def __enter__(self) -> SingleThreadedExecutor:
        return self

    def __exit__(self, *exception: Any) -> None:
        self.shutdown()
