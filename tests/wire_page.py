"""The wire's structs as rows of a table: field, type with its limits, default. docs/wire.md is compared with them."""

from __future__ import annotations

from typing import Any

import msgspec
import msgspec.inspect as inspect

from itk_embodied.bridges import wire, wire_fields

GROUPS: dict[str, tuple[type[msgspec.Struct], tuple[type[msgspec.Struct], ...]]] = {
    "every header": (wire_fields.Header, ()),
    "every message of a task": (wire.TaskHeader, (wire_fields.Header,)),
    "plan": (wire.PlanMessage, (wire.TaskHeader,)),
    "step": (wire.StepInfo, ()),
    "attempt": (wire.AttemptMessage, (wire.TaskHeader,)),
    "subgoal": (wire.SubgoalMessage, (wire.TaskHeader,)),
    "image": (wire_fields.ImageInfo, ()),
    "end": (wire.EndMessage, (wire.TaskHeader,)),
    "heartbeat": (wire.Heartbeat, (wire_fields.Header,)),
    "frame": (wire.FrameMessage, (wire_fields.Header,)),
    "every request and reply": (wire.Request, (wire_fields.Header,)),
    "submit": (wire.Submit, (wire.Request,)),
    "snapshot": (wire.Snapshot, (wire.Request,)),
    "cancel": (wire.Cancel, (wire.Request,)),
    "ping": (wire.Ping, (wire.Request,)),
    "health": (wire.Health, (wire.Request,)),
    "submit_reply": (wire.SubmitReply, (wire.Reply,)),
    "snapshot_reply": (wire.SnapshotReply, (wire.Reply,)),
    "cancel_reply": (wire.CancelReply, (wire.Reply,)),
    "pong": (wire.Pong, (wire.Reply,)),
    "health_reply": (wire.HealthReply, (wire.Reply,)),
    "refused": (wire.Refused, (wire.Reply,)),
}
"""Heading on the page -> struct, and those whose fields are said elsewhere."""


def rows(heading: str) -> list[tuple[str, str, str]]:
    """Field, type, default of the struct under a heading, without what its parents have."""
    struct, parents = GROUPS[heading]
    known = {name for parent in parents for name in parent.__struct_fields__}
    return [
        (field.encode_name, words(inspect.type_info(field.type)), default(field))
        for field in msgspec.structs.fields(struct)
        if field.name not in known
    ]


def default(field: msgspec.structs.FieldInfo) -> str:
    if field.default_factory is not msgspec.NODEFAULT:
        return "{}"
    if field.default is msgspec.NODEFAULT:
        return "needed"
    value: Any = field.default
    if value is None:
        return "null"
    if value == ():
        return "[]"
    return f'"{value}"' if isinstance(value, str) else f"{value:g}"


def words(info: Any) -> str:
    """A type with its limits, e.g. ``int 0..2^53``."""
    if isinstance(info, inspect.UnionType):
        names = [words(option) for option in info.types if not isinstance(option, inspect.NoneType)]
        return " or ".join([*names, "null"])
    if isinstance(info, inspect.LiteralType):
        return " ".join(f'"{value}"' for value in sorted(info.values))
    if isinstance(info, inspect.StrType):
        if info.pattern:
            return (
                "hex, 64 or none" if "64" in info.pattern else f"str {info.min_length}..{info.max_length} A-Za-z0-9_-"
            )
        return f"str ≤{info.max_length}"
    if isinstance(info, inspect.IntType):
        return "int" if info.le is None else f"int {info.ge}..{power(info.le)}"
    if isinstance(info, inspect.FloatType):
        low = f"≥{info.ge:g}" if info.ge is not None else f">{info.gt:g}"
        return f"float {low}" + (f" ≤{info.le:g}" if info.le is not None else "")
    if isinstance(info, inspect.VarTupleType):
        return f"list ≤{info.max_length} of {words(info.item_type)}"
    if isinstance(info, inspect.DictType):
        return f"map ≤{info.max_length} of {words(info.key_type)} to {words(info.value_type)}"
    if isinstance(info, inspect.StructType):
        return {wire.StepInfo: "step", wire_fields.ImageInfo: "image"}[info.cls]
    raise TypeError(f"no words for {info}")


def power(value: int) -> str:
    for bits in (20, 26, 31, 53, 62):
        if value == 2**bits:
            return f"2^{bits}"
        if value == 2**bits - 1:
            return f"2^{bits}-1"
    return str(value)
