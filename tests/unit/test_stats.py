"""The interval against published values and against what it promises."""

from __future__ import annotations

import numpy as np
import pytest

from itk_embodied.evaluation.stats import Rate


@pytest.mark.parametrize(
    ("successes", "episodes", "lower", "upper"),
    # R: prop.test(x, n, correct = FALSE)$conf.int
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (29, 29, 0.8830, 1.0)],
)
def test_wilson_interval_matches_known_values(successes: int, episodes: int, lower: float, upper: float) -> None:
    assert Rate(successes, episodes).interval == pytest.approx((lower, upper), abs=1e-4)


def test_the_interval_covers_the_truth_about_95_times_in_100() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(2000):
        lower, upper = Rate(int(rng.binomial(200, 0.9)), 200).interval
        covered += lower <= 0.9 <= upper
    assert 0.93 <= covered / 2000 <= 0.97


def test_no_episodes_is_not_a_rate() -> None:
    assert Rate(0, 0).rate is None
    assert Rate(0, 0).interval == (0.0, 1.0)
