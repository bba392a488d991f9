"""A measured fault of a picture, its limit, and the points from 0 to 10 that are left."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

Part: TypeAlias = Literal["change", "else", "natural", "artefact"]
FREE = 0.6
"""Up to this share of its limit a fault costs nothing: ground truth stored or rendered another way has such faults."""


@dataclass(frozen=True)
class Measure:
    """``value``: how much of the fault there is; right up to ``limit``. ``says``: what is wrong beyond it."""

    part: Part
    name: str
    value: float
    limit: float
    says: str

    @property
    def excess(self) -> float:
        """The fault in units of its limit."""
        return self.value / self.limit

    @property
    def points(self) -> float:
        """10 up to FREE of the limit, 5 at the limit, 0 from twice the limit on; straight lines between."""
        share = self.excess
        if share <= FREE:
            return 10.0
        return 10 - 5 * (share - FREE) / (1 - FREE) if share <= 1 else max(0.0, 5 * (2 - share))


def points_of(measures: Iterable[Measure], part: Part) -> float:
    """The points of a part are those of its worst fault; 10 where nothing was measured."""
    return min((measure.points for measure in measures if measure.part == part), default=10.0)


def faults(measures: Iterable[Measure]) -> tuple[str, ...]:
    """What is wrong, in the order it was measured, nothing twice."""
    return tuple(dict.fromkeys(measure.says for measure in measures if measure.excess > 1))
