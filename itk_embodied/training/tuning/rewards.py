"""The critic's reward, in both published forms, as plain arithmetic.

Both reward a readable answer with one half, and with the other half the verdict's accuracy and what the rewritten
prompt made better: the step is painted again from it and scored against the ORIGINAL instruction.

``paper``: ``R = 0.5 F + 0.5 (alpha A + (1 - alpha) G)`` with ``A = -|j - J|`` and ``G = score(t+1) - score(t)``, scores
being the overall ones, sqrt(semantics x quality), in tenths so that G lies in -1..1. Neutral: G = 0.

``released-code``: ``R = 0.5 F + 0.5 (0.2 A + 0.6 S + 0.2 Q)`` with ``A`` 1 where the verdict is right, else 0,
``S = ((semantics(t+1) - semantics(t)) / 10 + 1) / 2`` and Q likewise for quality. Neutral: S = Q = 0.5.

Neutral are steps that had succeeded already, failures of generator or scorer (which are counted, see `refinement`), and
verdicts of success: they end the loop, so nothing is painted again. An answer that cannot be read earns nothing: F = 0,
the worst A, and no gain (G = 0, S = Q = 0).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

from itk_embodied.training.judge.base import PASS, Judgement

Form: TypeAlias = Literal["paper", "released-code"]


@dataclass(frozen=True)
class Scores:
    """What a judge says of one picture: ``semantics`` and ``quality``, 0..10."""

    semantics: float
    quality: float

    def __post_init__(self) -> None:
        for name in ("semantics", "quality"):
            value = getattr(self, name)
            if not 0 <= value <= 10:  # catches NaN too
                raise ValueError(f"{name} is {value}; a judge's score lies in 0..10")

    @classmethod
    def of(cls, judgement: Judgement) -> Scores:
        return cls(judgement.semantics, judgement.quality)

    @property
    def overall(self) -> float:
        return math.sqrt(self.semantics * self.quality)

    @property
    def success(self) -> bool:
        """J, as the judge has it."""
        return min(self.semantics, self.quality) >= PASS


@dataclass(frozen=True)
class Gain:
    """Scores before and after the refinement."""

    before: Scores
    after: Scores

    @property
    def overall(self) -> float:
        """-1..1"""
        return (self.after.overall - self.before.overall) / 10


@dataclass(frozen=True)
class Reward:
    """``total`` and its parts as the form counts them; ``step`` is G, or 0.75 S + 0.25 Q (their shares in the sum)."""

    total: float
    format: float
    accuracy: float
    step: float


def reward(form: Form, *, said: bool | None, truth: bool, gain: Gain | None, alpha: float = 0.2) -> Reward:
    """The reward of one answer.

    Args:
        said: the verdict; None where the answer cannot be read.
        truth: whether the step had really succeeded.
        gain: what the refinement changed; None is neutral.
        alpha: the accuracy's share, in the paper's form.
    """
    readable = said is not None
    form_part = 1.0 if readable else 0.0
    if form == "paper":
        accuracy = -abs(int(said) - int(truth)) if said is not None else -1
        step = gain.overall if gain is not None and readable else 0.0
        total = 0.5 * form_part + 0.5 * (alpha * accuracy + (1 - alpha) * step)
        return Reward(total, form_part, float(accuracy), step)
    accuracy = int(said == truth) if readable else 0
    if not readable:
        semantics = quality = 0.0
    elif gain is None:
        semantics = quality = 0.5
    else:
        semantics = ((gain.after.semantics - gain.before.semantics) / 10 + 1) / 2
        quality = ((gain.after.quality - gain.before.quality) / 10 + 1) / 2
    total = 0.5 * form_part + 0.5 * (0.2 * accuracy + 0.6 * semantics + 0.2 * quality)
    return Reward(total, form_part, float(accuracy), 0.75 * semantics + 0.25 * quality)
