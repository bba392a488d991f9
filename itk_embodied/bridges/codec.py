"""Messages to ZeroMQ frames and back. Nothing is allocated by a size that a sender merely claims."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import msgspec

from itk_embodied.bridges.wire import (
    MAX_HEADER_BYTES,
    MAX_PAYLOAD_BYTES,
    VERSION,
    Header,
    Message,
    image_of,
    topic_of,
)
from itk_embodied.errors import WireError

Part: TypeAlias = bytes | bytearray | memoryview
Parts: TypeAlias = Sequence[Part]
M = TypeVar("M", bound=Header)

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)


class _Start(msgspec.Struct):
    """Read first: a message of another version may differ in everything else."""

    version: int


class WireVersionError(WireError):
    """The message is of a version that this program does not speak."""


_start_decoder = msgspec.msgpack.Decoder(_Start)
_BROKEN = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, OverflowError, MemoryError)


@dataclass(frozen=True)
class Received:
    """A decoded header and its payload, whose length and hash have been checked (its pixels not yet)."""

    message: Message
    payload: Part


def encode(message: Header, payload: Part = b"") -> list[Part]:
    """The three ZeroMQ frames of a message. The payload is not copied.

    Raises:
        WireError: the payload is not what the header says, or a text is longer than the schema allows.
    """
    header = _encoder.encode(message)
    if len(header) > MAX_HEADER_BYTES:
        raise WireError(f"the header has {len(header)} bytes; at most {MAX_HEADER_BYTES} are allowed. Shorten it.")
    _check_length(message, payload)
    return [topic_of(message), header, payload]


def decode(parts: Parts, decoder: msgspec.msgpack.Decoder[Any] = _decoder) -> Received:
    """Check and decode one message; ``decoder`` knows the kinds that may come.

    Raises:
        WireError: not three frames, too large, not msgpack, an unknown version or kind, a field out of range, a topic
            that is not the kind's, or a payload whose size or hash is not what the header says.
    """
    if len(parts) != 3:
        raise WireError(f"a message has 3 ZeroMQ frames (topic, header, payload); got {len(parts)}.")
    topic, header, payload = parts
    if len(header) > MAX_HEADER_BYTES:
        raise WireError(f"the header has {len(header)} bytes; at most {MAX_HEADER_BYTES} are allowed.")
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise WireError(f"the payload has {len(payload)} bytes; at most {MAX_PAYLOAD_BYTES} are allowed.")
    message = _decode_header(header, decoder)
    expected = topic_of(message)
    if topic != expected:
        shown = bytes(topic[:32])
        raise WireError(f"the topic is {shown!r} but the header's kind belongs to topic {expected!r}.")
    _check_length(message, payload)
    _check_hash(message, payload)
    return Received(message, payload)


def _decode_header(header: Part, decoder: msgspec.msgpack.Decoder[Any]) -> Message:
    try:
        start = _start_decoder.decode(header)
    except _BROKEN as error:
        raise WireError(f"the header is not a msgpack map with a version ({_short(error)}).") from error
    if start.version != VERSION:
        newer = "Update this program" if start.version > VERSION else "Update the sender"
        raise WireVersionError(f"the message has wire version {start.version}; this program speaks {VERSION}. {newer}.")
    try:
        message: Message = decoder.decode(header)
        return message
    except _BROKEN as error:
        raise WireError(f"the header breaks wire version {VERSION}: {_short(error)}.") from error


def _check_length(message: Header, payload: Part) -> None:
    image = image_of(message)
    expected = image.size_bytes if image else getattr(message, "size_bytes", 0)
    if len(payload) != expected:
        raise WireError(f"the payload has {len(payload)} bytes; the header says {expected}.")


def _check_hash(message: Header, payload: Part) -> None:
    image = image_of(message)
    if image and image.sha256 and hashlib.sha256(payload).hexdigest() != image.sha256:
        raise WireError("the payload's SHA-256 is not the header's: the picture was changed or cut on the way.")


def _short(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else text[:297] + "..."


def with_fields(message: M, **fields: object) -> M:
    """A copy with some fields replaced."""
    return msgspec.structs.replace(message, **fields)


def clip(text: str | None, limit: int) -> str:
    """Cut a model's overlong text to what the schema allows, and say so in it."""
    text = text or ""
    mark = " … [cut]"
    return text if len(text) <= limit else text[: limit - len(mark)] + mark
