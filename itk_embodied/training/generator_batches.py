"""Batches for the generator: bands of frames before and after, at the size of the stage, and what to do."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from itk_embodied.agents.generators.words import RASTER, place_maps
from itk_embodied.training.generator_text import named_cells, slot_values
from itk_embodied.training.shards import Record
from itk_sim.symbols import CUBES

GROUNDED = 0.35
"""Share of the samples whose sentence also says where things are."""
CHANGE = 0.1
"""Pixels that differ by more than this (of a range of 2) count as changed."""


@dataclass(frozen=True)
class Batch:
    """``frame``, ``edited``: float32 (B, 3, H, W) in -1..1; ``changed``: float32 (B, 1, H, W), 0 or 1; ``maps``: see
    `place_maps`; ``slots``: int64 (B, slots), see `slot_values`."""

    frame: Tensor
    edited: Tensor
    changed: Tensor
    maps: Tensor
    slots: Tensor


def make_batch(
    records: list[Record], rng: np.random.Generator, size: int, band: tuple[int, int], soften: float
) -> Batch:
    """Light, colour and sharpness vary alike in both pictures; nothing is flipped, since left must stay left."""
    maps = place_maps([_cells(record, rng) for record in records], band)
    slots = torch.tensor([slot_values(record.step) for record in records])
    top, bottom = (row * records[0].before.shape[0] // RASTER for row in band)
    frame, edited = (
        torch.from_numpy(np.stack([getattr(r, name)[top:bottom] for r in records])).permute(0, 3, 1, 2).float()
        for name in ("before", "after")
    )
    changed = ((edited - frame).abs().amax(1, keepdim=True) > 127.5 * CHANGE).float()
    chosen = torch.from_numpy(rng.random(len(records)) < soften)
    if chosen.any():
        cubes = np.stack([_some_cubes(r.before_seg[top:bottom], rng) for r in records])
        frame, edited = _soften(frame, edited, changed, torch.from_numpy(cubes) & chosen[:, None, None])
    blurred = np.where(rng.random(len(records)) < 0.25, rng.uniform(0.2, 1.0), 0.0)
    gain = rng.uniform(0.85, 1.15, (len(records), 1)) * rng.uniform(0.96, 1.04, (len(records), 3))
    gains = torch.from_numpy(gain).float()[:, :, None, None]
    frame, edited = (_finish(image, blurred, gains, size) for image in (frame, edited))
    changed = ((edited - frame).abs().amax(1, keepdim=True) > CHANGE).float()
    return Batch(frame, edited, changed, maps, slots)


def _cells(record: Record, rng: np.random.Generator) -> list[tuple[int, int]]:
    """The places that the record's sentence names; those of things are often one off, as a critic reads them."""
    cells = named_cells(record.step, record.before_state, bool(rng.random() < GROUNDED))
    own = len(cells) - (record.step.cell is not None)
    off = rng.choice([-1, 0, 1], (len(cells), 2), p=[0.15, 0.7, 0.15])
    off[own:] = 0
    return [(x + int(dx), y + int(dy)) for (x, y), (dx, dy) in zip(cells, off, strict=True)]


def _blur(image: Tensor) -> Tensor:
    return F.avg_pool2d(F.pad(image, (1, 1, 1, 1), mode="replicate"), 3, 1)


def _some_cubes(segmentation: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Where some of the cubes are, drawn by lot."""
    picked = np.zeros(256, bool)
    picked[1 : len(CUBES) + 1] = rng.random(len(CUBES)) < 0.5
    return picked[segmentation]


def _soften(frame: Tensor, edited: Tensor, changed: Tensor, where: Tensor) -> tuple[Tensor, Tensor]:
    """Blur the picked cubes as a generated image does; what does not change stays as soft, what is moved is sharp."""
    area = F.max_pool2d(where[:, None].float(), 3, 1, 1)
    softer = frame + area * (_blur(frame) - frame)
    kept = 1 - F.max_pool2d(changed, 3, 1, 1)
    return softer, edited + kept * (softer - frame)


def _finish(image: Tensor, blurred: np.ndarray, gains: Tensor, size: int) -> Tensor:
    for index in np.nonzero(blurred)[0]:
        image[index] += float(blurred[index]) * (_blur(image[index : index + 1])[0] - image[index])
    scale = size / image.shape[-1]
    if scale != 1:
        image = F.interpolate(image, size=(round(image.shape[-2] * scale), size), mode="area")
    return (image * gains).clamp(0, 255) / 127.5 - 1
