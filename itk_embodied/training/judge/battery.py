"""Wrong pictures that a judge must refuse: those the critic learns from, and some that only a judge is tried with."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import cv2
import numpy as np

from itk_embodied.training.corruptions import CORRUPTIONS
from itk_embodied.training.judge.edit import SEGMENT_ID
from itk_embodied.training.pixels import grow
from itk_embodied.training.shards import Record
from itk_embodied.types import Image
from itk_sim.symbols import DRAWER, is_cube

ROBOT_ID = 12
LEAST_PX = 30
Spoil = Callable[[Record, np.random.Generator], Image | None]


def _from_training(kind: str) -> Spoil:
    def spoil(record: Record, rng: np.random.Generator) -> Image | None:
        made = CORRUPTIONS[kind](record, rng)
        return None if made is None else made.image

    return spoil


def _without(image: Image, mask: np.ndarray) -> Image:
    return cv2.inpaint(image, grow(mask, 2).astype(np.uint8), 3, cv2.INPAINT_TELEA).astype(np.uint8)


def _wrong_object(record: Record, rng: np.random.Generator) -> Image | None:
    """Another cube went where the named one should have gone, which has not moved."""
    name = record.step.obj
    if name is None:
        return None
    there = record.after_seg == SEGMENT_ID[name]
    others = [
        cube
        for cube in record.before_state.cubes
        if cube not in (name, record.step.target)
        and record.before_state.visible[cube] > 0.6
        and record.before_state.on_top_of(cube) is None
        and (record.before_seg == SEGMENT_ID[cube]).sum() >= LEAST_PX
    ]
    if not others or there.sum() < LEAST_PX:
        return None
    mask = record.before_seg == SEGMENT_ID[str(rng.choice(others))]
    image = _without(record.before, mask)
    rows, columns = np.nonzero(mask)
    middle = np.argwhere(there).mean(0)
    side = image.shape[0]
    down, right = round(middle[0] - rows.mean()), round(middle[1] - columns.mean())
    image[np.clip(rows + down, 0, side - 1), np.clip(columns + right, 0, side - 1)] = record.before[rows, columns]
    return image


def _half_erased_arm(record: Record, rng: np.random.Generator) -> Image | None:
    mask = record.after_seg == ROBOT_ID
    if mask.sum() < LEAST_PX:
        return None
    columns = np.nonzero(mask)[1]
    half = mask & (np.arange(mask.shape[1]) >= np.median(columns))[None, :]
    return _without(record.after, half)


def _wrong_stack_order(record: Record, rng: np.random.Generator) -> Image | None:
    """The two cubes of a stack with each other's colour."""
    name, target = record.step.obj, record.step.target
    if record.step.relation != "on" or name is None or target is None or not is_cube(target):
        return None
    masks = [record.after_seg == SEGMENT_ID[cube] for cube in (name, target)]
    if min(mask.sum() for mask in masks) < LEAST_PX:
        return None
    picture = record.after.astype(float)
    colours = [picture[mask].mean(0) for mask in masks]
    image = picture.copy()
    for mask, own, other in zip(masks, colours, reversed(colours), strict=True):
        shade = picture[mask].sum(-1, keepdims=True) / own.sum()
        image[mask] = shade * other
    return np.clip(image, 0, 255).astype(np.uint8)


def _drawer_as_it_was(record: Record, rng: np.random.Generator) -> Image | None:
    """The drawer is open where it should be closed, or closed where it should be open; all else is right."""
    if record.step.verb == "place":
        return None
    drawer = (record.before_seg == SEGMENT_ID[DRAWER]) | (record.after_seg == SEGMENT_ID[DRAWER])
    changed = np.abs(record.before.astype(int) - record.after).max(-1) > 8
    mask = grow(drawer, 3) | grow(changed, 2)
    image = record.after.copy()
    image[mask] = record.before[mask]
    return image


def _all_blurred(record: Record, rng: np.random.Generator) -> Image | None:
    return cv2.GaussianBlur(record.after, (0, 0), rng.uniform(1.6, 3.0) * record.after.shape[0] / 128).astype(np.uint8)


def _all_noisy(record: Record, rng: np.random.Generator) -> Image | None:
    noise = rng.normal(0, rng.uniform(12, 30), record.after.shape)
    return np.clip(record.after + noise, 0, 255).astype(np.uint8)


BATTERY: Mapping[str, Spoil] = {
    **{kind: _from_training(kind) for kind in CORRUPTIONS},
    "wrong object": _wrong_object,
    "half-erased arm": _half_erased_arm,
    "wrong stack order": _wrong_stack_order,
    "drawer as it was": _drawer_as_it_was,
    "all blurred": _all_blurred,
    "all noisy": _all_noisy,
}
"""Each gives a wrong picture, or None where it does not apply to the step. "misplaced" is the wrong place."""


def _resized(record: Record, rng: np.random.Generator) -> Image | None:
    """Rendered half as large again and brought down, with a camera's faint noise."""
    side = record.after.shape[0]
    larger = cv2.resize(record.after, (side * 3 // 2,) * 2, interpolation=cv2.INTER_CUBIC)
    back = cv2.resize(larger, (side, side), interpolation=cv2.INTER_AREA).astype(float)
    return np.clip(back + rng.normal(0, 1.0, back.shape) + 0.5, 0, 255).astype(np.uint8)


CONTROLS: Mapping[str, Spoil] = {
    "ground truth": lambda record, rng: record.after,
    "ground truth, resized and noisy": _resized,
}
"""Right pictures."""
