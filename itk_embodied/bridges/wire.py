"""The wire schema, version 1: every message that crosses a socket, field by field.

A message is three ZeroMQ frames ``[topic, header, payload]``. The header is one msgpack map; its ``kind`` says which of
the structs below it is. The payload is empty or one picture (PNG, JPEG, or raw RGB rows). A new optional field keeps
the version; a field that is renamed, removed or gets another meaning makes a new version, which old readers refuse.

Units are in the names: ``_ns`` integer nanoseconds of the source's own clock since the epoch, ``_s`` seconds, sizes in
pixels, bytes in ``_bytes``. Hashes are lower-case hex SHA-256; an empty hash means "not computed".
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta

from itk_embodied.bridges.wire_fields import (
    MAX_HEADER_BYTES,
    MAX_PAYLOAD_BYTES,
    MAX_SIDE_PX,
    MAX_STEPS,
    VERSION,
    Count,
    Encoding,
    Hash,
    Header,
    Id,
    ImageInfo,
    LongText,
    Name,
    Nanoseconds,
    Score,
    Seconds,
    Seq,
    Text,
    stamp_to_ns,
    stamp_to_s,
)

__all__ = [
    "MAX_HEADER_BYTES",
    "MAX_PAYLOAD_BYTES",
    "MAX_SIDE_PX",
    "VERSION",
    "Encoding",
    "Header",
    "ImageInfo",
    "image_of",
    "stamp_to_ns",
    "stamp_to_s",
    "topic_of",
]


class TaskHeader(Header, frozen=True, kw_only=True):
    """What every message of a task has.

    ``seq`` counts the task's messages from 1; ``stamp_ns``, ``frame_id`` and ``frame_sha256`` (of shape and pixels,
    `itk_embodied.types.image_hash`) name the camera frame that the task started from, and never change on the way.
    """

    task_id: Id
    seq: Seq = 0
    stamp_ns: Nanoseconds = 0
    frame_id: Name = ""
    frame_sha256: Hash = ""
    stack: Name = ""


class StepInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a plan; ``instruction`` and ``prompt`` are null where the planner answers in words only."""

    step: Count
    name: Text
    instruction: Text | None
    prompt: Text | None
    auxiliary_text: Text | None = None


class PlanMessage(TaskHeader, frozen=True, kw_only=True, tag="plan"):
    """The plan, whole, before any picture is made."""

    task: Text
    seed: Seq
    steps: Annotated[tuple[StepInfo, ...], Meta(max_length=MAX_STEPS)]
    thought: LongText = ""
    seconds: Seconds = 0.0


class AttemptMessage(TaskHeader, frozen=True, kw_only=True, tag="attempt"):
    """Progress, without a picture: an attempt starts, or was accepted, rejected, or broke (``error``)."""

    step: Count
    attempt: Count
    state: Literal["started", "accepted", "rejected", "error"]
    prompt: Text
    seed: Seq
    score: Score = 0.0
    refine_prompt: Text = ""
    error: Text = ""
    generate_s: Seconds = 0.0
    judge_s: Seconds = 0.0


class SubgoalMessage(TaskHeader, frozen=True, kw_only=True, tag="subgoal"):
    """One step's outcome. ``failed`` has no picture; ``unverified`` has one that the critic did not accept.

    How long it may be acted on, for a reader who shares the source's clock: until ``valid_until_ns`` (``stamp_ns`` plus
    the task's ``valid_s``; 0: for ever). For one who does not: ``age_s`` is how long ago the service took the task in,
    by a clock that never jumps, when this message was made.
    """

    step: Count
    step_count: Count
    step_name: Text = ""
    instruction: Text
    status: Literal["verified", "unverified", "failed"]
    prompt: Text = ""
    prompt_hash: Hash = ""  # of the prompt's UTF-8 text
    attempt: Count = 0  # whose picture this is; 0 where there is none
    attempts: Count = 0
    seed: Seq = 0
    score: Score = 0.0
    image: ImageInfo | None = None
    image_sha256: Hash = ""  # of shape and pixels before encoding
    source_sha256: Hash = ""  # of the picture this one was edited from
    valid_until_ns: Nanoseconds = 0
    age_s: Seconds = 0.0
    error: Text = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.image is None) != (self.status == "failed"):
            raise ValueError(
                f"a {self.status} subgoal {'without' if self.image is None else 'with'} a picture is not possible"
            )


class EndMessage(TaskHeader, frozen=True, kw_only=True, tag="end"):
    """The task's one terminal status; nothing of this task follows."""

    status: Literal["verified", "partial", "failed", "cancelled", "expired"]
    reason: LongText = ""
    verified: Count = 0  # how many subgoals are
    attempts: Count = 0
    prompt_hashes: Annotated[dict[Name, Name], Meta(max_length=16)] = msgspec.field(default_factory=dict)
    plan_s: Seconds = 0.0
    first_subgoal_s: Seconds | None = None
    total_s: Seconds = 0.0


ServiceState: TypeAlias = Literal["loading", "warming", "ready", "broken", "stopping"]
"""``warming``: loaded, and run once so that the first task is not slow. ``broken``: it will not become ready."""


class Heartbeat(Header, frozen=True, kw_only=True, tag="heartbeat"):
    """Once a second, whatever happens. ``active_seq`` is the last ``seq`` sent of the active task."""

    state: ServiceState
    active: Id = ""
    active_seq: Seq = 0
    pending: Id = ""
    uptime_s: Seconds = 0.0


class FrameMessage(Header, frozen=True, kw_only=True, tag="frame"):
    """One camera frame of a camera's stream."""

    seq: Seq
    stamp_ns: Nanoseconds
    frame_id: Name
    image: ImageInfo


class Request(Header, frozen=True, kw_only=True):
    """What every request has; the reply carries the same ``request_id``."""

    request_id: Id


class Submit(Request, frozen=True, kw_only=True, tag="submit"):
    """Start a task from the frame in the payload. The client makes ``task_id``, so that sending twice does no harm."""

    task_id: Annotated[str, Meta(min_length=8, max_length=64, pattern="^[A-Za-z0-9_-]+\\Z")]
    task: Text
    stamp_ns: Nanoseconds
    frame_id: Name
    image: ImageInfo
    seed: Annotated[int, Meta(ge=0, le=2**31 - 1)] = 0
    plan: Annotated[tuple[StepInfo, ...], Meta(max_length=MAX_STEPS)] = ()  # is followed; empty: one is written
    deadline_s: Annotated[float, Meta(gt=0.0, le=86_400.0)] | None = None  # from now; null: the service's default
    max_attempts: Annotated[int, Meta(ge=1, le=100)] | None = None
    valid_s: Annotated[float, Meta(gt=0.0, le=31_536_000.0)] | None = None  # of its subgoals; null: the service's


class Snapshot(Request, frozen=True, kw_only=True, tag="snapshot"):
    """Ask for a task's messages after ``after_seq``; an empty ``task_id`` means the active, else the newest task.

    The answer ends before its payloads exceed ``max_bytes`` (0: no end), but has one message at least.
    """

    task_id: Id = ""
    after_seq: Seq = 0
    max_bytes: Annotated[int, Meta(ge=0, le=MAX_PAYLOAD_BYTES)] = 0


class Cancel(Request, frozen=True, kw_only=True, tag="cancel"):
    """End a task; an empty ``task_id`` ends the active and the pending one."""

    task_id: Id = ""


class Ping(Request, frozen=True, kw_only=True, tag="ping"):
    """Is anybody there, and in which state?"""


class Health(Request, frozen=True, kw_only=True, tag="health"):
    """How has the service been?"""


class Reply(Header, frozen=True, kw_only=True):
    """What every reply has."""

    request_id: Id


TaskPlace: TypeAlias = Literal["pending", "active", "ended", "unknown"]


class SubmitReply(Reply, frozen=True, kw_only=True, tag="submit_reply"):
    """The task is in; ``place`` is where."""

    task_id: Id
    place: TaskPlace


class SnapshotReply(Reply, frozen=True, kw_only=True, tag="snapshot_reply"):
    """``count`` whole messages of the task follow in the same multipart message, three ZeroMQ frames each.

    ``age_s``: how long ago the service took the task in, now.
    """

    task_id: Id
    place: TaskPlace
    last_seq: Seq
    count: Annotated[int, Meta(ge=0, le=10_000)]
    age_s: Seconds = 0.0


class CancelReply(Reply, frozen=True, kw_only=True, tag="cancel_reply"):
    """The tasks that were told to stop; each still ends with its own `EndMessage`."""

    task_ids: Annotated[tuple[Id, ...], Meta(max_length=2)]


class Pong(Reply, frozen=True, kw_only=True, tag="pong"):
    """The service's state; ``detail`` says why where it is not ready."""

    state: ServiceState
    detail: Text = ""
    stack: Name = ""
    active: Id = ""
    pending: Id = ""


class HealthReply(Reply, frozen=True, kw_only=True, tag="health_reply"):
    """The state, and what has been since the service started. ``tasks`` and ``subgoals`` count by status."""

    state: ServiceState
    detail: Text = ""
    stack: Name = ""
    uptime_s: Seconds = 0.0
    tasks: Annotated[dict[Name, Count], Meta(max_length=16)] = msgspec.field(default_factory=dict)
    subgoals: Annotated[dict[Name, Count], Meta(max_length=16)] = msgspec.field(default_factory=dict)
    attempts: Count = 0
    refused: Count = 0  # requests
    dropped: Count = 0  # replies that a client did not take
    worker_restarts: Count = 0


class Refused(Reply, frozen=True, kw_only=True, tag="refused"):
    """The request was not done; ``error`` is a sentence that says why and what to do."""

    error: Text


TaskMessage: TypeAlias = PlanMessage | AttemptMessage | SubgoalMessage | EndMessage
AnyRequest: TypeAlias = Submit | Snapshot | Cancel | Ping | Health
AnyReply: TypeAlias = SubmitReply | SnapshotReply | CancelReply | Pong | HealthReply | Refused
Message: TypeAlias = TaskMessage | Heartbeat | FrameMessage | AnyRequest | AnyReply


def topic_of(message: Header) -> bytes:
    """The first ZeroMQ frame, for subscriptions: the kind; ``request`` and ``reply`` for those."""
    if isinstance(message, Request):
        return b"request"
    if isinstance(message, Reply):
        return b"reply"
    return str(message.__struct_config__.tag).encode()


def image_of(message: Header) -> ImageInfo | None:
    """What the payload must be; None for an empty payload."""
    image = getattr(message, "image", None)
    return image if isinstance(image, ImageInfo) else None
