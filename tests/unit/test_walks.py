"""Walks go from picture to picture, with the simulator's truth beside them, and come back as data for both models."""

from __future__ import annotations

import shutil
from itertools import pairwise

import cv2
import numpy as np
import pytest
from tiny_pairs import generator_folder, pairs_folder

torch = pytest.importorskip("torch")

from itk_embodied.errors import ConfigError, InputError  # noqa: E402
from itk_embodied.training import walks  # noqa: E402
from itk_embodied.training.critic_generated import Gallery  # noqa: E402
from itk_embodied.training.generator import train_generator  # noqa: E402
from itk_embodied.training.generator_model import GeneratorTraining  # noqa: E402
from itk_embodied.training.rollouts.draw import draw_task  # noqa: E402
from itk_embodied.training.rollouts.truth import Truth  # noqa: E402
from itk_embodied.training.shards import ARRAYS, ShardSet  # noqa: E402
from itk_sim.splits import is_train_step  # noqa: E402
from itk_sim.table import Table  # noqa: E402


@pytest.fixture(scope="module")
def table():
    with Table() as table:
        yield table


@pytest.fixture(scope="module")
def checkpoint():
    return generator_folder()


def walked(table, paint, seeds=range(6), **more):
    walker = walks.Walker(table, paint, **more)
    return [list(walker.walk(np.random.default_rng([3, seed]), False)) for seed in seeds]


class Soft:
    """Paints the right picture, a little blurred: it looks at the table, which has done the step by then."""

    def __init__(self, table):
        self.table = table

    def __call__(self, picture, step, rng):
        return cv2.GaussianBlur(self.table.render("front", walks.FRAME_PX), (5, 5), 0.8)


def test_the_next_step_starts_from_the_picture_where_it_is_right(table, monkeypatch):
    monkeypatch.setattr(walks, "PAINTED", 1.0)
    went_on = 0
    for walk in walked(table, Soft(table)):
        assert len(walk) >= 2
        for (one, (painting, _)), (record, _) in pairwise(walk):
            # All else is held to the camera frame.
            changed = cv2.erode(
                (cv2.absdiff(painting.image, one.before).max(-1) > 60).astype(np.uint8), np.ones((3, 3))
            )
            there = changed.astype(bool)
            if there.sum() >= 12 and np.array_equal(record.before[there], painting.image[there]):
                went_on += not np.array_equal(record.before[there], one.after[there])
                assert painting.judged.semantics > 4
    assert went_on >= 6


def test_it_goes_on_from_the_truth_where_the_picture_is_wrong(table, monkeypatch):
    monkeypatch.setattr(walks, "PAINTED", 1.0)
    for walk in walked(table, lambda picture, step, rng: picture):
        for (one, paintings), (other, _) in pairwise(walk):
            assert len(paintings) == walks.PICTURES and not any(painting.judged.success for painting in paintings)
            assert np.array_equal(other.before, one.after)


def test_only_what_the_step_changes_is_the_simulators(table, monkeypatch):
    monkeypatch.setattr(walks, "PAINTED", 1.0)
    for walk in walked(table, Soft(table)):
        for record, _ in walk[1:]:
            # The painter blurs the whole picture: all of it would differ from the simulator's.
            assert 0.005 < (record.before != record.after).any(-1).mean() < 0.15


def test_traces_are_mended_and_cubes_left_as_they_were_painted(table):
    truth = Truth(table, np.random.default_rng(4), walks.SIZE_PX)
    _, _, task = draw_task(table, np.random.default_rng(4), held_out=False, families=["put_in"])
    clean = table.render("front", walks.FRAME_PX)
    record = truth.reach(task.steps[0], walks.small(clean), task.family)
    reached = table.render("front", walks.FRAME_PX)
    still = record.before_seg == record.after_seg
    bystanders = np.isin(record.before_seg, walks.CUBE_IDS) & still
    assert bystanders.sum() > 20
    # A blot on the bare table, away from all cubes, and softer cubes: what a generator leaves behind.
    cubes = np.isin(record.before_seg, walks.CUBE_IDS) | np.isin(record.after_seg, walks.CUBE_IDS)
    free = ~cv2.dilate((cubes | ~still).astype(np.uint8), np.ones((25, 25))).astype(bool)
    rows, columns = np.nonzero(free[70:95])
    row, column = 2 * (70 + rows[0]), 2 * columns[0]
    picture = clean.copy()
    picture[row - 3 : row + 3, column : column + 6] ^= 96
    large = bystanders.repeat(2, 0).repeat(2, 1)
    picture[large] = cv2.GaussianBlur(clean, (5, 5), 1.5)[large]
    goal = walks._without_traces(picture, clean, reached, record)
    assert np.array_equal(goal[row - 3 : row + 3, column : column + 6], reached[row - 3 : row + 3, column : column + 6])
    # Light and shadow change around the moved cube.
    lit = cv2.dilate((np.abs(clean.astype(int) - reached).max(-1) > 3).astype(np.uint8), np.ones((15, 15))).astype(bool)
    assert (large & ~lit).sum() > 40 and np.array_equal(goal[large & ~lit], picture[large & ~lit])
    moved = record.before_seg != record.after_seg
    assert np.array_equal(walks.small(goal)[moved], walks.small(reached)[moved])


def test_what_hardly_differs_from_the_camera_frame_is_that_frame_again(table, monkeypatch):
    monkeypatch.setattr(walks, "PAINTED", 1.0)
    soft = Soft(table)

    def hazy(picture, step, rng):
        return cv2.add(soft(picture, step, rng), np.full_like(picture, 3))

    went_on = 0
    for (first, _), *walk in walked(table, hazy):
        for record, _ in walk:
            share = (record.before == first.before).all(-1).mean()
            went_on += share > 0.7
            assert share > 0.7, "the haze is still there"
    assert went_on >= 6


def test_of_a_refined_painting_the_rough_one_is_kept(table, monkeypatch):
    monkeypatch.setattr(walks, "PAINTED", 1.0)
    soft, drawn = Soft(table), {"fine": [], "rough": []}

    def fine(picture, step, rng):
        drawn["fine"].append(rng.integers(2**31))
        return soft(picture, step, rng)

    def rough(picture, step, rng):
        drawn["rough"].append(rng.integers(2**31))
        return np.full_like(picture, 90)

    went_on = 0
    for walk in walked(table, fine, rough=rough):
        for (one, (kept,)), (other, _) in pairwise(walk):
            assert (kept.image == 90).all() and not kept.judged.success
            went_on += not np.array_equal(other.before, one.after)
    assert went_on >= 6, "the walks go on from the simulator's pictures"
    assert drawn["fine"] == drawn["rough"], "these are not the same paintings"


def test_walks_go_on_when_their_task_is_done(table):
    longer, shorter = (
        walked(table, Soft(table), kind=walks.WalkKind(more_share=share, most_more=12)) for share in (1.0, 0.0)
    )
    assert sum(map(len, longer)) > sum(map(len, shorter)) + 6
    assert max(map(len, walked(table, Soft(table), kind=walks.WalkKind(1.0, 1)))) <= max(map(len, shorter)) + 1
    kinds = {record.kind for walk in longer for record, _ in walk}
    assert kinds & set(walks.MORE_KINDS)
    assert all(is_train_step(record.step) for walk in longer for record, _ in walk)


def test_shards_are_the_same_whoever_makes_them_and_feed_both_models(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr(walks, "SHARD_WALKS", 2)
    out = tmp_path / "walks"
    assert walks.make_walks(out, 4, checkpoint, seed=1, first=18) == 2
    assert walks.make_walks(out, 4, checkpoint, seed=1, first=18) == 0
    kept = {name: np.load(out / "shard-00018" / f"{name}.npy") for name in ARRAYS}
    shutil.rmtree(out / "shard-00018")
    assert walks.make_walks(out, 4, checkpoint, seed=1, first=18) == 1
    assert all(np.array_equal(kept[name], np.load(out / "shard-00018" / f"{name}.npy")) for name in ARRAYS)

    train, held_out = ShardSet(out), ShardSet(out, "held-out")
    assert len(train) >= 4 and len(held_out) >= 4
    gallery = Gallery(ShardSet(pairs_folder()), tmp_path / "none", walks=out)
    steps = {key for _, key, *_ in gallery._items}
    assert 0 < len(steps) <= len(train) and len(gallery) == walks.PICTURES * len(steps)
    assert {len(gallery[i].image) for i in range(len(gallery))} == {128}

    config = GeneratorTraining(
        data=pairs_folder(), walks=out, walk_share=1.0, out=tmp_path / "run", samples=2, batch=2,
        channels=(16, 16, 32), words_width=32, reader_steps=0, stages=((64, 1.0),),
    )  # fmt: skip
    assert (train_generator(config, progress=False) / "model_index.json").exists()

    # Another shard's records may well be under the same numbers: its pictures would be taken for these.
    (out / "shard-00018").rename(out / "shard-00020")
    with pytest.raises(InputError, match="shard-00018: the shard was renamed"):
        Gallery(ShardSet(pairs_folder()), tmp_path / "none", walks=out)


def test_errors_say_what_to_do(checkpoint, tmp_path):
    with pytest.raises(InputError, match="walks is 0"):
        walks.make_walks(tmp_path, 0, checkpoint)
    with pytest.raises(InputError, match="pipeline folder of a trained generator"):
        walks.make_walks(tmp_path, 1, tmp_path / "none")
    with pytest.raises(InputError, match="has no refiner"):
        walks.make_walks(tmp_path, 1, checkpoint, kind=walks.WalkKind(rough=True))
    with pytest.raises(InputError, match="between 0 and 1"):
        walks.WalkKind(more_share=1.1)
    with pytest.raises(InputError, match="1 or more"):
        walks.WalkKind(most_more=0)
    with pytest.raises(ConfigError, match="train data walks"):
        train_generator(GeneratorTraining(data=pairs_folder(), out=tmp_path / "run", batch=2, walks=tmp_path / "no"))
