"""What the edit verifier learns from: right and spoilt pairs, wrong instructions, and what the generator painted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from itk_embodied.agents.generators.words import RASTER, place_maps
from itk_embodied.agents.verifier.closer import MEASURES
from itk_embodied.errors import InputError
from itk_embodied.training.corruptions import corrupt
from itk_embodied.training.critic_data import shade, wrong_step
from itk_embodied.training.critic_generated import Gallery, Painting, damage_of
from itk_embodied.training.generator_text import named_cells, slot_values
from itk_embodied.training.judge.appearance import expected, odd_pixels
from itk_embodied.training.judge.base import PASS
from itk_embodied.training.judge.edit import unseen_content
from itk_embodied.training.pixels import moved
from itk_embodied.training.rollouts.lines import JudgeLine
from itk_embodied.training.shards import Record, ShardSet
from itk_embodied.types import Image
from itk_sim.symbols import SceneState, Step

SHARES = {"pair": 0.16, "corrupted": 0.18, "wrong instruction": 0.08, "painted": 0.58}
PAINTED_RIGHT, PAINTED_ASKED_WRONG = 0.5, 0.15
"""Of the paintings: the share that is right, and of these the share that is shown under a wrong instruction."""
SURE = 1.2
"""Log-odds that a painting is right, for each point by which the judge passes it: what barely passes is hardly likelier
to be right than what barely fails."""
OVERLOOKED, OVERLOOKED_SHARE = ("noise", "half erased"), 0.35
"""Corruptions that are learnt last, and how many of the corrupted have one of them."""
FAULT = 24
"""A pixel of a corrupted picture that differs by more than this from the right one is part of the fault."""
SIDED = ("left_of", "right_of")
"""Relations that are others in a mirror."""
SHIFT_PX = 2
"""Both pictures are moved by up to so many pixels, alike: a fault lies anywhere on the raster of patches."""


@dataclass(frozen=True, eq=False)
class Sample:
    """Two pictures, uint8 RGB (S, S, 3), and a step. ``good``: how likely it is right, 0..1. ``fault``: bool (S, S),
    where the second is wrong; None where that is not known; where ``sure_only``, only what it marks is known.
    ``points``: the judge's four scores in 0..1, None where it was not asked."""

    before: Image
    after: Image
    step: Step
    state: SceneState
    good: float
    fault: np.ndarray | None
    sure_only: bool = False
    points: tuple[float, ...] | None = None


@dataclass(frozen=True)
class VerifierBatch:
    """``before``, ``after``: float32 (B, 3, H, W) in -1..1; ``maps``: see `place_maps`; ``slots``: int64 (B, slots);
    ``good``: float32 (B,); ``fault``, ``known``: float32 (B, rows, columns), for every patch, and ``fault_px``,
    ``known_px``: (B, H, W), for every pixel; ``points``: float32 (B, 4), not a number where they are not known;
    ``sided``: bool (B,), whether the step knows left and right."""

    before: Tensor
    after: Tensor
    maps: Tensor
    slots: Tensor
    good: Tensor
    fault: Tensor
    known: Tensor
    fault_px: Tensor
    known_px: Tensor
    points: Tensor
    sided: Tensor


def draw(shards: ShardSet, gallery: Gallery, rng: np.random.Generator) -> Sample:
    """One sample, of a kind drawn by `SHARES`; without paintings, of the other kinds."""
    kinds = [kind for kind in SHARES if kind != "painted" or (gallery.right and gallery.wrong)]
    shares = np.array([SHARES[kind] for kind in kinds])
    while True:
        kind = kinds[int(rng.choice(len(kinds), p=shares / shares.sum()))]
        sample = _painted(gallery, rng) if kind == "painted" else _pair(shards, kind, rng)
        if sample is not None:
            return sample


def _pair(shards: ShardSet, kind: str, rng: np.random.Generator) -> Sample | None:
    record = shards[int(rng.integers(len(shards)))]
    if kind == "pair":
        unspoilt = np.zeros(record.before.shape[:2], bool)
        return _sample(record, record.after, record.step, 1.0, unspoilt, points=(1.0,) * MEASURES)
    if kind == "corrupted":
        wanted = str(rng.choice(OVERLOOKED)) if rng.random() < OVERLOOKED_SHARE else None
        image = corrupt(record, rng, wanted).image
        fault = np.abs(image.astype(np.int16) - record.after).max(-1) > FAULT
        return _sample(record, image, record.step, 0.0, fault)
    asked = wrong_step(record, rng)
    return None if asked is None else _sample(record, record.after, asked, 0.0, None)


def _painted(gallery: Gallery, rng: np.random.Generator) -> Sample | None:
    painting = gallery.draw(rng, bool(rng.random() < PAINTED_RIGHT))
    record, image = painting.record, painting.image
    good = likely_right(painting.judged)
    if painting.judged.success and rng.random() < PAINTED_ASKED_WRONG:
        asked = wrong_step(record, rng)
        return None if asked is None else _sample(record, image, asked, 0.0, None)
    fault, judged = odd_in(painting), painting.judged
    scores = (judged.right_change, judged.nothing_else, judged.natural, judged.no_artefacts)
    points = tuple(score / 10 for score in scores)
    if fault is not None:
        return _sample(record, image, record.step, good, fault, points=points)
    return _sample(record, image, record.step, good, damage_of(painting), True, points)


def odd_in(painting: Painting) -> np.ndarray | None:
    """What the judge finds odd in a painting, bool (S, S); None where it may show another thing than is asked for."""
    if not painting.has_a_truth:
        return None
    should, _ = expected(painting.record, painting.place_px)
    return odd_pixels(painting.image, should) & ~unseen_content(painting.record)


def likely_right(judged: JudgeLine) -> float:
    """A judge's word as a chance, 0..1: even where the picture is at the limit."""
    return float(1 / (1 + np.exp(-SURE * (min(judged.semantics, judged.quality) - PASS))))


def _sample(
    record: Record,
    image: Image,
    step: Step,
    good: float,
    fault: np.ndarray | None,
    sure_only: bool = False,
    points: tuple[float, ...] | None = None,
) -> Sample:
    return Sample(record.before, image, step, record.before_state, good, fault, sure_only, points)


def make_verifier_batch(
    samples: Sequence[Sample], rng: np.random.Generator, band: tuple[int, int], patch: int
) -> VerifierBatch:
    """Light and colour vary alike in both pictures, which are moved a little, alike."""
    size = RASTER * patch
    if len(samples[0].before) != size:
        raise InputError(f"pictures are {len(samples[0].before)} px wide; the verifier is trained at {size} px.")
    pairs, faults, known, faults_px, known_px = [], [], [], [], []
    for sample in samples:
        shift = rng.integers(-SHIFT_PX, SHIFT_PX + 1, 2)
        both = shade(rng, sample.before, sample.after)
        pairs.append([moved(image, shift) for image in both])
        fault = np.zeros(sample.before.shape[:2], bool) if sample.fault is None else sample.fault
        faults_px.append(moved(fault, shift))
        faults.append(_patches(faults_px[-1], patch))
        all_known = sample.fault is not None and not sample.sure_only
        known.append(np.ones_like(faults[-1]) if all_known else faults[-1])
        known_px.append(np.ones_like(faults_px[-1]) if all_known else faults_px[-1])
    top, bottom = (row * patch for row in band)
    before, after = (
        torch.from_numpy(np.stack([pair[i][top:bottom] for pair in pairs])).permute(0, 3, 1, 2).float() / 127.5 - 1
        for i in (0, 1)
    )
    rows = slice(*band)
    return VerifierBatch(
        before,
        after,
        place_maps([named_cells(s.step, s.state, False) for s in samples], band),
        torch.tensor([slot_values(s.step) for s in samples]),
        torch.tensor([s.good for s in samples]),
        torch.from_numpy(np.stack(faults)[:, rows]).float(),
        torch.from_numpy(np.stack(known)[:, rows]).float(),
        torch.from_numpy(np.stack(faults_px)[:, top:bottom]).float(),
        torch.from_numpy(np.stack(known_px)[:, top:bottom]).float(),
        torch.tensor([s.points or (float("nan"),) * MEASURES for s in samples]),
        torch.tensor([s.step.relation in SIDED for s in samples]),
    )


def _patches(mask: np.ndarray, patch: int) -> np.ndarray:
    """Which patches have more than a pixel of a mask, bool (RASTER, RASTER)."""
    return mask.reshape(RASTER, patch, RASTER, patch).sum((1, 3)) > 1
