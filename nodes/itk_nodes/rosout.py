"""A node's log lines on ``/rosout``, where the backend does not see to that itself, as rclpy does."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from itk_embodied import ros
from itk_embodied.ros.pictures import NANOSECONDS


class _Rosout(logging.Handler):
    """Publishes each record; a line that cannot be published is not worth a failure."""

    def __init__(self, node: Any) -> None:
        super().__init__()
        self._name = node.get_logger().name
        self._type = ros.message_type("rcl_interfaces/msg/Log")
        self._time = ros.message_type("builtin_interfaces/msg/Time")
        qos = ros.QoSProfile(depth=1000, durability=ros.DurabilityPolicy.TRANSIENT_LOCAL)
        self._publisher = node.create_publisher(self._type, "/rosout", qos)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            sec, nanosec = divmod(round(record.created * NANOSECONDS), NANOSECONDS)
            self._publisher.publish(
                self._type(
                    stamp=self._time(sec=sec, nanosec=nanosec),
                    level=record.levelno,
                    name=self._name,
                    msg=record.getMessage(),
                    file=record.pathname,
                    function=record.funcName or "",
                    line=record.lineno,
                )
            )
        except Exception:
            self.handleError(record)


def attach(node: Any) -> Callable[[], None]:
    """Begin; returns what ends it. Nothing is done on rclpy, nor on ROS 1, whose log message is another."""
    if ros.current_backend().name == "rclpy" or _ros_1():
        return lambda: None
    handler = _Rosout(node)
    log = logging.getLogger(f"ros.{node.get_logger().name}")
    log.addHandler(handler)
    return lambda: log.removeHandler(handler)


def _ros_1() -> bool:
    if ros.current_backend().name != "rosbridge":
        return False
    from itk_embodied.ros.rosbridge import BridgeOptions

    options = getattr(ros.current_backend(), "options", None) or BridgeOptions.from_environment()
    return options.ros_version == 1
