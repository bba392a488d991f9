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


def test_edits_that_never_come_right_are_an_error_not_a_score(table: Table) -> None:
    links = chained(table, Nothing(), 5)
    with pytest.raises(InputError, match="no edit of any chain"):
        summarise(links, 5, 1)


def test_an_anchored_chain_gathers_no_haze(table: Table) -> None:
    free, held = chained(table, Hazy(table), 5), chained(table, Hazy(table), 5, anchor=True)
    apart = [[np.abs(link.picture.astype(int) - link.truth).mean() for link in links] for links in (free, held)]
    assert len(free) >= 3 and len(held) == 5, "too hazy to be right"
    assert apart[0][2] > apart[0][0] + 4 and max(apart[1]) < apart[0][0]
