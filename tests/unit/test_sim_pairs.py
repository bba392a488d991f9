"""Pairs: every kind of step comes out, in its share, and shows what it says."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from itk_sim.errors import SimError
from itk_sim.kinds import KINDS, RARE, Kind, draw_kind, kind_of
from itk_sim.model import SEGMENT_IDS
from itk_sim.pairs import Pair, sample_pair
from itk_sim.symbols import DIRECTIONS, DRAWER, TABLE
from itk_sim.table import Table


@pytest.fixture(scope="module")
def table() -> Iterator[Table]:
    with Table() as made:
        yield made


@pytest.fixture(scope="module")
def pairs(table: Table) -> dict[str, list[Pair]]:
    rng = np.random.default_rng(21)
    return {kind: [sample_pair(table, rng, 64, kind=kind) for _ in range(4)] for kind in (*KINDS, *RARE)}


def test_shares_add_up_and_the_drawer_gets_its_fair_one() -> None:
    assert sum(kind.share for kind in KINDS.values()) == pytest.approx(1.0)
    drawer = sum(KINDS[kind].share for kind in ("open", "close", "in drawer", "out of drawer"))
    assert 0.15 <= drawer <= 0.3
    rng = np.random.default_rng(0)
    drawn = [draw_kind(rng) for _ in range(2000)]
    assert set(drawn) == set(KINDS)
    assert drawn.count("in bowl") / 2000 == pytest.approx(KINDS["in bowl"].share, abs=0.03)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_shows_what_it_says(pairs: dict[str, list[Pair]], kind: str) -> None:
    for pair in pairs[kind]:
        before, after, step = pair.before_state, pair.after_state, pair.step
        if kind in ("open", "close"):
            assert (before.drawer, after.drawer) == (("closed", "open") if kind == "open" else ("open", "closed"))
        elif kind in DIRECTIONS or kind == "at":
            assert step.relation == kind
        else:
            assert before.support[step.obj] != step.target or step.target == TABLE
            assert after.support[step.obj] == step.target
        if kind == "unstack":
            assert before.support[step.obj] != TABLE
        if kind == "out of drawer":
            assert before.support[step.obj] == DRAWER
        if kind == "at":
            assert after.cell(step.obj) == step.cell


def test_rare_kinds_crowd_a_bowl_and_come_only_where_asked_for(pairs: dict[str, list[Pair]]) -> None:
    def held(pair: Pair, bowl: str | None) -> int:
        return list(pair.before_state.support.values()).count(str(bowl))

    for pair in pairs["into a crowd"]:
        assert held(pair, pair.step.target) >= 2
        assert pair.after_state.support[str(pair.step.obj)] == pair.step.target
    for pair in pairs["out of a crowd"]:
        left = pair.before_state.support[str(pair.step.obj)]
        assert left.endswith("bowl") and held(pair, left) >= 3
        assert pair.after_state.support[str(pair.step.obj)] != left
    assert not set(RARE) & set(KINDS)


def test_a_crowd_that_no_scene_has_is_an_error() -> None:
    with pytest.raises(SimError, match="5 cubes in a bowl; ask for fewer"):
        Kind(0.0, bowls=1, stacked=True, crowd=5).scene(np.random.default_rng(0))
    with pytest.raises(SimError, match=r"'juggle' was given; allowed: in bowl.*into a crowd"):
        kind_of("juggle")


def test_pictures_ids_and_states_belong_together(pairs: dict[str, list[Pair]]) -> None:
    for pair in (pair for made in pairs.values() for pair in made):
        assert pair.before.shape == pair.after.shape == (64, 64, 3)
        assert pair.before_seg.shape == pair.after_seg.shape == (64, 64)
        assert pair.before_state.names == pair.after_state.names
        assert np.abs(pair.after.astype(int) - pair.before).max() > 20
        for state, ids in ((pair.before_state, pair.before_seg), (pair.after_state, pair.after_seg)):
            for name in state.cubes:
                if state.visible[name] > 0.4:
                    rows, columns = np.nonzero(ids == SEGMENT_IDS[name])
                    seen = np.array([columns.mean(), rows.mean()]) + 0.5
                    assert np.linalg.norm(seen - np.array(state.pixel[name]) * 64) < 3
        if pair.step.obj is not None:
            for other in pair.before_state.cubes:
                if other != pair.step.obj:
                    shift = np.subtract(pair.after_state.position_m[other], pair.before_state.position_m[other])
                    assert np.linalg.norm(shift) <= 0.01


def test_same_rng_same_pair(table: Table) -> None:
    one, two = (sample_pair(table, np.random.default_rng(5), 64) for _ in range(2))
    assert one.step == two.step
    assert one.scene == two.scene
    assert np.array_equal(one.before, two.before)
    assert np.array_equal(one.after, two.after)


def test_accept_is_obeyed(table: Table) -> None:
    rng = np.random.default_rng(6)
    for _ in range(5):
        pair = sample_pair(table, rng, 64, kind="in bowl", accept=lambda step: step.obj != "red cube")
        assert pair.step.obj != "red cube"
    with pytest.raises(SimError, match="accept"):
        sample_pair(table, rng, 64, kind="open", accept=lambda step: False)
    with pytest.raises(SimError, match="in bowl"):
        sample_pair(table, rng, 64, kind="juggle")
