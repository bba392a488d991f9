"""The critic sets' filters, against numbers worked out by hand and as properties."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itk_embodied.errors import InputError
from itk_embodied.training.sets.filters import (
    FALLING,
    LOW,
    NO_TRUTH,
    RL,
    SFT,
    UNSETTLED,
    FilterSettings,
    StepScores,
    choose,
    dropped,
)


def step(number: int, *scores: float) -> StepScores:
    return StepScores(
        ("shard-00000", number, 0), scores, tuple(s >= 5 for s in scores), tuple(range(1, len(scores) + 1))
    )


@pytest.mark.parametrize(
    ("scores", "why"),
    [
        ((), NO_TRUTH),
        ((9.0, 5.0, 7.9), FALLING),
        ((9.0, 5.0, 8.0), ""),
        ((1.0, 3.9, 2.0), LOW),
        ((1.0, 4.0, 2.0), ""),
        ((8.0,), ""),
    ],
)
def test_what_neither_set_takes(scores, why):
    assert dropped(step(0, *scores), FilterSettings()) == why


def test_six_steps_worked_out_by_hand():
    """Failed: variances 0.25 (2, improving), 2.25 (0, unsettled: 5 to 5 below 7), 12.25 (1): two quiet ones of three.
    Without failure: 0 (3), 0.25 (4), 4 (5)."""
    steps = [step(0, 5, 2, 5), step(1, 2, 9), step(2, 4.5, 5.5), step(3, 9, 9), step(4, 8, 9), step(5, 6, 10)]
    chosen = choose(steps, FilterSettings())
    assert chosen.steps == 6 and chosen.steps_dropped == {UNSETTLED: 1}
    assert chosen.steps_kept == {SFT: 3, RL: 2}
    # SFT: one False (step 2, attempt 1) and five True; RL: one False (step 1) and three True.
    assert chosen.rows_dropped == {f"{SFT}: True rebalanced": 4, f"{RL}: True rebalanced": 2, f"{RL}: ratio": 0} or (
        chosen.rows_dropped[f"{SFT}: True rebalanced"] == 4 and chosen.rows_dropped[f"{RL}: True rebalanced"] == 2
    )
    assert ("shard-00000", 2, 0, 1) in chosen.rows[SFT] and ("shard-00000", 1, 0, 1) in chosen.rows[RL]
    assert [sum(chosen.labels[row] for row in chosen.rows[name]) for name in (SFT, RL)] == [1, 1]


def test_the_livelier_third_is_for_reinforcement():
    quiet, lively = [step(i, 8, 8.2) for i in range(20)], [step(20 + i, 5.5, 9.9) for i in range(10)]
    wrong = [step(30 + i, 4, 4.9) for i in range(20)] + [step(50 + i, 1, 9) for i in range(10)]
    chosen = choose([*quiet, *lively, *wrong], FilterSettings())
    assert chosen.steps_kept == {SFT: 40, RL: 20}
    assert {row[1] for row in chosen.rows[RL]} <= {*range(20, 30), *range(50, 60)}
    assert len(chosen.rows[SFT]) == 2 * len(chosen.rows[RL]) > 0


def test_unfiltered_takes_every_step_that_was_judged_whatever_its_variance():
    falling, low = [step(i, 9, 5, 7) for i in range(30)], [step(30 + i, 1, 2) for i in range(30)]
    flat, lively = [step(60 + i, 8, 8) for i in range(15)], [step(75 + i, 5, 9.9) for i in range(15)]
    chosen = choose([*falling, *low, *flat, *lively, step(90)], FilterSettings(filtered=False))
    assert chosen.steps_dropped == {NO_TRUTH: 1} and chosen.steps_kept == {SFT: 60, RL: 30}
    first, last = ({row[1] for row in chosen.rows[name]} for name in (SFT, RL))
    for part in (range(30), range(30, 60), range(75, 90)):  # flat ones may all fall to the rebalancing
        assert first & set(part) and last & set(part), "split by something other than the lot"
    assert abs(len(chosen.rows[SFT]) - 2 * len(chosen.rows[RL])) <= 4


def test_one_verdict_alone_teaches_nothing():
    chosen = choose([step(i, 8, 8.2) for i in range(9)], FilterSettings())
    assert chosen.rows == {SFT: [], RL: []} and sum(chosen.rows_dropped.values()) == 18


def test_limits_are_checked():
    with pytest.raises(InputError, match="true_share 1"):
        FilterSettings(true_share=1)


score_lists = st.lists(st.lists(st.floats(0, 10), max_size=5), max_size=40)


@given(score_lists, st.integers(0, 3), st.sampled_from([0.3, 0.5]))
@settings(max_examples=60, deadline=None)
def test_no_step_is_in_both_sets_nothing_is_lost_and_order_does_not_matter(scores, seed, share):
    limits = FilterSettings(seed=seed, true_share=share)
    steps = [step(i, *some) for i, some in enumerate(scores)]
    chosen = choose(steps, limits)
    assert choose(steps[::-1], limits) == chosen
    assert not {row[:3] for row in chosen.rows[SFT]} & {row[:3] for row in chosen.rows[RL]}
    assert chosen.steps == len(steps) == sum(chosen.steps_dropped.values()) + sum(chosen.steps_kept.values())
    kept = {one.key for one in steps if not dropped(one, limits)}
    assert {row[:3] for rows in chosen.rows.values() for row in rows} <= kept
    for rows in chosen.rows.values():
        true = sum(chosen.labels[row] for row in rows)
        assert abs(true - share * len(rows)) <= 1.5
    sft, rl = (len(chosen.rows[name]) for name in (SFT, RL))
    assert not (sft and rl) or abs(sft - 2 * rl) <= 4
