"""The pixel check: the truth passes, what is not the edit does not."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest
from tiny_pairs import pairs_folder

from itk_embodied.training.judge.edit import SEGMENT_ID, check_edit
from itk_embodied.training.shards import Record, ShardSet
from itk_sim.symbols import CUBES


@pytest.fixture(scope="module")
def records() -> list[Record]:
    return [*ShardSet(pairs_folder(), "train"), *ShardSet(pairs_folder(), "held-out")]


def moved(records):
    return [r for r in records if r.step.obj is not None]


def test_the_truth_passes_also_at_another_size(records):
    for record in records:
        check = check_edit(record.after, record)
        assert check.ok and check.score > 0.9 and not check.reasons, (record.step, check)
        assert check_edit(record.after.repeat(2, 0).repeat(2, 1), record).ok, record.step


def test_the_frame_before_fails(records):
    for record in records:
        check = check_edit(record.before, record)
        assert not check.ok and check.reasons and check.score < 0.5, record.step


def test_the_wrong_cube_fails(records):
    for record in moved(records):
        others = [c for c in record.after_state.cubes if c not in (record.step.obj, record.step.target)]
        for other in others[:1]:
            wrong = dataclasses.replace(record, step=dataclasses.replace(record.step, obj=other))
            assert not check_edit(record.after, wrong).ok, (record.step, other)


def test_a_second_copy_fails(records):
    for record in moved(records):
        old = record.before_seg == SEGMENT_ID[record.step.obj]
        if (old & (record.after_seg == SEGMENT_ID[record.step.obj])).any():
            continue
        image = record.after.copy()
        image[old] = record.before[old]
        assert not check_edit(image, record).ok, record.step


def test_another_colour_fails(records):
    for record in moved(records):
        mask = record.after_seg == SEGMENT_ID[record.step.obj]
        image = record.after.copy()
        image[mask] = image[mask][:, [1, 2, 0]]
        assert not check_edit(image, record).ok, record.step


def test_a_vanished_bystander_fails(records):
    tried = 0
    for record in moved(records):
        for cube in CUBES:
            mask = (record.after_seg == SEGMENT_ID[cube]) & (record.before_seg == SEGMENT_ID[cube])
            if cube != record.step.obj and mask.sum() >= 40:
                filled = record.after.copy()
                filled[cv2.dilate(mask.astype(np.uint8), np.ones((3, 3))) > 0] = 128
                assert not check_edit(filled, record).ok, (record.step, cube)
                tried += 1
    assert tried


def test_a_tint_over_everything_fails(records):
    for record in records:
        tinted = np.clip(record.after * np.array([1.2, 1.0, 0.8]), 0, 255).astype(np.uint8)
        assert not check_edit(tinted, record).ok, record.step
