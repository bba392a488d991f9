"""What a node may rely on, whatever stands behind `itk_embodied.ros`. Where a backend differs from rclpy, it is wrong.

Every test runs on every backend: inproc and rosbridge (a real rosbridge-server-rs process; and real ROS 1 behind a
stand-in for its bridge) here, rclpy in a pytest of its own in the environment that has it.
"""

from __future__ import annotations

import array
import contextlib
import importlib.util
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ros1_world import HOW_ROS1, Ros1Bridge, Roscore, have_ros1
from ros_world import HOW, ROOT, ROS_PYTHON, RealBridge, have_ros, ros_environment

from itk_embodied import ros
from itk_embodied.ros.rosbridge import BridgeOptions

BUDGET_S = 5.0
ROS1 = "rosbridge-ros1"

BACKENDS = ("rclpy",) if importlib.util.find_spec("rclpy") else ("inproc", "rosbridge", ROS1)


@pytest.fixture(scope="module")
def bridge() -> Iterator[RealBridge]:
    if not have_ros():
        pytest.skip(HOW)
    with RealBridge() as bridge:
        yield bridge


@pytest.fixture(scope="module")
def ros1_bridge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ros1Bridge]:
    if not have_ros1():
        pytest.skip(HOW_ROS1)
    folder = tmp_path_factory.mktemp("ros1")
    roscore = Roscore(folder)
    try:
        with Ros1Bridge(roscore, folder) as bridge:
            yield bridge
            assert bridge.refused() == []
    finally:
        roscore.end()


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Iterator[str]:
    chosen: Any = ros.use_backend(request.param.removesuffix("-ros1"))
    if request.param == "rosbridge":
        chosen.options = BridgeOptions(request.getfixturevalue("bridge").url)
    elif request.param == ROS1:
        chosen.options = BridgeOptions(request.getfixturevalue("ros1_bridge").url, ros_version=1)
    yield request.param
    ros.try_shutdown()
    ros.use_backend("inproc")  # what other tests in this process expect


@pytest.mark.skipif("rclpy" in BACKENDS, reason="this is the pytest that it starts")
def test_the_same_on_real_rclpy() -> None:
    """This file again, where rclpy is: one command, to be repeated by hand where it fails."""
    if not have_ros():
        pytest.skip(HOW)
    command = [str(ROS_PYTHON), "-m", "pytest", "-p", "no:cacheprovider", "tests/contract/test_ros_api.py"]
    done = subprocess.run(command, cwd=ROOT, env=ros_environment(), capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert "passed" in done.stdout


@pytest.fixture
def started(backend: str) -> str:
    ros.init(args=[])
    return backend


@pytest.fixture
def has_qualities(backend: str) -> None:
    if backend == ROS1:
        pytest.skip("ROS 1 has no durability and no reliability to match; it latches one message or none")


class Spinner:
    """Spins nodes until something holds."""

    def __init__(self) -> None:
        self.executor = ros.SingleThreadedExecutor()
        self.nodes: list[Any] = []

    def node(self, name: str, **options: Any) -> Any:
        node = ros.create_node(name, **options)
        self.executor.add_node(node)
        self.nodes.append(node)
        return node

    def close(self) -> None:
        for node in self.nodes:
            self.executor.remove_node(node)
            node.destroy_node()

    def until(self, condition: Callable[[], Any], budget_s: float = BUDGET_S) -> bool:
        ends_s = time.monotonic() + budget_s
        while not condition():
            if time.monotonic() > ends_s:
                return False
            self.executor.spin_once(timeout_sec=0.02)
        return True


@pytest.fixture
def spinner(started: str) -> Iterator[Spinner]:
    spinner = Spinner()
    yield spinner
    spinner.close()


def string(text: str) -> Any:
    return ros.message_type("std_msgs/msg/String")(data=text)


STRING = "std_msgs/msg/String"


def talk(spinner: Spinner, publish_qos: Any, subscribe_qos: Any) -> tuple[Any, list[str]]:
    """A publisher and a subscription on one topic, in two nodes."""
    got: list[str] = []
    String = ros.message_type(STRING)
    publisher = spinner.node("talker").create_publisher(String, "chatter", publish_qos)
    spinner.node("listener").create_subscription(String, "chatter", lambda m: got.append(m.data), subscribe_qos)
    return publisher, got


def test_messages_arrive_in_order(spinner: Spinner) -> None:
    publisher, got = talk(spinner, 10, 10)
    assert spinner.until(lambda: publisher.get_subscription_count() == 1)
    for n in range(5):
        publisher.publish(string(str(n)))
    assert spinner.until(lambda: len(got) == 5)
    assert got == ["0", "1", "2", "3", "4"]


def test_the_queue_keeps_the_newest(spinner: Spinner) -> None:
    profile = ros.QoSProfile(depth=2)
    publisher, got = talk(spinner, ros.QoSProfile(depth=10), profile)
    assert spinner.until(lambda: publisher.get_subscription_count() == 1)
    for n in range(6):
        publisher.publish(string(str(n)))
    time.sleep(0.05)
    assert spinner.until(lambda: "5" in got)
    spinner.until(lambda: False, 0.1)
    assert got == ["4", "5"]


@pytest.mark.usefixtures("has_qualities")
@pytest.mark.parametrize(
    ("published", "subscribed", "expected"),
    [
        ("TRANSIENT_LOCAL", "TRANSIENT_LOCAL", ["b", "c"]),
        ("TRANSIENT_LOCAL", "VOLATILE", []),
        ("VOLATILE", "VOLATILE", []),
    ],
)
def test_a_late_subscription_gets_what_transient_local_keeps(
    spinner: Spinner, published: str, subscribed: str, expected: list[str]
) -> None:
    String = ros.message_type(STRING)
    profile = ros.QoSProfile(depth=2, durability=ros.DurabilityPolicy[published])
    publisher = spinner.node("talker").create_publisher(String, "chatter", profile)
    for word in "abc":
        publisher.publish(string(word))
    got: list[str] = []
    wanted = ros.QoSProfile(depth=5, durability=ros.DurabilityPolicy[subscribed])
    spinner.node("late").create_subscription(String, "chatter", lambda m: got.append(m.data), wanted)
    if expected:
        assert spinner.until(lambda: len(got) == len(expected))
    else:
        spinner.until(lambda: False, 0.3)
    assert got == expected


@pytest.mark.usefixtures("has_qualities")
@pytest.mark.parametrize(
    ("offered", "wanted"),
    [
        ({"reliability": "BEST_EFFORT"}, {"reliability": "RELIABLE"}),
        ({"durability": "VOLATILE"}, {"durability": "TRANSIENT_LOCAL"}),
    ],
)
def test_incompatible_qos_does_not_connect(spinner: Spinner, offered: dict[str, str], wanted: dict[str, str]) -> None:
    def profile(changes: dict[str, str]) -> Any:
        kinds = {"reliability": ros.ReliabilityPolicy, "durability": ros.DurabilityPolicy}
        return ros.QoSProfile(depth=5, **{name: kinds[name][value] for name, value in changes.items()})

    publisher, got = talk(spinner, profile(offered), profile(wanted))
    spinner.until(lambda: publisher.get_subscription_count(), 0.3)
    publisher.publish(string("x"))
    spinner.until(lambda: False, 0.2)
    assert got == []


def test_a_message_is_sent_as_it_was_when_published(spinner: Spinner) -> None:
    Image = ros.message_type("sensor_msgs/msg/Image")
    got: list[Any] = []
    publisher = spinner.node("camera").create_publisher(Image, "image", 5)
    spinner.node("viewer").create_subscription(Image, "image", got.append, 5)
    assert spinner.until(lambda: publisher.get_subscription_count() == 1)
    message = Image(height=1, width=2, encoding="rgb8", step=6, data=array.array("B", range(6)))
    message.header.frame_id = "front"
    message.header.stamp.sec, message.header.stamp.nanosec = 1_700_000_000, 123_456_789
    publisher.publish(message)
    message.data[0] = 99
    message.header.frame_id = "changed"
    assert spinner.until(lambda: got)
    assert bytes(got[0].data) == bytes(range(6))
    assert got[0].header.frame_id == "front"
    assert (got[0].header.stamp.sec, got[0].header.stamp.nanosec) == (1_700_000_000, 123_456_789)


def test_messages_have_their_fields_and_no_others(started: str) -> None:
    with pytest.raises(AttributeError):
        ros.message_type(STRING)().text = "x"
    status = ros.message_type("diagnostic_msgs/msg/DiagnosticStatus")
    assert (status.OK, status.WARN, status.ERROR, status.STALE) == (b"\0", b"\1", b"\2", b"\3")
    assert status(level=status.WARN).level == b"\1"
    assert ros.message_type("std_msgs/String") is ros.message_type(STRING)


def test_publishing_another_type_is_an_error(spinner: Spinner) -> None:
    publisher, _ = talk(spinner, 1, 1)
    with pytest.raises(TypeError):
        publisher.publish(ros.message_type("std_msgs/msg/Empty")())


def test_names_are_expanded_and_remapped(backend: str) -> None:
    ros.init(args=["program", "--ros-args", "-r", "image:=/front/image", "-r", "other:~/goal:=/goal", "--"])
    node = ros.create_node("viewer", namespace="robot")
    assert node.get_fully_qualified_name() == "/robot/viewer"
    assert (node.get_name(), node.get_namespace()) == ("viewer", "/robot")
    String = ros.message_type(STRING)
    topics = {name: node.create_publisher(String, name, 1).topic_name for name in ("a", "/b", "~/c", "image", "~/goal")}
    assert topics == {
        "a": "/robot/a",
        "/b": "/b",
        "~/c": "/robot/viewer/c",
        "image": "/front/image",
        "~/goal": "/robot/viewer/goal",
    }
    other = ros.create_node("other", namespace="/robot")
    assert other.create_publisher(String, "~/goal", 1).topic_name == "/goal"


def test_node_name_and_namespace_can_be_remapped(backend: str) -> None:
    ros.init(args=["--ros-args", "-r", "__node:=renamed", "-r", "__ns:=/lab"])
    node = ros.create_node("original")
    assert node.get_fully_qualified_name() == "/lab/renamed"


@pytest.mark.parametrize("name", ["", "a b", "1st", "a//b", "a-b"])
def test_bad_topic_names_are_refused(spinner: Spinner, name: str) -> None:
    with pytest.raises(ros.InvalidTopicNameException):
        spinner.node("n").create_publisher(ros.message_type(STRING), name, 1)


@pytest.mark.parametrize("name", ["", "a b", "1st", "a/b"])
def test_bad_node_names_are_refused(started: str, name: str) -> None:
    with pytest.raises(ros.InvalidNodeNameException):
        ros.create_node(name)


def test_parameters_are_declared_typed_and_set(spinner: Spinner) -> None:
    node = spinner.node("n")
    assert node.declare_parameter("age_s", 1.0).value == 1.0
    with pytest.raises(ros.ParameterAlreadyDeclaredException):
        node.declare_parameter("age_s", 1.0)
    with pytest.raises(ros.ParameterNotDeclaredException):
        node.get_parameter("nothing")
    (good,) = node.set_parameters([ros.Parameter("age_s", value=2.5)])
    (bad,) = node.set_parameters([ros.Parameter("age_s", value="old")])
    assert good.successful and not bad.successful and bad.reason
    assert node.get_parameter("age_s").value == 2.5
    assert node.has_parameter("age_s") and not node.has_parameter("x")
    declared = node.declare_parameters("camera", [("width", 640), ("name", "front")])
    assert [p.name for p in declared] == ["camera.width", "camera.name"]
    assert set(node.get_parameters_by_prefix("camera")) == {"width", "name"}


def test_a_callback_can_refuse_a_value(spinner: Spinner) -> None:
    node = spinner.node("n")
    node.declare_parameter("tries", 3)
    Result = ros.message_type("rcl_interfaces/msg/SetParametersResult")
    seen: list[Any] = []

    def check(parameters: list[Any]) -> Any:
        seen.extend(p.value for p in parameters)
        return Result(successful=parameters[0].value > 0, reason="" if parameters[0].value > 0 else "must be positive")

    node.add_on_set_parameters_callback(check)
    assert node.set_parameters([ros.Parameter("tries", value=5)])[0].successful
    refused = node.set_parameters([ros.Parameter("tries", value=-1)])[0]
    assert (refused.successful, refused.reason) == (False, "must be positive")
    assert node.get_parameter("tries").value == 5 and seen == [5, -1]
    node.remove_on_set_parameters_callback(check)
    assert node.set_parameters([ros.Parameter("tries", value=-1)])[0].successful


def test_read_only_and_ranges(spinner: Spinner) -> None:
    node = spinner.node("n")
    Descriptor = ros.message_type("rcl_interfaces/msg/ParameterDescriptor")
    Range = ros.message_type("rcl_interfaces/msg/IntegerRange")
    node.declare_parameter("stack", "embedded", Descriptor(read_only=True))
    assert not node.set_parameters([ros.Parameter("stack", value="other")])[0].successful
    node.declare_parameter("tries", 3, Descriptor(integer_range=[Range(from_value=1, to_value=9)]))
    assert not node.set_parameters([ros.Parameter("tries", value=10)])[0].successful
    assert node.set_parameters([ros.Parameter("tries", value=9)])[0].successful
    with pytest.raises(ros.InvalidParameterValueException):
        node.declare_parameter("more", 0, Descriptor(integer_range=[Range(from_value=1, to_value=9)]))


def test_parameters_come_from_the_command_line_and_from_files(backend: str, tmp_path: Path) -> None:
    file = tmp_path / "parameters.yaml"
    file.write_text(
        "/**:\n  ros__parameters:\n    everywhere: 1\n    deep: {er: yes}\n"
        "tuned:\n  ros__parameters:\n    mine: [1.5, 2.5]\n    everywhere: 2\n"
        "/robot/other:\n  ros__parameters: {mine: [0.0]}\n"
    )
    ros.init(args=["--ros-args", "--params-file", str(file), "-p", "word:=hello", "-p", "rooted:number:=7"])
    tuned, other = ros.create_node("tuned"), ros.create_node("other", namespace="robot")
    assert tuned.declare_parameter("everywhere", 0).value == 2
    assert tuned.declare_parameter("deep.er", False).value is True
    assert list(tuned.declare_parameter("mine", [0.0]).value) == [1.5, 2.5]
    assert tuned.declare_parameter("word", "").value == "hello"
    assert tuned.declare_parameter("number", 0).value == 0
    assert ros.create_node("rooted").declare_parameter("number", 0).value == 7
    assert list(other.declare_parameter("mine", [1.0]).value) == [0.0]
    assert other.declare_parameter("everywhere", 0).value == 1
    with pytest.raises(ros.InvalidParameterTypeException):
        other.declare_parameter("word", 5)


def test_timers_fire_and_stop(spinner: Spinner) -> None:
    node = spinner.node("n")
    calls: list[float] = []
    timer = node.create_timer(0.02, lambda: calls.append(time.monotonic()))
    assert spinner.until(lambda: len(calls) >= 3)
    timer.cancel()
    assert timer.is_canceled()
    count = len(calls)
    spinner.until(lambda: False, 0.1)
    assert len(calls) == count
    timer.reset()
    assert spinner.until(lambda: len(calls) > count)


def test_a_guard_condition_wakes_the_executor_from_any_thread(spinner: Spinner) -> None:
    node = spinner.node("n")
    called: list[str] = []
    guard = node.create_guard_condition(lambda: called.append(threading.current_thread().name))
    threading.Timer(0.05, guard.trigger).start()
    assert spinner.until(lambda: called)
    assert called == [threading.current_thread().name]


def test_services_answer(spinner: Spinner) -> None:
    Trigger = ros.message_type("std_srvs/srv/Trigger")
    server, asker = spinner.node("server"), spinner.node("asker")
    client = asker.create_client(Trigger, "reset")
    assert not client.service_is_ready() and not client.wait_for_service(timeout_sec=0.05)

    def answer(request: Any, response: Any) -> Any:
        response.success, response.message = True, "done"
        return response

    server.create_service(Trigger, "reset", answer)
    assert client.wait_for_service(timeout_sec=BUDGET_S)
    future = client.call_async(Trigger.Request())
    done: list[Any] = []
    future.add_done_callback(done.append)
    assert spinner.until(future.done)
    assert (future.result().success, future.result().message) == (True, "done")
    assert spinner.until(lambda: done == [future])


def test_spin_once_returns_when_nothing_comes(spinner: Spinner) -> None:
    spinner.node("n")
    began_s = time.monotonic()
    spinner.executor.spin_once(timeout_sec=0.05)
    assert time.monotonic() - began_s >= 0.03
    spinner.executor.spin_once(timeout_sec=0)


def test_a_busy_topic_starves_no_other(spinner: Spinner) -> None:
    String = ros.message_type(STRING)
    node = spinner.node("n")
    busy, rare = node.create_publisher(String, "busy", 10), node.create_publisher(String, "rare", 10)
    got: list[str] = []

    def again(message: Any) -> None:
        busy.publish(string("again"))

    node.create_subscription(String, "busy", again, 10)
    node.create_subscription(String, "rare", lambda m: got.append(m.data), 10)
    assert spinner.until(lambda: busy.get_subscription_count() and rare.get_subscription_count())
    busy.publish(string("start"))
    rare.publish(string("here"))
    assert spinner.until(lambda: got)


def test_an_exception_in_a_callback_reaches_whoever_spins(spinner: Spinner) -> None:
    spinner.node("n").create_timer(0.01, lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        spinner.until(lambda: False, 1.0)


def test_shutdown_ends_a_spin(started: str) -> None:
    node = ros.create_node("n")
    node.create_timer(0.05, ros.shutdown)
    with contextlib.suppress(ros.ExternalShutdownException):
        ros.spin(node)
    assert not ros.ok()


def test_init_and_shutdown_come_in_pairs(backend: str) -> None:
    assert not ros.ok()
    ros.init(args=[])
    assert ros.ok()
    with pytest.raises(RuntimeError):
        ros.init(args=[])
    ros.shutdown()
    assert not ros.ok()
    with pytest.raises(RuntimeError):
        ros.shutdown()
    ros.try_shutdown()
    with pytest.raises(Exception, match="init"):
        ros.create_node("too_early")


def test_clock_and_time(started: str) -> None:
    now = ros.create_node("n").get_clock().now()
    assert abs(now.nanoseconds / 1e9 - time.time()) < 5
    message = now.to_msg()
    assert message.sec * 1_000_000_000 + message.nanosec == now.nanoseconds
    assert ros.Time.from_msg(message).nanoseconds == now.nanoseconds
    assert (ros.Time(seconds=5) - ros.Time(seconds=3)).nanoseconds == 2_000_000_000
    assert ros.Duration(seconds=1.5).nanoseconds == 1_500_000_000


def test_qos_profiles_need_a_depth_or_a_history(started: str) -> None:
    with pytest.raises(ros.InvalidQoSProfileException):
        ros.QoSProfile()
    assert ros.qos_profile_sensor_data.reliability == ros.ReliabilityPolicy.BEST_EFFORT
    assert ros.QoSProfile(depth=3).depth == 3


def test_a_destroyed_node_hears_nothing(spinner: Spinner) -> None:
    String = ros.message_type(STRING)
    got: list[Any] = []
    publisher = spinner.node("talker").create_publisher(String, "chatter", 5)
    listener = spinner.node("listener")
    listener.create_subscription(String, "chatter", got.append, 5)
    assert spinner.until(lambda: publisher.get_subscription_count() == 1)
    spinner.executor.remove_node(listener)
    listener.destroy_node()
    assert spinner.until(lambda: publisher.get_subscription_count() == 0)
    publisher.publish(string("x"))
    spinner.until(lambda: False, 0.05)
    assert got == []


def test_logging_takes_the_options_of_rclpy(started: str) -> None:
    logger = ros.create_node("n").get_logger()
    logger.debug("a line")
    logger.info("a line")
    logger.warning("a line")
    logger.warn("a line")
    logger.error("a line")
    logger.fatal("a line")
    logger.info("once", once=True)
    logger.get_child("part").info("throttled", throttle_duration_sec=1.0)
