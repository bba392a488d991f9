"""One rclpy-shaped API, several backends: the same node source runs on each.

    from itk_embodied import ros

    ros.init()
    node = ros.create_node("talker")
    String = ros.message_type("std_msgs/msg/String")
    publisher = node.create_publisher(String, "chatter", ros.QoSProfile(depth=1))
    publisher.publish(String(data="hello"))
    ros.shutdown()

Names, arguments and behaviour are rclpy's. Choose the backend with `use_backend` or ``ITK_ROS_BACKEND``; the default is
``rclpy`` where it is installed, else ``inproc`` (one process, no ROS). ``rosbridge`` is for machines without ROS.
Classes (`Node`, `QoSProfile`, `Parameter`, …) are those of the chosen backend, looked up when they are used.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from itk_embodied.ros.backend import Backend, backend_names, current_backend, register_backend, use_backend

__all__ = [
    "Backend",
    "backend_names",
    "create_node",
    "current_backend",
    "init",
    "message_type",
    "ok",
    "register_backend",
    "shutdown",
    "spin",
    "spin_once",
    "spin_until_future_complete",
    "try_shutdown",
    "use_backend",
]


def _inproc() -> Backend:
    from itk_embodied.ros.inproc import InprocBackend

    return InprocBackend()


def _rosbridge() -> Backend:
    from itk_embodied.ros.rosbridge import RosbridgeBackend

    return RosbridgeBackend()


def _rclpy() -> Backend:
    from itk_embodied.ros.rclpy_backend import RclpyBackend

    return RclpyBackend()


register_backend("rclpy", _rclpy)
register_backend("rosbridge", _rosbridge)
register_backend("inproc", _inproc)


def init(args: Sequence[str] | None = None) -> None:
    """Start; ``args`` may hold ``--ros-args`` (None: the process's own arguments)."""
    current_backend().init(args=args)


def shutdown() -> None:
    """End; whatever spins stops. Raises `RuntimeError` where nothing runs."""
    current_backend().shutdown()


def try_shutdown() -> None:
    """End, if anything runs."""
    current_backend().try_shutdown()


def ok() -> bool:
    """Between `init` and `shutdown`?"""
    return current_backend().ok()


def create_node(node_name: str, **options: Any) -> Any:
    """A node of the chosen backend."""
    return current_backend().create_node(node_name, **options)


def spin(node: Any, executor: Any = None) -> None:
    """Run a node's callbacks until shutdown."""
    current_backend().spin(node, executor)


def spin_once(node: Any, *, executor: Any = None, timeout_sec: float | None = None) -> None:
    """Run one callback of a node, waiting for one up to ``timeout_sec``."""
    current_backend().spin_once(node, executor=executor, timeout_sec=timeout_sec)


def spin_until_future_complete(node: Any, future: Any, executor: Any = None, timeout_sec: float | None = None) -> None:
    """Run a node's callbacks until a future is done or the time is over."""
    current_backend().spin_until_future_complete(node, future, executor, timeout_sec)


def message_type(name: str) -> Any:
    """The class of ``std_msgs/msg/String`` and the like, in the chosen backend."""
    return current_backend().message_type(name)


def __getattr__(name: str) -> Any:
    # Only what looks like a backend's name: an import of a submodule asks here too, while a backend is being loaded.
    names = current_backend().names if name[:1].isupper() or name.startswith("qos_profile_") else {}
    if name not in names:
        raise AttributeError(f"module 'itk_embodied.ros' has no attribute {name!r}")
    return names[name]
