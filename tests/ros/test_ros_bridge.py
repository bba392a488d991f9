"""The rosbridge backend and a bridge that refuses, goes away and comes back: one process, a real bridge."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ros_world import HOW, RealBridge, have_ros

from itk_embodied import ros
from itk_embodied.errors import TransportError
from itk_embodied.ros.rosbridge import BridgeOptions

pytestmark = pytest.mark.skipif(not have_ros(), reason=HOW)
BUDGET_S = 15.0
STRING, TRIGGER = "std_msgs/msg/String", "std_srvs/srv/Trigger"


@pytest.fixture
def bridge() -> Iterator[RealBridge]:
    with RealBridge() as bridge:
        backend: Any = ros.use_backend("rosbridge")
        backend.options = BridgeOptions(bridge.url)
        ros.init(args=[])
        yield bridge
        ros.try_shutdown()
        ros.use_backend("inproc")  # what other tests in this process expect


@pytest.fixture
def until(bridge: RealBridge) -> Iterator[Callable[[Any, Callable[[], Any]], bool]]:
    executor = ros.SingleThreadedExecutor()

    def spin(node: Any, condition: Callable[[], Any]) -> bool:
        executor.add_node(node)
        ends_s = time.monotonic() + BUDGET_S
        while not condition():
            if time.monotonic() > ends_s:
                return False
            executor.spin_once(timeout_sec=0.02)
        return True

    yield spin
    executor.shutdown()


def test_another_type_on_a_topic_is_said(bridge: RealBridge, until: Any, caplog: pytest.LogCaptureFixture) -> None:
    node = ros.create_node("n")
    with caplog.at_level(logging.ERROR, logger="ros.rosbridge"):
        node.create_publisher(ros.message_type(STRING), "/words", 1)
        node.create_subscription(ros.message_type("std_msgs/msg/Empty"), "/words", lambda m: None, 1)
        assert until(node, lambda: "/words has another type" in caplog.text)
    assert "std_msgs/msg/String" in caplog.text


def test_everything_is_made_again_after_a_restart(bridge: RealBridge, until: Any) -> None:
    """Topics and services work again, and what was said meanwhile, reliably, is not lost."""
    node = ros.create_node("n")
    String, Trigger = ros.message_type(STRING), ros.message_type(TRIGGER)
    got: list[str] = []
    publisher = node.create_publisher(String, "/words", 5)
    node.create_subscription(String, "/words", lambda m: got.append(m.data), 5)

    def answer(request: Any, response: Any) -> Any:
        response.success, response.message = True, "still here"
        return response

    node.create_service(Trigger, "/ask", answer)
    client = node.create_client(Trigger, "/ask")
    publisher.publish(String(data="before"))
    assert until(node, lambda: got == ["before"])
    bridge.kill()
    graph = node.context.graph
    assert until(node, lambda: not graph.connected)
    publisher.publish(String(data="meanwhile"))
    bridge.start()
    assert until(node, lambda: got == ["before", "meanwhile"])
    publisher.publish(String(data="after"))
    assert until(node, lambda: got == ["before", "meanwhile", "after"])
    future = client.call_async(Trigger.Request())
    assert until(node, future.done)
    assert future.result().message == "still here"


def test_a_call_that_cannot_be_answered_ends_with_an_error(bridge: RealBridge, until: Any) -> None:
    node = ros.create_node("n")
    Trigger = ros.message_type(TRIGGER)
    node.create_service(Trigger, "/slow", lambda request, response: response)
    client = node.create_client(Trigger, "/slow")
    future = client.call_async(Trigger.Request())  # nobody spins the server
    bridge.kill()
    graph = node.context.graph
    ends_s = time.monotonic() + BUDGET_S
    while graph.connected and time.monotonic() < ends_s:
        time.sleep(0.02)
    assert until(node, future.done)
    with pytest.raises(TransportError, match="/slow"):
        future.result()
