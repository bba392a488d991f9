"""Success rates and differences of paired outcomes, with their intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Rate:
    """``successes`` out of ``episodes`` with the Wilson 95 % score interval (E. B. Wilson, 1927)."""

    successes: int
    episodes: int

    @property
    def rate(self) -> float | None:
        return self.successes / self.episodes if self.episodes else None

    @property
    def interval(self) -> tuple[float, float]:
        """Lower and upper bound, in 0..1; (0, 1) where there are no episodes."""
        n = self.episodes
        if n == 0:
            return 0.0, 1.0
        z = 1.959963984540054
        share = self.successes / n
        centre = share + z * z / (2 * n)
        spread = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
        scale = 1 + z * z / n
        # At 0 and n successes the bound is 0 and 1 exactly; rounding would leave a trace.
        lower = 0.0 if self.successes == 0 else (centre - spread) / scale
        upper = 1.0 if self.successes == n else (centre + spread) / scale
        return lower, upper

    def __str__(self) -> str:
        if self.rate is None:
            return "no episodes"
        lower, upper = self.interval
        return f"{self.rate:.3f} [{lower:.3f}, {upper:.3f}] ({self.successes}/{self.episodes})"

    def record(self) -> dict[str, object]:
        return {
            "successes": self.successes,
            "episodes": self.episodes,
            "success_rate": self.rate,
            "interval_95": [round(bound, 4) for bound in self.interval],
        }


@dataclass(frozen=True)
class Difference:
    """How much more often one succeeded than the other on the same ``pairs`` cases, -1..1, with a 95 % interval."""

    mean: float
    low: float
    high: float
    pairs: int

    def __str__(self) -> str:
        return f"{self.mean:+.3f} [{self.low:+.3f}, {self.high:+.3f}] (n={self.pairs})"

    def record(self) -> dict[str, object]:
        bounds = [round(self.low, 4), round(self.high, 4)]
        return {"difference": round(self.mean, 4), "interval_95": bounds, "pairs": self.pairs}


def paired_difference(
    ours: Sequence[bool], theirs: Sequence[bool], *, seed: int = 0, draws: int = 10_000
) -> Difference | None:
    """Bootstrap over the cases (B. Efron, 1979; percentiles): case i is the same for both. None without cases.

    Where all cases differ alike, such as not at all, the interval has no width: few cases then say less than it seems.

    Raises:
        ValueError: the lengths differ.
    """
    if len(ours) != len(theirs):
        raise ValueError(
            f"{len(ours)} and {len(theirs)} outcomes were given; pairs need as many of one as of the other"
        )
    if not len(ours):
        return None
    gaps = np.asarray(ours, int) - np.asarray(theirs, int)
    # Drawing cases with replacement is drawing how many are lost, equal and won.
    values, counts = np.unique(gaps, return_counts=True)
    drawn = np.random.default_rng(seed).multinomial(len(gaps), counts / len(gaps), size=draws)
    low, high = np.percentile(drawn @ values / len(gaps), [2.5, 97.5])
    return Difference(float(gaps.mean()), float(low), float(high), len(gaps))
