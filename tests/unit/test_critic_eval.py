"""The critic's table: its rates by hand, and what a threshold does to them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from itk_embodied.training.critic_eval import Case, choose_threshold, rates, score

PICTURE = np.zeros((4, 4, 3), np.uint8)


def case(kind: str, good: bool) -> Case:
    return Case(PICTURE, PICTURE, "put the red cube in the teal bowl", kind, good)


def test_rates_by_hand() -> None:
    good = np.array([True, True, True, True, False, False])
    found = rates(good, np.array([0.9, 0.8, 0.6, 0.2, 0.6, 0.1]), 0.5)
    assert (found["false_accept"]["successes"], found["false_accept"]["episodes"]) == (1, 2)
    assert (found["false_reject"]["successes"], found["false_reject"]["episodes"]) == (1, 4)
    assert found["balanced_accuracy"] == pytest.approx(1 - (1 / 2 + 1 / 4) / 2)
    # Of eight pairs six are in order and one is even.
    assert found["area_under_curve"] == pytest.approx(6.5 / 8)


def test_the_area_does_not_hang_on_the_threshold() -> None:
    rng = np.random.default_rng(0)
    good, said = rng.random(50) < 0.5, rng.random(50)
    assert len({rates(good, said, threshold)["area_under_curve"] for threshold in (0.1, 0.5, 0.9)}) == 1
    assert rates(good, good.astype(float), 0.5)["area_under_curve"] == 1.0


@pytest.mark.parametrize("only", [True, False])
def test_cases_of_one_side_have_no_balance(only: bool) -> None:
    found = rates(np.array([only] * 3), np.array([0.1, 0.6, 0.9]), 0.5)
    assert found["balanced_accuracy"] is None and found["area_under_curve"] is None


def test_own_pictures_are_those_that_generators_painted() -> None:
    cases = [case("painted right", True), case("in a sequence wrong", False), case("blurred", False)]
    found = score(cases, [0.9, 0.8, 0.7], 0.75)
    assert found["own_pictures"]["false_accept"]["episodes"] == 1 and found["false_accept"]["episodes"] == 2
    assert found["accuracy_by_kind"]["blurred"]["success_rate"] == 1.0
    assert score(cases[2:], [0.7], 0.5)["own_pictures"] is None


def test_paintings_are_counted_by_the_judges_points() -> None:
    points = [0.0, 0.49, 2.5, 4.9, 5.0, 9.0, None]
    cases = [replace(case("painted", True), points=one) for one in points]
    found = score(cases, [0.9, 0.1, 0.9, 0.9, 0.1, 0.9, 0.9], 0.5)["accepted_by_points"]
    told = {at: (rate["successes"], rate["episodes"]) for at, rate in found.items()}
    assert told == {"0.0": (1, 2), "0.5": (0, 0), "2.5": (2, 2), "5.0": (0, 1), "7.5": (1, 1)}


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5])
def test_a_chosen_threshold_keeps_false_accepts_at_their_share(share: float) -> None:
    rng = np.random.default_rng(1)
    cases = [case("x", bool(n % 2)) for n in range(100)]
    said = rng.random(100).tolist()
    chosen = choose_threshold(cases, said, share)
    accepts = rates(np.array([c.good for c in cases]), np.array(said), chosen)["false_accept"]["success_rate"]
    assert share - 0.03 <= accepts <= share
