"""Start and end of it all, shaped as ``rclpy.context``."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence

from itk_embodied.ros.arguments import RosArguments, parse
from itk_embodied.ros.inproc.graph import Graph


class Context:
    """Everything between ``init`` and ``shutdown``: one graph, one set of global arguments."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ok = False
        self._on_shutdown: list[Callable[[], None]] = []
        self.graph = Graph()
        self.arguments = RosArguments()

    def init(self, args: Sequence[str] | None = None, graph: Callable[[], Graph] = Graph) -> None:
        with self._lock:
            if self._ok:
                raise RuntimeError("Context.init() must only be called once")
            self.arguments = parse(sys.argv if args is None else args)
            self.graph = graph()
            self._ok = True

    def ok(self) -> bool:
        return self._ok

    def shutdown(self) -> None:
        if not self.try_shutdown():
            raise RuntimeError("Context must be initialized before it can be shutdown")

    def try_shutdown(self) -> bool:
        with self._lock:
            if not self._ok:
                return False
            self._ok = False
            callbacks, self._on_shutdown = self._on_shutdown, []
        for callback in callbacks:
            callback()
        self.graph.wake()
        self.graph.close()
        return True

    def on_shutdown(self, callback: Callable[[], None]) -> None:
        self._on_shutdown.append(callback)


_default = Context()


def get_default_context() -> Context:
    return _default
