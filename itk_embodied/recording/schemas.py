"""Definitions of the messages that a bag may hold, as ``ros2msg`` text: a tool reads a bag without our code."""

from __future__ import annotations

from itk_embodied.errors import ConfigError, did_you_mean

_FIELDS = {
    "builtin_interfaces/Time": "int32 sec\nuint32 nanosec",
    "std_msgs/Header": "builtin_interfaces/Time stamp\nstring frame_id",
    "std_msgs/String": "string data",
    "std_msgs/Empty": "",
    "sensor_msgs/Image": (
        "std_msgs/Header header\nuint32 height\nuint32 width\nstring encoding\nuint8 is_bigendian\nuint32 step\n"
        "uint8[] data"
    ),
    "sensor_msgs/CompressedImage": "std_msgs/Header header\nstring format\nuint8[] data",
    "diagnostic_msgs/KeyValue": "string key\nstring value",
    "diagnostic_msgs/DiagnosticStatus": (
        "byte OK=0\nbyte WARN=1\nbyte ERROR=2\nbyte STALE=3\nbyte level\nstring name\nstring message\n"
        "string hardware_id\ndiagnostic_msgs/KeyValue[] values"
    ),
    "diagnostic_msgs/DiagnosticArray": "std_msgs/Header header\ndiagnostic_msgs/DiagnosticStatus[] status",
    "lifecycle_msgs/State": "uint8 id\nstring label",
    "lifecycle_msgs/Transition": "uint8 id\nstring label",
    "lifecycle_msgs/TransitionEvent": (
        "uint64 timestamp\nlifecycle_msgs/Transition transition\nlifecycle_msgs/State start_state\n"
        "lifecycle_msgs/State goal_state"
    ),
}
_BETWEEN = "=" * 80


def definition(type_name: str) -> str:
    """The whole definition of ``sensor_msgs/msg/Image`` and the like, with all that it is made of.

    Raises:
        ConfigError: a type that bags do not hold.
    """
    wanted = type_name.replace("/msg/", "/")
    if wanted not in _FIELDS:
        raise ConfigError(f"message type {type_name!r} cannot be recorded; {did_you_mean(wanted, _FIELDS)}")
    parts = [_FIELDS[wanted]]
    parts += [f"MSG: {name}\n{_FIELDS[name]}" for name in _needed(wanted)]
    return f"\n{_BETWEEN}\n".join(parts) + "\n"


def _needed(name: str) -> list[str]:
    """The types inside a type, each once, in the order of their first use."""
    found: list[str] = []
    for line in _FIELDS[name].splitlines():
        inner = line.split()[0].removesuffix("[]")
        if inner in _FIELDS:
            found += [one for one in (inner, *_needed(inner)) if one not in found]
    return found
