"""Real rclpy behind `itk_embodied.ros`: its own classes and functions, handed through and wrapped in nothing."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

from itk_embodied.errors import ConfigError, MissingDependencyError

_NAMES = {
    "rclpy.context": ("Context",),
    "rclpy.node": ("Node",),
    "rclpy.task": ("Future",),
    "rclpy.executors": ("SingleThreadedExecutor", "MultiThreadedExecutor", "ExternalShutdownException"),
    "rclpy.exceptions": (
        "NotInitializedException",
        "NameValidationException",
        "InvalidTopicNameException",
        "InvalidServiceNameException",
        "InvalidNodeNameException",
        "InvalidNamespaceException",
        "ParameterException",
        "ParameterNotDeclaredException",
        "ParameterAlreadyDeclaredException",
        "ParameterUninitializedException",
        "ParameterImmutableException",
        "InvalidParameterTypeException",
        "InvalidParameterValueException",
    ),
    "rclpy.parameter": ("Parameter",),
    "rclpy.qos": (
        "QoSProfile",
        "HistoryPolicy",
        "ReliabilityPolicy",
        "DurabilityPolicy",
        "LivelinessPolicy",
        "QoSPresetProfiles",
        "InvalidQoSProfileException",
        "qos_profile_sensor_data",
        "qos_profile_system_default",
        "qos_profile_services_default",
        "qos_profile_parameters",
    ),
    "rclpy.time": ("Time",),
    "rclpy.duration": ("Duration",),
    "rclpy.clock": ("Clock",),
}


class RclpyBackend:
    """Implements `itk_embodied.ros.backend.Backend` by rclpy itself.

    Raises:
        MissingDependencyError: rclpy cannot be imported.
    """

    name = "rclpy"

    def __init__(self) -> None:
        try:
            import rclpy

            modules = {module: importlib.import_module(module) for module in _NAMES}
        except ImportError as error:
            raise MissingDependencyError(
                f"rclpy cannot be imported ({error}). Source your ROS 2 (source /opt/ros/DISTRO/setup.bash), or "
                "install its wheels into an environment of their own: make ros-env, then run .venv-ros/bin/python. "
                "Without ROS, use --backend rosbridge or --backend inproc."
            ) from error
        self._rclpy: Any = rclpy
        self.names: dict[str, Any] = {
            name: getattr(modules[module], name) for module, names in _NAMES.items() for name in names
        }
        self.init = rclpy.init
        self.shutdown = rclpy.shutdown
        self.try_shutdown = rclpy.try_shutdown
        self.ok = rclpy.ok
        self.create_node = rclpy.create_node
        self.spin = rclpy.spin
        self.spin_once = rclpy.spin_once
        self.spin_until_future_complete = rclpy.spin_until_future_complete

    def message_type(self, name: str) -> type[Any]:
        """The generated class of ``std_msgs/msg/String`` and the like.

        Raises:
            ConfigError: no such type in its package.
            MissingDependencyError: its package is not installed.
        """
        found = _TYPES.get(name)
        if found is None:
            found = _TYPES[name] = _generated(name)
        return found


_TYPES: dict[str, type[Any]] = {}


def _generated(name: str) -> type[Any]:
    parts: Sequence[str] = name.split("/")
    package, kind, short = (parts[0], "msg", parts[1]) if len(parts) == 2 else (*parts, "", "")[:3]
    try:
        module = importlib.import_module(f"{package}.{kind}")
    except ImportError as error:
        distribution = package.replace("_", "-")
        raise MissingDependencyError(
            f"message type {name!r} needs the ROS package {package}, which is not installed: apt install "
            f"ros-DISTRO-{distribution}, or pip install ros-jazzy-{distribution}."
        ) from error
    if not hasattr(module, short):
        raise ConfigError(f"message type {name!r} is not known; {package} has no {kind} {short!r}.")
    return getattr(module, short)  # type: ignore[no-any-return]
