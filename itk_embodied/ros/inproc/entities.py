"""What a node makes: publishers, subscriptions, timers, services, clients, guard conditions, futures."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

from itk_embodied.ros.inproc.graph import Graph, bounded
from itk_embodied.ros.inproc.qos import QoSProfile

Work: TypeAlias = Callable[[], None]


class Waitable(Protocol):
    """Something an executor waits for."""

    def take(self, now_s: float) -> Work | None:
        """What there is to do now, taken off its queue; None where there is nothing."""
        ...

    def due_s(self) -> float | None:
        """When there will be something to do, where that is known."""
        ...


class Future:
    """An answer to come, shaped as ``rclpy.task.Future``."""

    def __init__(self, graph: Graph | None = None) -> None:
        self._graph = graph
        self._lock = threading.Lock()
        self._done = False
        self._cancelled = False
        self._result: Any = None
        self._exception: Exception | None = None
        self._callbacks: list[Callable[[Future], None]] = []

    def done(self) -> bool:
        return self._done

    def cancelled(self) -> bool:
        return self._cancelled

    def cancel(self) -> None:
        if not self._done:
            self._cancelled = True
            self._finish()

    def result(self) -> Any:
        """The answer; None while there is none. Raises what the callback raised."""
        if self._exception is not None:
            raise self._exception
        return self._result

    def exception(self) -> Exception | None:
        return self._exception

    def set_result(self, result: Any) -> None:
        self._result = result
        self._finish()

    def set_exception(self, exception: Exception) -> None:
        self._exception = exception
        self._finish()

    def add_done_callback(self, callback: Callable[[Future], None]) -> None:
        with self._lock:
            if not self._done:
                self._callbacks.append(callback)
                return
        callback(self)

    def _finish(self) -> None:
        with self._lock:
            self._done = True
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback(self)
        if self._graph is not None:
            self._graph.wake()


class Publisher:
    """Publishes messages of one type on one topic."""

    def __init__(self, graph: Graph, msg_type: type[Any], topic: str, qos: QoSProfile) -> None:
        self.msg_type = msg_type
        self.topic_name = topic
        self.topic = topic
        self.qos_profile = qos
        self.kept: deque[Any] = bounded(qos)
        self._graph = graph
        self._destroyed = False
        graph.add_publisher(self)

    def publish(self, msg: Any) -> None:
        if self._destroyed:
            raise RuntimeError(f"the publisher on {self.topic_name} was destroyed")
        if type(msg) is not self.msg_type:
            raise TypeError(f"Expected {self.msg_type}, got {type(msg)}")
        self._graph.publish(self, msg)

    def get_subscription_count(self) -> int:
        return self._graph.subscription_count(self)

    def destroy(self) -> None:
        self._destroyed = True
        self._graph.remove(self)


class Subscription:
    """Calls back with each message of a topic, in the executor."""

    def __init__(
        self, graph: Graph, msg_type: type[Any], topic: str, callback: Callable[[Any], Any], qos: QoSProfile
    ) -> None:
        self.msg_type = msg_type
        self.topic_name = topic
        self.topic = topic
        self.qos_profile = qos
        self.callback = callback
        self.queue: deque[Any] = bounded(qos)
        self._graph = graph
        graph.add_subscription(self)

    def take(self, now_s: float) -> Work | None:
        if not self.queue:
            return None
        message = self.queue.popleft()
        return lambda: self._graph.deliver(self, message)

    def due_s(self) -> float | None:
        return None

    def get_publisher_count(self) -> int:
        return self._graph.publisher_count(self)

    def destroy(self) -> None:
        self._graph.remove(self)


class Timer:
    """Calls back every ``period_s``; a late call is made once, not made up for."""

    def __init__(self, graph: Graph, period_s: float, callback: Callable[[], Any]) -> None:
        if period_s < 0:
            raise ValueError(f"a timer's period is {period_s} s; it must not be negative")
        self.timer_period_ns = round(period_s * 1e9)
        self.callback = callback
        self._graph = graph
        self._period_s = period_s
        self._next_s = time.monotonic() + period_s
        self._cancelled = False

    def take(self, now_s: float) -> Work | None:
        if not self.is_ready(now_s):
            return None
        self._next_s = max(self._next_s + self._period_s, now_s)
        return self.callback

    def due_s(self) -> float | None:
        return None if self._cancelled else self._next_s

    def is_ready(self, now_s: float | None = None) -> bool:
        return not self._cancelled and (time.monotonic() if now_s is None else now_s) >= self._next_s

    def cancel(self) -> None:
        self._cancelled = True

    def is_canceled(self) -> bool:
        return self._cancelled

    def reset(self) -> None:
        self._cancelled = False
        self._next_s = time.monotonic() + self._period_s
        self._graph.wake()

    def time_until_next_call(self) -> int | None:
        """Nanoseconds."""
        return None if self._cancelled else round((self._next_s - time.monotonic()) * 1e9)

    def destroy(self) -> None:
        self._cancelled = True


class GuardCondition:
    """Calls back once in the executor after `trigger`, which any thread may call."""

    def __init__(self, graph: Graph, callback: Callable[[], Any]) -> None:
        self.callback = callback
        self._graph = graph
        self._triggered = False

    def trigger(self) -> None:
        with self._graph.changed:
            self._triggered = True
            self._graph.changed.notify_all()

    def take(self, now_s: float) -> Work | None:
        if not self._triggered:
            return None
        self._triggered = False
        return self.callback

    def due_s(self) -> float | None:
        return None

    def destroy(self) -> None:
        self._triggered = False


class Caller(Protocol):
    """Who called a service and waits for its answer."""

    def deliver(self, future: Future, response: Any) -> None: ...


class Service:
    """Answers requests: ``callback(request, response) -> response``, in the executor."""

    def __init__(self, graph: Graph, srv_type: Any, name: str, callback: Callable[[Any, Any], Any]) -> None:
        self.srv_type = srv_type
        self.srv_name = name
        self.callback = callback
        self.queue: deque[tuple[Any, Caller, Future]] = deque()
        self._graph = graph
        graph.add_service(self)

    def take(self, now_s: float) -> Work | None:
        if not self.queue:
            return None
        request, client, future = self.queue.popleft()
        return lambda: self._answer(request, client, future)

    def _answer(self, request: Any, client: Caller, future: Future) -> None:
        response = self.callback(request, self.srv_type.Response())
        if type(response) is not self.srv_type.Response:
            raise TypeError(f"Expected {self.srv_type.Response}, got {type(response)}")
        client.deliver(future, response)

    def due_s(self) -> float | None:
        return None

    def destroy(self) -> None:
        self._graph.remove(self)


class Client:
    """Calls a service; the answer arrives while the client's node is spun."""

    def __init__(self, graph: Graph, srv_type: Any, name: str) -> None:
        self.srv_type = srv_type
        self.srv_name = name
        self._graph = graph
        self._answers: deque[tuple[Future, Any]] = deque()
        graph.add_client(self)

    def service_is_ready(self) -> bool:
        return self._graph.service_for(self) is not None

    def wait_for_service(self, timeout_sec: float | None = None) -> bool:
        ends_s = None if timeout_sec is None else time.monotonic() + timeout_sec
        with self._graph.changed:
            while not self.service_is_ready():
                left_s = None if ends_s is None else ends_s - time.monotonic()
                if left_s is not None and left_s <= 0:
                    return False
                self._graph.changed.wait(left_s)
        return True

    def call_async(self, request: Any) -> Future:
        if type(request) is not self.srv_type.Request:
            raise TypeError(f"Expected {self.srv_type.Request}, got {type(request)}")
        future = Future(self._graph)
        self._graph.call(self, request, future)
        return future

    def deliver(self, future: Future, response: Any) -> None:
        with self._graph.changed:
            self._answers.append((future, response))
            self._graph.changed.notify_all()

    def take(self, now_s: float) -> Work | None:
        if not self._answers:
            return None
        future, response = self._answers.popleft()
        if isinstance(response, Exception):
            return lambda: future.set_exception(response)
        return lambda: future.set_result(response)

    def due_s(self) -> float | None:
        return None

    def destroy(self) -> None:
        self._graph.remove(self)
