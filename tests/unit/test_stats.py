"""The interval against published values and against what it promises."""

from __future__ import annotations

import numpy as np
import pytest

from itk_embodied.evaluation.stats import Rate, paired_difference


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


def test_a_paired_difference_covers_the_truth_and_gains_from_the_pairing() -> None:
    rng = np.random.default_rng(1)
    covered, widths = 0, []
    for _ in range(400):
        theirs = rng.random(150) < 0.6
        ours = theirs | (rng.random(150) < 0.25)  # wins in a quarter of what the other loses
        found = paired_difference(ours.tolist(), theirs.tolist(), draws=1000)
        assert found is not None
        covered += found.low <= 0.1 <= found.high
        widths.append(found.high - found.low)
    assert 0.91 <= covered / 400 <= 0.98 and np.mean(widths) < 0.12  # unpaired: about 0.21


def test_a_paired_difference_is_signed_and_needs_pairs() -> None:
    found = paired_difference([True, False, False], [True, True, True])
    assert found is not None and found.mean == pytest.approx(-2 / 3) and found.low == -1 and found.high == 0
    assert paired_difference([], []) is None
    with pytest.raises(ValueError, match="1 and 2 outcomes"):
        paired_difference([True], [True, False])
