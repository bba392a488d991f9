"""Declaring parameters so that a user's mistake is one clear line: wrong types, values out of range, unknown names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from itk_embodied import ros
from itk_embodied.errors import ConfigError, did_you_mean
from itk_embodied.ros.arguments import parse

_ROS_OWN = ("use_sim_time", "start_type_description_service", "qos_overrides")  # rclpy declares or reads these itself


def declare(node: Any, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Declare each parameter with its default; returns the values that ``--ros-args`` left.

    Raises:
        ConfigError: a value of another type than the default's.
    """
    return {name: _declare(node, name, default) for name, default in defaults.items()}


def _declare(node: Any, name: str, default: Any) -> Any:
    try:
        return node.declare_parameter(name, default).value
    except Exception as error:
        if not type(error).__name__.startswith("InvalidParameter"):
            raise
        kind = {bool: "true or false", int: "a whole number", float: "a number with a point", str: "a string"}
        raise ConfigError(
            f"parameter {name!r} of {node.get_fully_qualified_name()} must be {kind[type(default)]}, such as "
            f"{default!r} ({' '.join(str(error).split())})."
        ) from error


def range_check(lowest: Mapping[str, float], choices: Mapping[str, Sequence[str]] | None = None) -> Any:
    """A set-parameters callback that refuses values below their lowest, and words that are no choice."""

    def check(parameters: list[Any]) -> Any:
        reasons = [f"{p.name} is {p.value}; it must be at least {lowest[p.name]:g}." for p in parameters if low(p)]
        for p in parameters:
            allowed = (choices or {}).get(p.name)
            if allowed is not None and p.value not in allowed:
                reasons.append(f"{p.name} is {p.value!r}; allowed: {', '.join(allowed)}.")
        result = ros.message_type("rcl_interfaces/msg/SetParametersResult")
        return result(successful=not reasons, reason=" ".join(reasons))

    def low(parameter: Any) -> bool:
        return parameter.name in lowest and not parameter.value >= lowest[parameter.name]

    return check


def check_values(node: Any, check: Any, names: Sequence[str]) -> None:
    """Apply a check to the values that the node starts with, and to every later change.

    Raises:
        ConfigError: one of them is refused.
    """
    result = check([node.get_parameter(name) for name in names])
    if not result.successful:
        raise ConfigError(f"{node.get_fully_qualified_name()}: {result.reason}")
    node.add_on_set_parameters_callback(check)


def refuse_unknown(node: Any, ros_args: Sequence[str]) -> None:
    """ROS ignores a parameter that nobody declares; a mistyped one would go unnoticed.

    Raises:
        ConfigError: ``--ros-args`` sets a parameter of this node that it does not have.
    """
    try:
        given = parse(ros_args).parameters_of(node.get_name(), node.get_namespace())
    except ConfigError:  # an argument that only the backend knows; it has checked them itself
        return
    known = sorted(node.get_parameters_by_prefix(""))
    for name in given:
        if not node.has_parameter(name) and name.split(".")[0] not in _ROS_OWN:
            raise ConfigError(
                f"{node.get_fully_qualified_name()} has no parameter {name!r}; {did_you_mean(name, known)}"
            )


SUBGOAL_NODE: dict[str, Any] = {
    "max_frame_age_s": 1.0,
    "frame_wait_s": 0.5,
    "deadline_s": 1800.0,
    "seed": 0,
    "autostart": True,
    "record_path": "",
    "record_frames": "all",
}
"""Parameters of visual_subgoal_node with their defaults; launch/parameters.yaml says what they mean."""


def declare_subgoal_node(node: Any) -> None:
    """Raises `ConfigError` for a value of the wrong type or out of range."""
    declare(node, SUBGOAL_NODE)
    lowest = {"max_frame_age_s": 1e-3, "frame_wait_s": 0.0, "deadline_s": 1e-3, "seed": 0}
    check_values(node, range_check(lowest, {"record_frames": ("all", "used")}), tuple(SUBGOAL_NODE))
