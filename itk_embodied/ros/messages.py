"""The ROS message types we use, field for field, for backends that have no generated ones.

They behave as rclpy's: keyword arguments with defaults, no other attributes, a value of the wrong type raises
`AssertionError` where it is set, and ``uint8[]`` fields become ``array.array('B')``.
"""

from __future__ import annotations

import array
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Annotated, Any, ClassVar, TypeAlias, TypeVar, dataclass_transform, get_origin, get_type_hints

from itk_embodied.errors import ConfigError, did_you_mean

Bytes: TypeAlias = Annotated[Any, "uint8[]"]
"""Set it to bytes, a list or an ``array.array('B')``; read an ``array.array('B')``."""

_REGISTRY: dict[str, type[Any]] = {}
T = TypeVar("T")
M = TypeVar("M", bound="Message")


class Message:
    """Base of all message types: checks what is assigned."""

    __slots__ = ()
    TYPE: ClassVar[str] = ""
    CHECKS: ClassVar[dict[str, type]] = {}

    @classmethod
    def get_fields_and_field_types(cls) -> dict[str, str]:
        return {item.name: str(item.type) for item in fields(cls)}  # type: ignore[arg-type]

    def __setattr__(self, name: str, value: Any) -> None:
        expected = self.CHECKS.get(name)
        if expected is array.array:
            value = _bytes_field(name, value)
        elif expected is not None:
            right = isinstance(value, expected) and (type(value) is not bool or expected is bool)
            assert right, f"The '{name}' field must be of type '{expected.__name__}'"
        super().__setattr__(name, value)


def _bytes_field(name: str, value: Any) -> array.array[int]:
    if isinstance(value, array.array):
        assert value.typecode == "B", f"The '{name}' array.array() must have the type code of 'B'"
        return value
    allowed = isinstance(value, (bytes, bytearray, memoryview, list, tuple))
    assert allowed, f"The '{name}' field must be a sequence of bytes or array.array('B')"
    return array.array("B", value)


@dataclass_transform(kw_only_default=True, field_specifiers=(field,))
def _message(ros_type: str = "") -> Callable[[type[M]], type[M]]:
    """Make a dataclass of a message whose checks come from its annotations, and register its type name."""

    def make(plain: type[M]) -> type[M]:
        hints = {k: v for k, v in get_type_hints(plain, include_extras=True).items() if get_origin(v) is not ClassVar}
        cls: Any = dataclass(kw_only=True, slots=True)(plain)
        cls.CHECKS = {name: array.array if hint is Bytes else get_origin(hint) or hint for name, hint in hints.items()}
        return _service(ros_type)(cls) if ros_type else cls

    return make


def _service(ros_type: str) -> Callable[[type[T]], type[T]]:
    def register(cls: type[T]) -> type[T]:
        cls.TYPE = ros_type  # type: ignore[attr-defined]
        _REGISTRY[ros_type] = cls
        return cls

    return register


def message_type(name: str) -> type[Any]:
    """The class of a type name: ``std_msgs/msg/String``, or ``std_msgs/String``, or ``std_srvs/srv/Trigger``."""
    parts = name.split("/")
    full = f"{parts[0]}/msg/{parts[1]}" if len(parts) == 2 else name
    if full not in _REGISTRY:
        raise ConfigError(f"message type {name!r} is not known; {did_you_mean(full, _REGISTRY)}")
    return _REGISTRY[full]


def copied(value: Any) -> Any:
    """A deep copy of a message, as if it had been sent: the receiver may change it, the sender too."""
    if isinstance(value, Message):
        return type(value)(**{item.name: copied(getattr(value, item.name)) for item in fields(value)})  # type: ignore[arg-type]
    if isinstance(value, array.array):
        return value[:]
    if isinstance(value, list):
        return [copied(item) for item in value]
    return value


@_message("builtin_interfaces/msg/Time")
class Time(Message):
    sec: int = 0
    nanosec: int = 0


@_message("builtin_interfaces/msg/Duration")
class Duration(Message):
    sec: int = 0
    nanosec: int = 0


@_message("std_msgs/msg/Header")
class Header(Message):
    stamp: Time = field(default_factory=Time)
    frame_id: str = ""


@_message("std_msgs/msg/String")
class String(Message):
    data: str = ""


@_message("std_msgs/msg/Empty")
class Empty(Message):
    pass


@_message("std_msgs/msg/Bool")
class Bool(Message):
    data: bool = False


@_message("sensor_msgs/msg/Image")
class Image(Message):
    header: Header = field(default_factory=Header)
    height: int = 0
    width: int = 0
    encoding: str = ""
    is_bigendian: int = 0
    step: int = 0
    data: Bytes = b""


@_message("sensor_msgs/msg/CompressedImage")
class CompressedImage(Message):
    header: Header = field(default_factory=Header)
    format: str = ""
    data: Bytes = b""


@_message("diagnostic_msgs/msg/KeyValue")
class KeyValue(Message):
    key: str = ""
    value: str = ""


@_message("diagnostic_msgs/msg/DiagnosticStatus")
class DiagnosticStatus(Message):
    """``level`` is one byte, as in rclpy: b'\\x00' OK, b'\\x01' WARN, b'\\x02' ERROR, b'\\x03' STALE."""

    OK: ClassVar[bytes] = b"\x00"
    WARN: ClassVar[bytes] = b"\x01"
    ERROR: ClassVar[bytes] = b"\x02"
    STALE: ClassVar[bytes] = b"\x03"
    level: bytes = b"\x00"
    name: str = ""
    message: str = ""
    hardware_id: str = ""
    values: list[KeyValue] = field(default_factory=list)


@_message("diagnostic_msgs/msg/DiagnosticArray")
class DiagnosticArray(Message):
    header: Header = field(default_factory=Header)
    status: list[DiagnosticStatus] = field(default_factory=list)


@_message("rcl_interfaces/msg/Log")
class Log(Message):
    """A line on /rosout. ``level``: 10 debug, 20 info, 30 warn, 40 error, 50 fatal, as in Python's logging."""

    stamp: Time = field(default_factory=Time)
    level: int = 0
    name: str = ""
    msg: str = ""
    file: str = ""
    function: str = ""
    line: int = 0


@_message("rcl_interfaces/msg/SetParametersResult")
class SetParametersResult(Message):
    successful: bool = False
    reason: str = ""


@_message("rcl_interfaces/msg/FloatingPointRange")
class FloatingPointRange(Message):
    from_value: float = 0.0
    to_value: float = 0.0
    step: float = 0.0


@_message("rcl_interfaces/msg/IntegerRange")
class IntegerRange(Message):
    from_value: int = 0
    to_value: int = 0
    step: int = 0


@_message("rcl_interfaces/msg/ParameterDescriptor")
class ParameterDescriptor(Message):
    name: str = ""
    type: int = 0
    description: str = ""
    additional_constraints: str = ""
    read_only: bool = False
    dynamic_typing: bool = False
    floating_point_range: list[FloatingPointRange] = field(default_factory=list)
    integer_range: list[IntegerRange] = field(default_factory=list)


@_service("std_srvs/srv/Trigger")
class Trigger:
    """Service: nothing in; success and a message out."""

    @_message()
    class Request(Message):
        pass

    @_message()
    class Response(Message):
        success: bool = False
        message: str = ""


@_service("std_srvs/srv/SetBool")
class SetBool:
    """Service: a bool in; success and a message out."""

    @_message()
    class Request(Message):
        data: bool = False

    @_message()
    class Response(Message):
        success: bool = False
        message: str = ""


from itk_embodied.ros import lifecycle_messages  # noqa: E402, F401  (registers its types; it needs the above)
