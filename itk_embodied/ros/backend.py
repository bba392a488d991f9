"""The registry of ROS backends: which implementation stands behind `itk_embodied.ros`."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from itk_embodied.errors import ConfigError, did_you_mean

ENVIRONMENT_VARIABLE = "ITK_ROS_BACKEND"


class Backend(Protocol):
    """One implementation of the rclpy-shaped API.

    The attributes that `names` lists (``Node``, ``QoSProfile``, ``Parameter``, …) are the backend's own classes; where
    real rclpy stands behind it, they are rclpy's.
    """

    name: str
    names: dict[str, Any]

    def init(self, args: Sequence[str] | None = None) -> None: ...
    def shutdown(self) -> None: ...
    def try_shutdown(self) -> None: ...
    def ok(self) -> bool: ...
    def create_node(self, node_name: str, **options: Any) -> Any: ...
    def spin(self, node: Any, executor: Any = None) -> None: ...
    def spin_once(self, node: Any, *, executor: Any = None, timeout_sec: float | None = None) -> None: ...
    def spin_until_future_complete(
        self, node: Any, future: Any, executor: Any = None, timeout_sec: float | None = None
    ) -> None: ...
    def message_type(self, name: str) -> type[Any]: ...


_FACTORIES: dict[str, Callable[[], Backend]] = {}
_loaded: dict[str, Backend] = {}
_chosen = ""


def register_backend(name: str, factory: Callable[[], Backend]) -> None:
    """Add a kind of backend. The factory runs at first use; it raises `MissingDependencyError` where it cannot."""
    if name in _FACTORIES:
        raise ConfigError(f"a ROS backend named {name!r} is registered already; choose another name.")
    _FACTORIES[name] = factory


def backend_names() -> tuple[str, ...]:
    return tuple(_FACTORIES)


def use_backend(name: str) -> Backend:
    """Choose what stands behind `itk_embodied.ros` from now on; before ``init``.

    Raises:
        ConfigError: no such backend, or another one is running.
    """
    global _chosen
    if name not in _FACTORIES:
        raise ConfigError(f"ROS backend {name!r} is not known; {did_you_mean(name, _FACTORIES)}")
    if _chosen and _chosen != name and _chosen in _loaded and _loaded[_chosen].ok():
        raise ConfigError(f"ROS backend {_chosen!r} is running; shut it down before using {name!r}.")
    if name not in _loaded:
        _loaded[name] = _FACTORIES[name]()
    _chosen = name
    return _loaded[name]


def current_backend() -> Backend:
    """The chosen backend; by default what the environment variable names, else rclpy where it is installed."""
    return use_backend(_chosen or os.environ.get(ENVIRONMENT_VARIABLE) or _default())


def _default() -> str:
    """One that is installed but broken is not passed over in silence: using it says what is wrong."""
    return "rclpy" if importlib.util.find_spec("rclpy") else "inproc"
