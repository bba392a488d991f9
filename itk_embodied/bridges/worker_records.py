"""Whole sequences, attempts and pictures included, from a worker process to its service: in parts, without pickle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import numpy as np

from itk_embodied.bridges.codec import Part
from itk_embodied.bridges.events import Job
from itk_embodied.bridges.worker_link import Record
from itk_embodied.errors import WireError
from itk_embodied.types import (
    Attempt,
    AttemptJudged,
    Event,
    Plan,
    SequenceEnded,
    SequenceStatus,
    Subgoal,
    SubgoalReady,
    SubgoalSequence,
)

Send = Callable[[Record, Part], None]


@dataclass(frozen=True)
class _Ending:
    """A sequence without what the service has already: its task, its frame, its subgoals."""

    plan: Plan | None
    status: SequenceStatus
    reason: str
    raw: str
    stack: str
    prompt_hashes: dict[str, str]
    plan_s: float
    first_subgoal_s: float | None
    total_s: float


def _encode_array(value: object) -> Any:
    if isinstance(value, np.ndarray):
        return {"shape": value.shape, "rgb": value.tobytes()}
    raise NotImplementedError(f"a sequence holds no {type(value).__name__}")


def _decode_array(kind: Any, value: Any) -> Any:
    try:
        image = np.frombuffer(value["rgb"], np.uint8).reshape(value["shape"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"not a picture: {error}") from error
    return image


_encoder = msgspec.msgpack.Encoder(enc_hook=_encode_array)
_attempts = msgspec.msgpack.Decoder(Attempt, dec_hook=_decode_array)
_subgoals = msgspec.msgpack.Decoder(Subgoal, dec_hook=_decode_array)
_endings = msgspec.msgpack.Decoder(_Ending)


def send_event(task_id: str, event: Event, send: Send) -> None:
    """In the worker: what of an event belongs to the record."""
    if isinstance(event, AttemptJudged):
        _send(task_id, "attempt", event.attempt, send)
    elif isinstance(event, SubgoalReady):
        _send(task_id, "subgoal", replace(event.subgoal, image=None, attempts=()), send)
    elif isinstance(event, SequenceEnded):
        made = event.sequence
        ending = _Ending(
            made.plan,
            made.status,
            made.reason,
            made.raw,
            made.stack,
            dict(made.prompt_hashes),
            made.plan_s,
            made.first_subgoal_s,
            made.total_s,
        )
        _send(task_id, "sequence", ending, send)


def _send(task_id: str, part: Any, value: object, send: Send) -> None:
    payload = _encoder.encode(value)
    send(Record(task_id=task_id, part=part, size_bytes=len(payload)), payload)


@dataclass
class Assembler:
    """In the service: the parts of one job's sequence, as they come."""

    job: Job
    attempts: list[Attempt] = field(default_factory=list)
    subgoals: list[Subgoal] = field(default_factory=list)

    def take(self, record: Record, payload: Part) -> SubgoalSequence | None:
        """Take a part in; returns the sequence with its last part.

        Raises:
            WireError: the part cannot be read.
        """
        try:
            if record.part == "attempt":
                self.attempts.append(_attempts.decode(payload))
                return None
            if record.part == "subgoal":
                self._close(_subgoals.decode(payload))
                return None
            return self._whole(_endings.decode(payload))
        except msgspec.DecodeError as error:
            raise WireError(f"the worker's record of an {record.part} cannot be read: {error}.") from error

    def _close(self, bare: Subgoal) -> None:
        subgoal = replace(bare, attempts=tuple(self.attempts))
        self.attempts.clear()
        chosen = subgoal.accepted
        painted = subgoal.status != "failed" and chosen is not None
        self.subgoals.append(replace(subgoal, image=chosen.image if painted and chosen else None))

    def _whole(self, ending: _Ending) -> SubgoalSequence:
        return SubgoalSequence(
            task=self.job.task,
            frame=self.job.frame,
            plan=ending.plan,
            subgoals=tuple(self.subgoals),
            status=ending.status,
            reason=ending.reason,
            raw=ending.raw,
            stack=ending.stack,
            prompt_hashes=ending.prompt_hashes,
            plan_s=ending.plan_s,
            first_subgoal_s=ending.first_subgoal_s,
            total_s=ending.total_s,
        )
