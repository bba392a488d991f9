"""What goes over a rosbridge: JSON of ROS 1 and ROS 2 messages, and where the bridge is."""

from __future__ import annotations

import base64

import msgspec
import pytest

from itk_embodied.errors import ConfigError, WireError
from itk_embodied.ros import messages
from itk_embodied.ros.inproc.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from itk_embodied.ros.rosbridge import BridgeOptions, operations
from itk_embodied.ros.rosbridge.wire import from_plain, missing_package, to_plain, type_name

HEADER = messages.Header(stamp=messages.Time(sec=5, nanosec=7), frame_id="front")
PICTURE = messages.CompressedImage(header=HEADER, format="png", data=b"\x00\xff\x10")


@pytest.mark.parametrize("version", [1, 2])
def test_a_picture_survives_json(version: int) -> None:
    plain = msgspec.json.decode(msgspec.json.encode(to_plain(PICTURE, version)))
    names = {1: {"secs": 5, "nsecs": 7}, 2: {"sec": 5, "nanosec": 7}}[version]
    assert plain["header"]["stamp"] == names
    assert base64.b64decode(plain["data"]) == b"\x00\xff\x10"
    assert from_plain(messages.CompressedImage, plain, version) == PICTURE


def test_bytes_lists_and_missing_fields_are_read_as_bridges_send_them() -> None:
    status = messages.DiagnosticStatus(level=messages.DiagnosticStatus.STALE, values=[messages.KeyValue(key="a")])
    array = messages.DiagnosticArray(header=HEADER, status=[status])
    plain = msgspec.json.decode(msgspec.json.encode(to_plain(array, 2)))
    assert plain["status"][0]["level"] == 3
    assert from_plain(messages.DiagnosticArray, plain, 2) == array
    old = {"header": {"seq": 9, "stamp": {"secs": 1, "nsecs": 2}, "frame_id": "f"}, "data": [1, 2]}
    read = from_plain(messages.CompressedImage, old, 1)
    assert (read.header.stamp.nanosec, bytes(read.data), read.format) == (2, b"\x01\x02", "")


@pytest.mark.parametrize(
    "plain", [None, [], {"data": 5}, {"data": "§"}, {"header": 1}, {"header": {"stamp": {"sec": "x"}}}]
)
def test_what_is_no_message_is_refused(plain: object) -> None:
    with pytest.raises(WireError, match="CompressedImage"):
        from_plain(messages.CompressedImage, plain, 2)


def test_type_names_of_both_versions() -> None:
    assert type_name("std_srvs/srv/Trigger", 2) == "std_srvs/srv/Trigger"
    assert type_name("std_srvs/srv/Trigger", 1) == "std_srvs/Trigger"


def test_subscriptions_say_queue_and_quality() -> None:
    frames = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
    said = msgspec.json.decode(operations.subscribe("s", "/image", "sensor_msgs/Image", frames))
    assert said["queue_length"] == 1 and said["qos"]["reliability"] == "best_effort"
    kept = QoSProfile(depth=5, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    said = msgspec.json.decode(operations.advertise("a", "/plan", "std_msgs/String", kept))
    assert said["latch"] is True and said["qos"] == {
        "history": "keep_last",
        "depth": 5,
        "reliability": "reliable",
        "durability": "transient_local",
    }


def test_a_latched_topics_messages_say_so_too() -> None:
    """rosbridge_suite compares `publish` with `advertise`."""
    kept, plain = QoSProfile(depth=5, durability=DurabilityPolicy.TRANSIENT_LOCAL), {"data": "x"}
    assert msgspec.json.decode(operations.publish("/plan", plain, kept))["latch"] is True
    assert "latch" not in msgspec.json.decode(operations.publish("/task", plain, QoSProfile(depth=5)))


def test_ros_1_has_no_lifecycle() -> None:
    assert missing_package("lifecycle_msgs/srv/GetState", 1) == "lifecycle_msgs"
    assert missing_package("lifecycle_msgs/srv/GetState", 2) is None
    assert missing_package("std_msgs/msg/String", 1) is None


def test_options_come_from_the_environment_and_are_checked() -> None:
    options = BridgeOptions.from_environment({"ITK_ROSBRIDGE_URL": "ws://robot:9091", "ITK_ROSBRIDGE_ROS": "1"})
    assert (options.host, options.port, options.ros_version) == ("robot", 9091, 1)
    for bad in ("robot:9090", "http://robot:9090", "ws://robot", "ws://robot:port"):
        with pytest.raises(ConfigError, match="ws://HOST:PORT"):
            BridgeOptions(bad)
    with pytest.raises(ConfigError, match="allowed: 1, 2"):
        BridgeOptions(ros_version=3)
    with pytest.raises(ConfigError, match="ITK_ROSBRIDGE_ROS"):
        BridgeOptions.from_environment({"ITK_ROSBRIDGE_ROS": "noetic"})
