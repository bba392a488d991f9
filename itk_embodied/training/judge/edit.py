"""Is the edit of a generated goal image right? Measured in its pixels against the simulator's ground truth.

The moved cube must be seen in its colour at a place that fulfils the relation (any such place, where the step leaves it
open), be gone from where it was, and nothing else may have changed. A blob's place on the table comes from the camera's
calibration. `check_edit` says yes or no; the judge scores the same measurements, and the looks (see `appearance`).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from itk_embodied.training.judge.measures import Measure, faults
from itk_embodied.training.judge.places import misplaced, step_is_exact
from itk_embodied.training.pixels import ColourModel, disc, grow
from itk_embodied.training.shards import Record
from itk_embodied.types import Image
from itk_sim.symbols import BOWLS, CUBES, DRAWER, MATS

SEGMENT_ID = {name: i + 1 for i, name in enumerate((*CUBES, *BOWLS, *MATS, DRAWER))}
CHANGED = 18
"""Pixels that differ by more than this in any channel have changed."""


@dataclass(frozen=True)
class EditCheck:
    """``ok``: the edit is right. ``reasons``: what is wrong, empty if ok. ``score``: 0..1, at least 0.5 if ok.
    ``place_px``: where the moved cube was found, (u, v) in px of the record's pictures; None if not at all."""

    ok: bool
    reasons: tuple[str, ...]
    score: float
    place_px: tuple[float, float] | None = None


@dataclass(frozen=True)
class EditMeasures:
    """``measures`` of the change and of what must not change; ``shares``: 0..1 each, their product is the check's
    quality. ``place_px`` as in `EditCheck`."""

    measures: tuple[Measure, ...]
    shares: tuple[float, ...]
    place_px: tuple[float, float] | None = None

    @property
    def check(self) -> EditCheck:
        reasons = faults(self.measures)
        quality = float(np.clip(np.prod(self.shares), 0, 1))
        score = 0.5 * quality * 0.98 if reasons else 0.5 + 0.5 * quality
        return EditCheck(not reasons, reasons, score, self.place_px)


@dataclass(frozen=True, eq=False)
class _Blob:
    centre_px: np.ndarray
    pixels: int
    area: np.ndarray
    elsewhere: int


def check_edit(generated: Image, record: Record) -> EditCheck:
    """Check one picture for the step of ``record``. ``generated``: uint8 RGB, square;
    one of another size is shrunk or grown to that of the record's pictures, and should be rendered like them."""
    return measure_edit(as_large(generated, record), record).check


def measure_edit(image: Image, record: Record) -> EditMeasures:
    """Measure a picture as large as the record's."""
    return _measure_drawer(image, record) if record.step.obj is None else _measure_cube(image, record)


def as_large(image: Image, record: Record) -> Image:
    """The picture in the size of the record's."""
    side = record.before.shape[0]
    if image.shape[:2] == (side, side):
        return image
    return cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA).astype(np.uint8)


def unseen_content(record: Record) -> np.ndarray:
    """Where a drawer that is opened shows cubes that the picture before cannot tell of, bool (S, S)."""
    unseen = np.zeros(record.after_seg.shape, bool)
    for cube in record.before_state.cubes:
        if record.step.verb == "open" and record.before_state.support[cube] == DRAWER:
            unseen |= grow(record.after_seg == SEGMENT_ID[cube], 2)
    return unseen


def _difference(one: Image, other: Image) -> np.ndarray:
    return np.abs(one.astype(np.int16) - other).max(-1)


def _measure_drawer(image: Image, record: Record) -> EditMeasures:
    moved = _difference(record.after, record.before) > 15
    unseen = unseen_content(record)
    judged = moved & ~unseen
    base = float(np.abs(record.before.astype(float) - record.after)[judged].mean())
    left = float(np.abs(image.astype(float) - record.after)[judged].mean()) / max(base, 1e-6)
    says = f"the drawer is not {'open' if record.step.verb == 'open' else 'closed'}"
    drawer = Measure("change", "drawer", left, 0.33, says)
    others, calm = _disturbed(image, record, grow(moved, 3) | unseen, None)
    return EditMeasures((drawer, *others), (1 - min(left, 1), calm))


def seen_place(generated: Image, record: Record) -> tuple[float, float] | None:
    """Where the moved cube is found in a picture, (u, v) in px of the record's pictures; None if nowhere, or where the
    step moves none. What `check_edit` says of it, and nothing else, in a fraction of the time."""
    if record.step.obj is None:
        return None
    blob = _look_for(as_large(generated, record), record).blob
    return None if blob is None else (float(blob.centre_px[0]), float(blob.centre_px[1]))


@dataclass(frozen=True, eq=False)
class _Sight:
    """``blob``: the moved cube at its new place, None where there is too little of it. ``match``: pixels of its colour.
    ``wanted``: how many of them the new place should have."""

    blob: _Blob | None
    match: np.ndarray
    wanted: int


def _look_for(image: Image, record: Record) -> _Sight:
    ident, scale = SEGMENT_ID[str(record.step.obj)], image.shape[0] / 128
    there, old = record.after_seg == ident, record.before_seg == ident
    colour = ColourModel.of(record.before, old)
    match, expected = colour.matches(image), colour.matches(record.after)
    # Wood in a dim light can have an orange cube's colour: what the truth shows there without a cube is no cube.
    match &= ~(expected & ~grow(there, 1) & (_difference(image, record.after) <= CHANGED))
    blob = _find(match & (_difference(image, record.before) > CHANGED), scale)
    full = int((expected & there).sum())
    wanted = full if step_is_exact(record) else min(full, int((colour.matches(record.before) & old).sum()))
    enough = blob is not None and blob.pixels >= 0.3 * wanted
    return _Sight(blob if enough else None, match, wanted)


def _measure_cube(image: Image, record: Record) -> EditMeasures:
    name = record.step.obj
    assert name is not None
    ident, scale = SEGMENT_ID[name], image.shape[0] / 128
    there, old = record.after_seg == ident, record.before_seg == ident
    most = max(int(there.sum()), int(old.sum()))
    sight = _look_for(image, record)
    blob, match, wanted = sight.blob, sight.match, sight.wanted
    if blob is None:
        gone = Measure("change", "seen", 2.0, 1.0, f"the {name} is not seen at a new place")
        others, _ = _disturbed(image, record, _may_change(record, None) | grow(old | there, 2), None)
        return EditMeasures((gone, *others), (0.0,))
    off, place = misplaced(record, blob.centre_px, np.argwhere(there).mean(0)[::-1] + 0.5, scale)
    remains = int((match & old & ~blob.area & ~there).sum()) / max(int(old.sum()), 1)
    restored = _unrestored(image, record, blob)
    left = max(remains / 0.25, restored / 0.3)
    changed = _may_change(record, blob)
    others, calm = _disturbed(image, record, changed | grow(old | there, 2), blob)
    around = _around(image, record, changed, blob)
    missing = 1 - blob.pixels / max(wanted, 1)
    measures = (
        Measure("change", "whole", max(0.0, missing), 0.35, f"the {name} is not whole"),
        Measure("change", "size", max(0.0, blob.pixels / most - 1), 0.8, f"the {name} is too large"),
        Measure("change", "single", blob.elsewhere / max(wanted, 30), 0.3, f"there is more than one {name}"),
        Measure("change", "place", off, 1.0, place),
        Measure("change", "left", left, 1.0, f"something is left where the {name} was"),
        Measure("artefact", "around", around, 7.0, "the surroundings are damaged"),
    )
    shares = (min(1.0, blob.pixels / max(wanted, 1)), float(not place), 1 - min(1.0, max(remains, restored)), calm)
    return EditMeasures((*measures, *others), shares, (float(blob.centre_px[0]), float(blob.centre_px[1])))


def _may_change(record: Record, blob: _Blob | None) -> np.ndarray:
    """The change itself, its shadows, and round the blob where another than the simulator's place is right."""
    side = record.before.shape[0]
    free = grow(_difference(record.after, record.before) > 8, 2)
    return free if blob is None else free | disc(side, blob.centre_px, 16 * side / 128)


def _find(match: np.ndarray, scale: float) -> _Blob | None:
    """The densest cube-sized blob of matching pixels."""
    if not match.any():
        return None
    side = round(11 * scale) | 1
    density = cv2.boxFilter(match.astype(np.float32), -1, (side, side), normalize=False, borderType=cv2.BORDER_CONSTANT)
    row, column = np.unravel_index(int(density.argmax()), density.shape)
    rows, columns = np.nonzero(match)
    centre, radius = np.array([column + 0.5, row + 0.5]), 8.0 * scale
    for _ in range(3):
        inside = np.hypot(columns + 0.5 - centre[0], rows + 0.5 - centre[1]) < radius
        if not inside.any():
            return None
        centre = np.array([columns[inside].mean() + 0.5, rows[inside].mean() + 0.5])
    area = np.zeros_like(match)
    area[rows[inside], columns[inside]] = True
    return _Blob(centre, int(inside.sum()), grow(area, 2), int((~inside).sum()))


def _unrestored(image: Image, record: Record, blob: _Blob) -> float:
    """How much of the old place's change is missing, 0 (none) to 1 and more, where the truth has no cube."""
    ident = SEGMENT_ID[str(record.step.obj)]
    old = (record.before_seg == ident) & ~grow(record.after_seg == ident, 2) & ~blob.area
    if old.sum() < 6:
        return 0.0
    base = float(np.abs(record.before.astype(float) - record.after)[old].mean())
    return float(np.abs(image.astype(float) - record.after)[old].mean()) / max(base, 20.0)


def _around(image: Image, record: Record, where: np.ndarray, blob: _Blob) -> float:
    """Mean difference round the moved cube from what is there before or after, whichever is nearer, 0..255."""
    judged = where & ~blob.area & ~grow(record.after_seg == SEGMENT_ID[str(record.step.obj)], 1)
    nearest = np.minimum(_difference(image, record.before), _difference(image, record.after))[judged]
    return float(nearest.mean()) if nearest.size else 0.0


def _disturbed(image: Image, record: Record, free: np.ndarray, blob: _Blob | None) -> tuple[tuple[Measure, ...], float]:
    """What changed though it must not: bystanders, and anything outside ``free``. Also calmness, 0..1."""
    stray = _difference(image, record.before)[~free]
    mean = float(stray.mean()) if stray.size else 0.0
    spots = int((stray > 30).sum()) / (image.shape[0] / 128) ** 2
    says = "something else changed"
    measures = [Measure("else", "stray", mean, 3.0, says), Measure("else", "spots", spots, 20.0, says)]
    for cube in record.before_state.cubes:
        if cube == record.step.obj:
            continue
        before = record.before_seg == SEGMENT_ID[cube]
        seen = before & (record.after_seg == SEGMENT_ID[cube])
        judged = seen & ~blob.area if blob is not None else seen
        if judged.sum() < 12 or before.sum() < 12:
            continue
        model = ColourModel.of(record.before, before)
        share = model.matches(image)[judged].sum() / max(int(model.matches(record.before)[judged].sum()), 1)
        measures.append(Measure("else", cube, max(0.0, 1 - float(share)), 0.4, f"the {cube} was damaged"))
    return tuple(measures), float(np.clip(1 - mean / 6, 0, 1))
