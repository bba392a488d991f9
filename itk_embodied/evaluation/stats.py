"""Success rates with their intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass


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
