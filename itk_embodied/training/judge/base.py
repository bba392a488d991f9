"""What every judge answers, in the way of VIEScore (arXiv 2312.14867): semantics, quality, and their geometric mean."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from itk_embodied.agents.base import CallContext
from itk_embodied.training.shards import Record
from itk_embodied.types import Image
from itk_sim.language import instruction

PASS = 5.0
"""A picture whose semantics and quality both reach this is right."""
PARTS = ("right_change", "nothing_else", "natural", "no_artefacts")


@dataclass(frozen=True, eq=False)
class Subject:
    """What is judged by: the picture the step started from (uint8 RGB), the ORIGINAL instruction, and the simulator's
    ground truth where there is one. With a record, ``before`` is the record's."""

    before: Image
    instruction: str
    record: Record | None = None

    @classmethod
    def of(cls, record: Record) -> Subject:
        return cls(record.before, instruction(record.step), record)


@dataclass(frozen=True)
class Judgement:
    """Scores from 0 to 10.

    Attributes:
        right_change: what was asked for has happened.
        nothing_else: and nothing besides.
        natural: the picture looks like one of this scene.
        no_artefacts: nothing in it is half there, blurred, doubled or noisy.
        reasons: what is wrong, in words.
        raw: a model's own answer.
    """

    right_change: float
    nothing_else: float
    natural: float
    no_artefacts: float
    reasons: tuple[str, ...] = ()
    raw: str = ""

    def __post_init__(self) -> None:
        for name in PARTS:
            if not 0 <= getattr(self, name) <= 10:  # NaN too
                raise ValueError(f"{name} is {getattr(self, name)}; a score lies in 0..10")

    @property
    def semantics(self) -> float:
        return min(self.right_change, self.nothing_else)

    @property
    def quality(self) -> float:
        return min(self.natural, self.no_artefacts)

    @property
    def overall(self) -> float:
        return math.sqrt(self.semantics * self.quality)

    @property
    def success(self) -> bool:
        """J: whether the step has succeeded."""
        return min(self.semantics, self.quality) >= PASS


@runtime_checkable
class Judge(Protocol):
    """Scores pictures."""

    @property
    def name(self) -> str: ...

    def judge(self, subject: Subject, image: Image, context: CallContext | None = None) -> Judgement:
        """Judge ``image`` as the result of the subject's instruction.

        Raises:
            InputError: the judge needs something that the subject has not.
            ItkError: a model behind an endpoint failed.
        """
        ...
