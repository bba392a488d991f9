"""Doubted thoughts, misplaced cubes, and the generator's own pictures as the critic's lessons."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from itk_embodied.training.corruptions import CORRUPTIONS, SEGMENT_ID  # noqa: E402
from itk_embodied.training.critic_data import ask, thought  # noqa: E402
from itk_embodied.training.critic_doubt import doubtful  # noqa: E402
from itk_embodied.training.critic_generated import Gallery, Painting, paint, painting_example  # noqa: E402
from itk_embodied.training.judge.edit import check_edit  # noqa: E402
from itk_embodied.training.shards import ShardSet, make_shards  # noqa: E402
from itk_sim.predicates import holds  # noqa: E402
from itk_sim.symbols import DIRECTIONS  # noqa: E402


@pytest.fixture(scope="module")
def shards(tmp_path_factory) -> ShardSet:
    folder = tmp_path_factory.mktemp("pairs")
    make_shards(folder, 24, seed=8, shard_size=24)
    return ShardSet(folder)


def test_a_doubted_thought_is_another_of_the_same_form(shards: ShardSet) -> None:
    rng, other = np.random.default_rng(0), 0
    for record in shards:
        true = thought(record, record.step, None)
        spoilt = doubtful(true, rng)
        other += spoilt != true
        assert spoilt.count(";") == true.count(";") and spoilt.split(";")[-2].startswith("else ")
        assert spoilt.endswith("clean") or spoilt.split(";")[-1].startswith("damage<x")
    assert other >= 0.8 * len(shards)


def test_the_verdict_is_learnt_under_doubt_and_the_wrong_thought_is_not(shards: ShardSet) -> None:
    rng = np.random.default_rng(1)
    for record in shards:
        doubted = ask(record, record.step, True, None, rng, "right", doubt_share=1.0)
        assert doubted.answer[0][1] is False and doubted.answer[1] == ("true", True)
        believed = ask(record, record.step, False, None, rng, "wrong", doubt_share=0.0)
        assert believed.answer[0][1] is True and believed.answer[1] == ("false", True)


def test_a_cube_misplaced_from_a_direction_is_not_in_that_direction(shards: ShardSet) -> None:
    rng, made = np.random.default_rng(2), 0
    for record in shards:
        step = record.step
        if step.relation not in DIRECTIONS:
            continue
        for _ in range(4):
            spoilt = CORRUPTIONS["misplaced"](record, rng)
            if spoilt is None:
                continue
            made += 1
            checked = check_edit(spoilt.image, record)
            assert not checked.ok, (step, checked)
            assert holds((str(step.relation), str(step.obj), str(step.target)), record.after_state)
    assert made >= 3


class _Truth:
    """A generator that paints the right picture, or leaves it as it was."""

    def __init__(self, shards: ShardSet) -> None:
        self.shards, self.calls = shards, 0
        self.text_encoder = SimpleNamespace(tables=[], vectors=lambda shares: torch.zeros(1))

    def set_progress_bar_config(self, **options: object) -> None:
        pass

    def __call__(self, frames, texts, steps, generators, output_type, return_dict, candidates):  # type: ignore[no-untyped-def]
        self.calls += 1
        known = {record.before.tobytes(): record for record in self.shards}
        found = [known[np.asarray(frame).tobytes()] for frame in frames]
        return (np.stack([r.after if i % 2 else r.before for i, r in enumerate(found)]),)


def test_paintings_are_checked_kept_and_not_painted_twice(shards: ShardSet, tmp_path: Path, monkeypatch) -> None:
    from itk_embodied.agents.generators.composite_flow import CompositeFlowEditPipeline

    truth = _Truth(shards)
    monkeypatch.setattr(CompositeFlowEditPipeline, "from_pretrained", lambda checkpoint: truth)
    assert paint(shards, Path("any"), tmp_path, 32) == 32
    assert paint(shards, Path("any"), tmp_path, 32) == 0 and truth.calls == 2
    gallery = Gallery(shards, tmp_path)
    assert len(gallery) == 32 and len(Gallery(shards, tmp_path / "none")) == 0
    for painting in gallery:
        right = np.array_equal(painting.image, painting.record.after)
        assert painting.judged == Painting.of(painting.record, painting.image).judged
        assert not painting.judged.success or right, "an unchanged picture passed the judge"
    rng = np.random.default_rng(3)
    assert gallery.draw(rng, right=True).judged.success and not gallery.draw(rng, right=False).judged.success


def test_what_a_painting_teaches(shards: ShardSet) -> None:
    rng = np.random.default_rng(4)
    for record in shards:
        for image in (record.after, record.before):
            painting = Painting.of(record, image)
            example = painting_example(painting, rng)
            own = example.questions[0]
            right = painting.judged.success
            assert own.good is right and own.answer[1] == ("true" if right else "false", True)
            assert right or own.answer[0][1] is False, "a guess about a wrong picture was taught"
            assert all(question.good is False for question in example.questions[1:])
            if right and record.step.obj:
                told = example.places[1][record.step.obj]
                true = np.array(record.after_state.pixel[record.step.obj]) * 128
                assert (record.after_seg == SEGMENT_ID[record.step.obj]).any()
                assert told is None or np.hypot(*(np.array(told) - true)) < 5
