"""What the wire's fields are made of: units, ranges, the description of a picture, and what every header has."""

from __future__ import annotations

import math
from fractions import Fraction
from functools import cache
from typing import Annotated, Literal, TypeAlias

import msgspec
import msgspec.inspect
from msgspec import Meta

VERSION = 1
MAX_HEADER_BYTES = 1 << 20
MAX_PAYLOAD_BYTES = 64 << 20
MAX_SIDE_PX = 4096
MAX_STEPS = 256

Id: TypeAlias = Annotated[str, Meta(max_length=64)]
"""Letters a sender chose, e.g. a UUID's hex; empty where there is none."""
Name: TypeAlias = Annotated[str, Meta(max_length=200)]
Text: TypeAlias = Annotated[str, Meta(max_length=4000)]
LongText: TypeAlias = Annotated[str, Meta(max_length=100_000)]
Hash: TypeAlias = Annotated[str, Meta(pattern="^([0-9a-f]{64})?\\Z")]
Count: TypeAlias = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Seq: TypeAlias = Annotated[int, Meta(ge=0, le=2**53)]
Nanoseconds: TypeAlias = Annotated[int, Meta(ge=0, le=2**62)]
Seconds: TypeAlias = Annotated[float, Meta(ge=0.0)]
Score: TypeAlias = Annotated[float, Meta(ge=0.0, le=1.0)]
Encoding: TypeAlias = Literal["png", "jpeg", "raw"]


class ImageInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What the payload is. ``raw``: ``height`` rows of ``width`` RGB pixels, one byte each, no padding."""

    encoding: Encoding
    height: Annotated[int, Meta(ge=1, le=MAX_SIDE_PX)]
    width: Annotated[int, Meta(ge=1, le=MAX_SIDE_PX)]
    size_bytes: Annotated[int, Meta(ge=1, le=MAX_PAYLOAD_BYTES)]
    colour: Literal["rgb"] = "rgb"
    sha256: Hash = ""  # of the payload's bytes

    def __post_init__(self) -> None:
        if self.encoding == "raw" and self.size_bytes != self.height * self.width * 3:
            raise ValueError(
                f"a raw rgb picture of {self.width}x{self.height} px has {self.height * self.width * 3} bytes, "
                f"not {self.size_bytes}"
            )


class Header(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind"):
    """What every header has. ``session`` changes whenever the sending process starts anew."""

    version: int = VERSION
    session: Id = ""

    def __post_init__(self) -> None:
        for name in _float_fields(type(self)):
            value = getattr(self, name)
            if value is not None and not math.isfinite(value):
                raise ValueError(f"{name} is {value}; a finite number is needed")


@cache
def _float_fields(kind: type[Header]) -> tuple[str, ...]:
    """Looked at for every message on its way, so found out only once."""
    found = []
    for field in msgspec.structs.fields(kind):
        info = msgspec.inspect.type_info(field.type)
        options = info.types if isinstance(info, msgspec.inspect.UnionType) else (info,)
        if any(isinstance(option, msgspec.inspect.FloatType) for option in options):
            found.append(field.name)
    return tuple(found)


def stamp_to_ns(stamp_s: float) -> int:
    """Nearest nanosecond, computed exactly, so that seconds -> nanoseconds -> seconds gives the same float."""
    return max(0, round(Fraction(stamp_s) * 1_000_000_000))


def stamp_to_s(stamp_ns: int) -> float:
    return stamp_ns / 1_000_000_000
