"""Messages to rosbridge's JSON and back: ROS 1 and ROS 2 type names, stamps, and base64 for ``uint8[]``."""

from __future__ import annotations

import array
import base64
from collections.abc import Callable
from dataclasses import fields
from functools import cache
from typing import Any, TypeAlias, get_args, get_origin, get_type_hints

import msgspec

from itk_embodied.errors import WireError
from itk_embodied.ros.messages import Bytes, Duration, Message, Time

Plain: TypeAlias = dict[str, Any]
_ROS1_STAMP = {"sec": "secs", "nanosec": "nsecs"}
_NOT_IN_ROS1 = ("lifecycle_msgs", "rcl_interfaces")


def type_name(ros_type: str, ros_version: int) -> str:
    """``std_msgs/msg/String``; in ROS 1 ``std_msgs/String``."""
    package, _, short = ros_type.split("/")
    return ros_type if ros_version == 2 else f"{package}/{short}"


def missing_package(ros_type: str, ros_version: int) -> str | None:
    """The type's package where that ROS has none of the name, else None."""
    package = ros_type.partition("/")[0]
    return package if ros_version == 1 and package in _NOT_IN_ROS1 else None


def to_plain(message: Message, ros_version: int) -> Plain:
    """What `msgspec.json.encode` turns into rosbridge's JSON; bytes become base64 there."""
    renamed = _ROS1_STAMP if ros_version == 1 and isinstance(message, (Time, Duration)) else {}
    return {
        renamed.get(item.name, item.name): _value(getattr(message, item.name), ros_version)
        for item in fields(message)  # type: ignore[arg-type]
    }


def _value(value: Any, ros_version: int) -> Any:
    if isinstance(value, Message):
        return to_plain(value, ros_version)
    if isinstance(value, array.array):
        return memoryview(value)
    if isinstance(value, bytes):  # a field of ROS type byte
        return value[0]
    if isinstance(value, list):
        return [_value(item, ros_version) for item in value]
    return value


def from_plain(kind: type[Any], plain: Any, ros_version: int) -> Any:
    """A message of the type from decoded JSON. Fields that are missing keep their defaults; unknown ones are ignored.

    Raises:
        WireError: a value of another type than its field's.
    """
    try:
        reader: Callable[[Any], Any] = _reader(kind, ros_version)  # type: ignore[arg-type]
        return reader(plain)
    except (AssertionError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise WireError(f"what came is no {kind.__name__}: {error}") from error


@cache
def _reader(kind: type[Any], ros_version: int) -> Callable[[Any], Any]:
    renamed = _ROS1_STAMP if ros_version == 1 and kind in (Time, Duration) else {}
    hints = get_type_hints(kind, include_extras=True)
    readers = [
        (item.name, renamed.get(item.name, item.name), _field_reader(hints[item.name], ros_version))
        for item in fields(kind)
    ]

    def read(plain: Any) -> Any:
        if not isinstance(plain, dict):
            raise TypeError(f"an object was expected, not {type(plain).__name__}")
        return kind(**{name: reader(plain[key]) for name, key, reader in readers if key in plain})

    return read


def _field_reader(hint: Any, ros_version: int) -> Callable[[Any], Any]:
    if hint is Bytes:
        return _read_bytes
    if get_origin(hint) is list:
        inner = _field_reader(get_args(hint)[0], ros_version)
        return lambda values: [inner(value) for value in values]
    if hint is bytes:
        return lambda value: bytes([value]) if isinstance(value, int) else base64.b64decode(value)
    if hint is float:
        return lambda value: float("nan") if value is None else float(value)
    if isinstance(hint, type) and issubclass(hint, Message):
        return _reader(hint, ros_version)  # type: ignore[arg-type]
    return lambda value: value


def _read_bytes(value: Any) -> array.array[int]:
    """base64, as all bridges send it; some older ones send a list of numbers."""
    if isinstance(value, str):
        try:
            return array.array("B", msgspec.convert(value, bytes))  # four times as fast as binascii
        except msgspec.ValidationError as error:
            raise ValueError(f"its bytes are not base64 ({error})") from error
    return array.array("B", value)
