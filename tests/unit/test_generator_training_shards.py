"""Pairs on disk: what is written comes back, a stopped run goes on, and held-out shards stay apart."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from tiny_pairs import pairs_folder

from itk_embodied.errors import InputError
from itk_embodied.training.shards import ShardSet, is_held_out, make_shards


def test_records_come_back_as_the_simulator_made_them():
    from itk_sim.pairs import sample_pair
    from itk_sim.table import Table

    stored = ShardSet(pairs_folder())[0]
    with Table() as table:
        pair = sample_pair(table, np.random.default_rng([3, 18]), 128)
    for name in ("before", "after", "before_seg", "after_seg"):
        np.testing.assert_array_equal(getattr(stored, name), getattr(pair, name))
    assert stored.step == pair.step and stored.kind == pair.kind
    assert stored.before_state.support == pair.before_state.support
    assert stored.after_state.cubes == pair.after_state.cubes
    np.testing.assert_allclose(stored.k, pair.camera.K)


def test_splits_are_by_shard_and_do_not_meet():
    train, held_out = ShardSet(pairs_folder(), "train"), ShardSet(pairs_folder(), "held-out")
    assert len(train) == len(held_out) == 6
    assert not is_held_out(18) and is_held_out(19)
    assert not np.array_equal(train[0].before, held_out[0].before)


def test_only_missing_shards_are_made_and_partial_ones_are_not_read(tmp_path):
    shutil.copytree(pairs_folder(), tmp_path / "pairs")
    folder = tmp_path / "pairs"
    (folder / ".shard-00020-1").mkdir()
    assert make_shards(folder, 12, shard_size=6, first=18, seed=3) == 0
    shards = ShardSet(folder)
    (folder / "shard-00018").rename(folder / "shard-00022")
    assert shards.refresh() == 12, "a shard that was finished since is taken up"


def test_pairs_of_some_kinds_alone_are_made_in_equal_shares(tmp_path):
    kinds = ("into a crowd", "open")
    make_shards(tmp_path, 4, shard_size=4, seed=1, first=7, kinds=kinds)
    (folder,) = tmp_path.iterdir()
    assert folder.name == "shard-00007"
    assert [record.kind for record in ShardSet(tmp_path)] == [*kinds, *kinds]


def test_wrong_arguments_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"'juggle' was given; allowed: in bowl.*out of a crowd"):
        make_shards(tmp_path, 1, kinds=["open", "juggle"])
    assert not list(tmp_path.iterdir())
    with pytest.raises(InputError, match="allowed: train, held-out"):
        ShardSet(tmp_path, "test")
    with pytest.raises(InputError, match="1 or more"):
        make_shards(tmp_path, 0)


def test_a_terminated_maker_ends_at_once_and_leaves_nothing_half_made(tmp_path):
    """As a service manager stops it: only the parent is told."""
    command = [sys.executable, "-m", "itk_embodied", "train", "data", "pairs", "--out", str(tmp_path)]
    maker = subprocess.Popen([*command, "--workers", "2"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        ends_s = time.monotonic() + 120
        while not list(tmp_path.glob(".shard-*")):
            assert maker.poll() is None and time.monotonic() < ends_s
            time.sleep(0.1)
        maker.send_signal(signal.SIGTERM)
        said, _ = maker.communicate(timeout=60)  # to the end of the output, which its workers have open too
    finally:
        maker.kill()
    assert maker.returncode == 130, said.decode()
    # A shard may have become whole before the signal came; nothing else may be left.
    left = sorted(path.name for path in tmp_path.iterdir())
    assert all(re.fullmatch(r"shard-\d{5}", name) for name in left), left
    assert len(ShardSet(tmp_path)) == 500 * len(left)
