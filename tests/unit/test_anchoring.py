"""An anchored picture is the frame but for what really changed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted import ScriptedCritic, ScriptedPlanner, plan_of
from tiny_pairs import pairs_folder

from itk_embodied import Frame, PipelineConfig, Task, VisualSubgoalPipeline
from itk_embodied.agents.base import CallContext
from itk_embodied.agents.stacks import load_stack, read_stack
from itk_embodied.anchoring import FAINT, STRONG, anchored
from itk_embodied.pipeline import PipelineConfig as Config
from itk_embodied.training.shards import ShardSet
from itk_embodied.types import Image


def frame_of(seed: int = 0) -> Image:
    return np.random.default_rng(seed).integers(60, 180, (48, 64, 3)).astype(np.uint8)


def test_a_change_stays_with_its_soft_edge_and_a_faint_mark_goes() -> None:
    frame = frame_of()
    image = frame.copy()
    image[10:18, 20:28] += STRONG + 12
    image[18:20, 20:28] += FAINT + 4  # its shadow
    image[20, 20:28] += FAINT - 4  # the shadow's edge, within a pixel
    image[30:36, 40:50] += FAINT + 14  # an outline left behind
    image[40:44, 5:60] += FAINT - 2
    held = anchored(image, frame)
    wanted = frame.copy()
    wanted[10:21, 20:28] = image[10:21, 20:28]
    assert np.array_equal(held, wanted) and held.dtype == np.uint8


def test_single_strong_pixels_are_no_change() -> None:
    frame = frame_of()
    image = frame.copy()
    image[20, 20] += STRONG + 5
    assert np.array_equal(anchored(image, frame), frame)


@given(st.integers(0, 2**16), st.integers(0, 75))
def test_every_pixel_is_the_images_or_the_frames(seed: int, by: int) -> None:
    frame, rng = frame_of(seed), np.random.default_rng(seed)
    image = frame + (rng.random((48, 64, 1)) < 0.3).astype(np.uint8) * np.uint8(by)
    held = anchored(image, frame)
    assert ((held == image) | (held == frame)).all(-1).all()
    assert np.array_equal(anchored(held, frame), held) and np.array_equal(anchored(frame, frame), frame)


@pytest.mark.parametrize("split", ["train", "held-out"])
def test_what_a_step_really_changes_is_never_taken_back(split: str) -> None:
    """The simulator's own pictures after a step: thing moved, place left, and the light around both."""
    shards = ShardSet(pairs_folder(), split)
    for record in (shards[i] for i in range(len(shards))):
        lost = np.abs(anchored(record.after, record.before).astype(int) - record.after).max(-1)
        moved = record.before_seg != record.after_seg
        assert moved.sum() > 20 and (lost[moved] >= 2 * FAINT).sum() <= 3, record.kind


class Marker:
    """Paints one square a step, and a faint mark over all of the picture."""

    name = "marker"

    def __init__(self) -> None:
        self.given: list[Image] = []

    def generate(self, image: Image, prompt: str, context: CallContext) -> Image:
        self.given.append(image)
        painted = image + np.uint8(4)
        row = 8 * len(self.given)
        painted[row : row + 5, 8:14] = 240
        return painted


@pytest.mark.parametrize("anchor", [False, True])
def test_a_pipeline_that_is_anchored_judges_publishes_and_goes_on_from_held_pictures(anchor: bool) -> None:
    frame, marker = frame_of(), Marker()
    pipeline = VisualSubgoalPipeline(
        ScriptedPlanner(plan_of("one", "two", "three")), marker, ScriptedCritic(True), PipelineConfig(anchor=anchor)
    )
    sequence = pipeline(Frame(frame), Task("three squares"))
    images = [subgoal.image for subgoal in sequence.subgoals]
    far = np.ones(frame.shape[:2], bool)
    far[6:32, 6:17] = False
    assert [np.array_equal(image[far], frame[far]) for image in images if image is not None] == [anchor] * 3
    assert np.array_equal(marker.given[2], images[1]) and (images[2][[9, 17, 25], 10] >= 240).all()


def test_the_embedded_stack_is_anchored() -> None:
    pytest.importorskip("torch")
    assert Config(**load_stack("embedded").settings).anchor
    assert "anchor" not in read_stack("klein-4b").pipeline
