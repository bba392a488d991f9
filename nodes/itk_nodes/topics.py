"""Quality of service of our topics: frames may be lost, words may not, and what is current waits for late joiners."""

from __future__ import annotations

from typing import Any

from itk_embodied import ros

STRING = "std_msgs/msg/String"
EMPTY = "std_msgs/msg/Empty"
IMAGE = "sensor_msgs/msg/Image"
COMPRESSED = "sensor_msgs/msg/CompressedImage"
TRANSITION = "lifecycle_msgs/msg/TransitionEvent"
DIAGNOSTICS = "diagnostic_msgs/msg/DiagnosticArray"


def frames() -> Any:
    """Newest frame only, whichever reliability the camera offers."""
    return ros.QoSProfile(depth=1, reliability=ros.ReliabilityPolicy.BEST_EFFORT)


def camera() -> Any:
    """What a camera offers: reliable, so that every kind of subscriber matches it."""
    return ros.QoSProfile(depth=1)


def words() -> Any:
    return ros.QoSProfile(depth=10)


def current(depth: int = 10) -> Any:
    """Kept for late joiners."""
    return ros.QoSProfile(depth=depth, durability=ros.DurabilityPolicy.TRANSIENT_LOCAL)


def text(data: str) -> Any:
    return ros.message_type(STRING)(data=data)
