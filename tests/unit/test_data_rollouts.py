"""Rollouts: judged by the ground truth they keep, the same after an interruption, refused under other settings."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from told_roles import Desk, knowing, watched

from itk_embodied.errors import ConfigError, InputError
from itk_embodied.training.judge import SimulatorJudge, Subject
from itk_embodied.training.rollouts.lines import JudgeLine
from itk_embodied.training.rollouts.make import RolloutSettings, make_rollouts
from itk_embodied.training.rollouts.roles import mistaken
from itk_embodied.training.rollouts.store import RolloutSet
from itk_embodied.training.shards import ShardSet
from itk_sim.language import instruction, parse_instruction

SETTINGS = RolloutSettings("told", attempts=3, misled=0.4, shard_size=4, seed=4)


@pytest.fixture
def desk(monkeypatch) -> Desk:
    return watched(monkeypatch)


def made(desk, out, settings=SETTINGS, first=18, trajectories=4, fail_at=-1):
    return make_rollouts(
        out, trajectories, settings, first=first, roles=lambda _: knowing(desk, fail_at), progress=False
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One shard of training, one held out."""
    with pytest.MonkeyPatch.context() as patch:
        out = tmp_path_factory.mktemp("rollouts")
        assert made(watched(patch), out, trajectories=8) == 2
        yield out


def test_every_picture_can_be_judged_again_from_what_is_kept(folder):
    rollouts, judge, seen = RolloutSet(folder), SimulatorJudge(), 0
    for one in rollouts:
        for step in one.line.steps:
            assert [attempt.attempt for attempt in step.attempts] == [1, 2, 3], "every step is painted every time"
            for attempt in step.attempts:
                if step.row is None:
                    assert attempt.judged is None and step.unjudged
                    continue
                again = judge.judge(Subject.of(one.record(step.row)), one.image(attempt.image))
                assert JudgeLine.of(again) == attempt.judged
                assert attempt.judged.success == (again.overall >= 5 and min(again.semantics, again.quality) >= 5)
                seen += 1
    assert seen >= 9


def test_the_ground_truth_follows_the_pictures_through_whole_plans(folder):
    """With a generator that does what it is told, what the critic accepts is right, in later steps too."""
    later = 0
    for one in RolloutSet(folder):
        for place, step in enumerate(one.line.steps):
            if step.row is None:
                continue
            assert parse_instruction(step.instruction) == one.record(step.row).step
            for attempt in step.attempts:
                assert attempt.verdict.success == attempt.judged.success, (step.instruction, attempt)
            later += place > 0
    assert later >= 2


def test_some_steps_begin_with_a_wrong_prompt_and_are_put_right(folder):
    first = [step for one in RolloutSet(folder) for step in one.line.steps if step.row is not None]
    misled = [step for step in first if step.attempts[0].prompt != step.instruction]
    assert 0 < len(misled) < len(first)
    for step in misled:
        assert not step.attempts[0].judged.success and step.attempts[1].prompt == step.instruction


def test_the_ground_truth_is_a_shard_set_of_its_own(folder):
    train, held_out = ShardSet(folder), ShardSet(folder, "held-out")
    assert {name for name, _ in train.keys} == {"shard-00018"} and {n for n, _ in held_out.keys} == {"shard-00019"}
    record = train.record("shard-00018", 0)
    assert record.before.shape == (128, 128, 3) and np.array_equal(record.after, train[0].after)
    with pytest.raises(InputError, match="no record 999"):
        train.record("shard-00018", 999)
    with pytest.raises(InputError, match="shard-00019"):
        train.record("shard-00019", 0)


def test_an_interrupted_run_goes_on_and_ends_as_the_same_data(desk, folder, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        made(desk, tmp_path, fail_at=5)
    assert not list(tmp_path.glob("*shard*")), "half a shard is never seen"
    assert made(desk, tmp_path) == 1 and made(desk, tmp_path) == 0
    for name in ("trajectories.jsonl", "pairs.jsonl", "attempts.npy", "before.npy", "after_seg.npy"):
        here, there = tmp_path / "shard-00018" / name, folder / "shard-00018" / name
        assert here.read_bytes() == there.read_bytes(), name


def test_other_settings_in_the_same_folder_are_refused(desk, folder):
    with pytest.raises(ConfigError, match=r"misled 0\.4 instead of 0\.1"):
        made(desk, folder, dataclasses.replace(SETTINGS, misled=0.1))
    with pytest.raises(InputError, match="misled is 2"):
        dataclasses.replace(SETTINGS, misled=2)
    with pytest.raises(InputError, match="train data rollouts"):
        RolloutSet(folder / "nothing")


def test_a_mistaken_prompt_asks_for_something_else(folder):
    for one in RolloutSet(folder):
        for step in one.line.task.steps:
            for seed in range(5):
                other = mistaken(instruction(step), one.line.state, np.random.default_rng(seed))
                assert other is None or parse_instruction(other) != step
    assert mistaken("tidy up a bit", one.line.state, np.random.default_rng(0)) is None
