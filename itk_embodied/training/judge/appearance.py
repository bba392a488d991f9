"""How a generated goal image looks: natural as a whole, and free of artefacts where it changed.

It is compared with what it should look like: the simulator's goal image, with the moved cube where the picture has it,
for many a step leaves the place open. Then what differs is a fault, wherever the cube was put.
"""

from __future__ import annotations

import cv2
import numpy as np

from itk_embodied.training.judge.edit import SEGMENT_ID, unseen_content
from itk_embodied.training.judge.measures import Measure
from itk_embodied.training.pixels import grow
from itk_embodied.training.shards import Record
from itk_embodied.types import Image

ODD = 34
"""A pixel differs oddly where, in some channel, it is this far from every pixel next to its place as it should be."""
FINE_PX = 1.0
"""Scale of the detail whose strength tells blur and noise, px of a 128 px picture."""


def measure_looks(image: Image, record: Record, place_px: tuple[float, float] | None) -> tuple[Measure, ...]:
    """Faults in the looks of a picture as large as the record's. ``place_px``: where the moved cube is seen in it."""
    scale = image.shape[0] / 128
    should, thing = expected(record, place_px)
    sure = ~grow(unseen_content(record), 2) if record.step.verb == "open" else np.ones(thing.shape, bool)
    odd = odd_pixels(image, should) & sure
    shift = _mean_shift(image, should, sure & ~odd)
    fine, fine_wanted = _detail(image, scale), _detail(should, scale)
    noise = _floor(fine, sure) - _floor(fine_wanted, sure)
    edges = sure & (fine_wanted > np.percentile(fine_wanted, 90))
    soft = 1 - float(fine[edges].sum() / max(fine_wanted[edges].sum(), 1e-6))
    measures = [
        Measure("natural", "light", shift, 9.0, "the light or the colours are others"),
        Measure("natural", "noise", max(0.0, noise), 2.5, "the picture is noisy"),
        Measure("natural", "soft", max(0.0, soft), 0.3, "the picture is blurred"),
        Measure("natural", "likeness", 1 - likeness(image, should, sure), 0.12, "the picture is not like the scene"),
    ]
    if record.step.obj is not None and place_px is not None and thing.any():
        measures += _thing(image, should, thing, odd, fine, fine_wanted, record.step.obj)
    elsewhere = float((odd & ~thing).sum()) / scale**2
    says = "there are things that do not belong there"
    measures.append(Measure("artefact", "odd", elsewhere, 32.0, says))
    window = round(7 * scale) | 1
    dense = float(cv2.boxFilter(odd.astype(np.float32), -1, (window, window), borderType=cv2.BORDER_CONSTANT).max())
    measures.append(Measure("artefact", "patch", dense, 0.5, says))
    return tuple(measures)


def expected(record: Record, place_px: tuple[float, float] | None) -> tuple[Image, np.ndarray]:
    """What the goal image should be with the moved cube at ``place_px``, and that cube's pixels in it, bool (S, S)."""
    name = record.step.obj
    if name is None:
        return record.after, np.zeros(record.after_seg.shape, bool)
    there = record.after_seg == SEGMENT_ID[name]
    if place_px is None or not there.any():
        return record.after, there
    rows, columns = np.nonzero(there)
    down, right = round(place_px[1] - rows.mean() - 0.5), round(place_px[0] - columns.mean() - 0.5)
    if max(abs(down), abs(right)) <= 1:
        down = right = 0
    return with_cube_moved(record, without_cube(record), down, right)


def without_cube(record: Record) -> Image:
    """The goal image without its moved cube: as before where the cube did not stand then, painted over where it did."""
    there = record.after_seg == SEGMENT_ID[str(record.step.obj)]
    bare = record.after.copy()
    about = grow(there, 3)
    old = grow(record.before_seg == SEGMENT_ID[str(record.step.obj)], 1)
    bare[about & ~old] = record.before[about & ~old]
    if (there & old).any():
        bare = cv2.inpaint(bare, (there & old).astype(np.uint8), 3, cv2.INPAINT_TELEA).astype(np.uint8)
    return bare


def with_cube_moved(record: Record, bare: Image, down: int, right: int) -> tuple[Image, np.ndarray]:
    """The goal image with its moved cube so many px further down and to the right, over ``bare`` (see `without_cube`),
    and that cube's pixels in it, bool (S, S)."""
    there = record.after_seg == SEGMENT_ID[str(record.step.obj)]
    if not down and not right:
        return record.after, there
    rows, columns = np.nonzero(there)
    side = there.shape[0]
    kept = (rows + down >= 0) & (rows + down < side) & (columns + right >= 0) & (columns + right < side)
    rows, columns = rows[kept], columns[kept]
    thing, moved = np.zeros_like(there), bare.copy()
    thing[rows + down, columns + right] = True
    moved[rows + down, columns + right] = record.after[rows, columns]
    return moved, thing


def odd_pixels(image: Image, should: Image) -> np.ndarray:
    """Where a picture differs from what it should be by more than a shift of a pixel explains, bool (S, S)."""
    picture = image.astype(np.int16)
    low = cv2.erode(should, np.ones((3, 3), np.uint8)).astype(np.int16)
    high = cv2.dilate(should, np.ones((3, 3), np.uint8)).astype(np.int16)
    beyond = np.maximum(np.maximum(low - picture, picture - high), 0).max(-1)
    return beyond > ODD


def likeness(image: Image, should: Image, where: np.ndarray) -> float:
    """Structural similarity of brightness (Wang et al., 2004) at three scales, mean over ``where``, up to 1."""
    grey = (cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in (image, should))
    layers = [np.asarray(layer, np.float32) for layer in (*grey, where)]
    means = []
    for _ in range(3):
        one, other, mask = layers
        means.append(float(_similarity(one, other)[mask > 0.5].mean()))
        layers = [np.asarray(cv2.pyrDown(layer)) for layer in layers]
    return float(np.mean(means))


def _similarity(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    def smooth(values: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(values, (0, 0), 1.5)

    # Constants ten times those of the paper: a plain table top has next to no structure, and its grain is no matter.
    flat, dull = (0.03 * 255) ** 2 * 10, (0.01 * 255) ** 2 * 10
    mean_a, mean_b = smooth(one), smooth(other)
    var_a, var_b = smooth(one * one) - mean_a**2, smooth(other * other) - mean_b**2
    both = smooth(one * other) - mean_a * mean_b
    light = (2 * mean_a * mean_b + dull) / (mean_a**2 + mean_b**2 + dull)
    return np.asarray(light * (2 * both + flat) / (var_a + var_b + flat))


def _thing(
    image: Image, should: Image, thing: np.ndarray, odd: np.ndarray, fine: np.ndarray, wanted: np.ndarray, name: str
) -> list[Measure]:
    """The moved cube's colour, shape and sharpness."""
    area = int(thing.sum())
    inside = cv2.erode(thing.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
    core = inside if inside.sum() >= 12 else thing
    off = float(np.abs(image[core].astype(float).mean(0) - should[core].astype(float).mean(0)).max())
    around = grow(thing, 1)
    misshapen = float((odd & grow(thing, 3)).sum()) / max(area, 1)
    soft = 1 - float(fine[around].sum() / max(wanted[around].sum(), 1e-6))
    return [
        Measure("artefact", "colour", off, 38.0, f"the {name} has another colour"),
        Measure("artefact", "shape", misshapen, 0.27, f"the {name} is misshapen"),
        Measure("artefact", "sharp", max(0.0, soft), 0.55, f"the {name} is blurred"),
        Measure("artefact", "rough", max(0.0, -soft), 0.8, f"the {name} is noisy"),
    ]


def _detail(image: Image, scale: float) -> np.ndarray:
    """Strength of fine detail at every pixel, 0..255."""
    picture = image.astype(np.float32)
    return np.abs(picture - cv2.GaussianBlur(picture, (0, 0), FINE_PX * scale)).mean(-1)


def _floor(fine: np.ndarray, where: np.ndarray) -> float:
    """Detail where there is least: noise is everywhere."""
    return float(np.percentile(fine[where], 30))


def _mean_shift(image: Image, should: Image, where: np.ndarray) -> float:
    """How far the mean colour is off, in the worst channel, 0..255."""
    return float(np.abs(image[where].astype(float).mean(0) - should[where].astype(float).mean(0)).max())
