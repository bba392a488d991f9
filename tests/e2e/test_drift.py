"""Chains of edits: what paints the truth does not drift, what smears does, and what does nothing is an error."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

pytest.importorskip("itk_sim.table")

from itk_embodied.agents.base import CallContext
from itk_embodied.errors import InputError
from itk_embodied.evaluation.drift import TruthEditor, run_drift, summarise
from itk_embodied.training.judge import load_judge
from itk_embodied.types import Image
from itk_sim.language import parse_instruction
from itk_sim.placing import Placement
from itk_sim.table import Table


@pytest.fixture(scope="module")
def table():
    with Table() as opened:
        yield opened


class Smear(TruthEditor):
    """A little blur every time, over all that was painted before."""

    def generate(self, image: Image, prompt: str, context: CallContext) -> Image:
        return cv2.GaussianBlur(super().generate(image, prompt, context), (0, 0), 0.42)


class Nothing:
    name = "nothing"

    def generate(self, image: Image, prompt: str, context: CallContext) -> Image:
        return image.copy()


class Hazy(TruthEditor):
    """With a faint haze over all of it."""

    def generate(self, image: Image, prompt: str, context: CallContext) -> Image:
        painted = super().generate(image, prompt, context)
        return cv2.add(painted, np.full_like(painted, 3))


class Turned(TruthEditor):
    """The moved cube is turned by an eighth, which no instruction forbids."""

    def generate(self, image: Image, prompt: str, context: CallContext) -> Image:
        here, name = self.table.snapshot(), str(parse_instruction(prompt).obj)
        before = self.table.render("front", 128)
        try:
            assert self.table.teleport(parse_instruction(prompt), np.random.default_rng(context.seed))
            start = self.table.index.qpos[name]
            w, *_, k = self.table.data.qpos[start + 3 : start + 7]
            self.table.put(name, Placement(*self.table.position_m(name), 2 * np.arctan2(k, w) + np.pi / 4))
            goal = self.table.render("front", 128)
        finally:
            self.table.restore(here)
        return np.where((cv2.absdiff(goal, before).max(-1) > 3)[..., None], goal, image)


def chained(table: Table, generator, steps: int, anchor: bool = False):
    return run_drift(table, generator, load_judge(), chains=1, steps=steps, seed=1, anchor=anchor, tick=lambda: None)


def test_the_truth_does_not_drift_and_a_smear_does(table: Table) -> None:
    links = chained(table, TruthEditor(table), 6)
    record = summarise(links, 6, 1)
    assert [link.place for link in links] == list(range(6)) and record["whole_chains"] == 1
    assert record["overall_first"] > 9.5 and record["ratio"] > 0.95
    for link in links:
        assert np.abs(link.picture.astype(int) - link.truth).mean() < 4, "the table did not follow the picture"

    worse = chained(table, Smear(table), 6)
    scores = [link.overall for link in worse]
    assert scores[0] > 9 and (len(worse) < 6 or scores[-1] < scores[0] - 1)


def test_a_cube_that_is_painted_turned_is_no_fault_of_later_pictures(table: Table) -> None:
    turned, straight = chained(table, Turned(table), 6), chained(table, TruthEditor(table), 6)
    assert len(turned) == 6 and min(link.overall for link in turned) > 9.5
    odd_px = [np.mean([(cv2.absdiff(x.picture, x.truth).max(-1) > 40).sum() for x in s]) for s in (turned, straight)]
    assert odd_px[0] < odd_px[1] + 15, "the table's cubes are not turned as the pictures have them"


def test_edits_that_never_come_right_are_an_error_not_a_score(table: Table) -> None:
    links = chained(table, Nothing(), 5)
    with pytest.raises(InputError, match="no edit of any chain"):
        summarise(links, 5, 1)


def test_an_anchored_chain_gathers_no_haze(table: Table) -> None:
    free, held = chained(table, Hazy(table), 5), chained(table, Hazy(table), 5, anchor=True)
    apart = [[np.abs(link.picture.astype(int) - link.truth).mean() for link in links] for links in (free, held)]
    assert len(free) >= 3 and len(held) == 5, "too hazy to be right"
    assert apart[0][2] > apart[0][0] + 4 and max(apart[1]) < apart[0][0]
