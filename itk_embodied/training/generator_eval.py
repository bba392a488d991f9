"""Is a generated goal image right? Decided from its pixels and the simulator's ground truth, one step at a time.

The moved cube must be seen in its colour at a place that fulfils the relation (any such place, where the step leaves it
open), be gone from where it was, and nothing else may have changed. A blob's place on the table comes from the camera's
calibration. What a critic should learn to see, and how the embedded generator is measured.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from itk_embodied.training.pixels import ColourModel, grow
from itk_embodied.training.shards import Record
from itk_embodied.types import Image
from itk_sim.cameras import CameraInfo
from itk_sim.measures import CUBE_M, HANDLE_BEFORE_CENTRE_M, TRAY_INNER_M
from itk_sim.predicates import IN_BOWL_XY_M, holds
from itk_sim.symbols import BOWLS, CUBES, DIRECTIONS, DRAWER, MATS, TABLE, SceneState, is_bowl, is_cube

SEGMENT_ID = {name: i + 1 for i, name in enumerate((*CUBES, *BOWLS, *MATS, DRAWER))}
CHANGED = 18
"""Pixels that differ by more than this in any channel have changed."""
EXACT_PX = 4.0
"""How far a cube may be from where it must be, in px of a 128 px picture (about 2 cm on the table)."""


@dataclass(frozen=True)
class EditCheck:
    """``ok``: the edit is right. ``reasons``: what is wrong, empty if ok. ``score``: 0..1, at least 0.5 if ok.
    ``place_px``: where the moved cube was found, (u, v) in px of the record's pictures; None if not at all."""

    ok: bool
    reasons: tuple[str, ...]
    score: float
    place_px: tuple[float, float] | None = None


@dataclass(frozen=True, eq=False)
class _Blob:
    centre_px: np.ndarray
    pixels: int
    area: np.ndarray
    elsewhere: int


def check_edit(generated: Image, record: Record) -> EditCheck:
    """Check one picture for the step of ``record``. ``generated``: uint8 RGB, square;
    one of another size is shrunk or grown to that of the record's pictures, and should be rendered like them."""
    side = record.before.shape[0]
    image = generated
    if image.shape[:2] != (side, side):
        image = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA).astype(np.uint8)
    return _check_drawer(image, record) if record.step.obj is None else _check_cube(image, record)


def _difference(one: Image, other: Image) -> np.ndarray:
    return np.abs(one.astype(np.int16) - other).max(-1)


def _check_drawer(image: Image, record: Record) -> EditCheck:
    moved = _difference(record.after, record.before) > 15
    # What lay in a closed drawer cannot be known from the picture.
    unseen = np.zeros_like(moved)
    for cube in record.before_state.cubes:
        if record.step.verb == "open" and record.before_state.support[cube] == DRAWER:
            unseen |= grow(record.after_seg == SEGMENT_ID[cube], 2)
    judged = moved & ~unseen
    base = float(np.abs(record.before.astype(float) - record.after)[judged].mean())
    left = float(np.abs(image.astype(float) - record.after)[judged].mean()) / max(base, 1e-6)
    reasons = [] if left < 0.33 else [f"the drawer is not {'open' if record.step.verb == 'open' else 'closed'}"]
    disturbed, calm = _disturbed(image, record, grow(moved, 3) | unseen, None)
    return _verdict(reasons + disturbed, [1 - min(left, 1), calm], None)


def _check_cube(image: Image, record: Record) -> EditCheck:
    name = record.step.obj
    assert name is not None
    ident, scale = SEGMENT_ID[name], image.shape[0] / 128
    there, old = record.after_seg == ident, record.before_seg == ident
    colour = ColourModel.of(record.before, old)
    match, expected = colour.matches(image), colour.matches(record.after)
    # Wood in a dim light can have an orange cube's colour: what the truth shows there without a cube is no cube.
    match &= ~(expected & ~grow(there, 1) & (_difference(image, record.after) <= CHANGED))
    blob = _find(match & (_difference(image, record.before) > CHANGED), scale)
    full, most = int((expected & there).sum()), max(int(there.sum()), int(old.sum()))
    exact = step_is_exact(record)
    wanted = full if exact else min(full, int((colour.matches(record.before) & old).sum()))
    if blob is None or blob.pixels < 0.3 * wanted:
        return _verdict([f"the {name} is not seen at a new place"], [0.0], None)
    reasons = []
    if blob.pixels < 0.65 * wanted:
        reasons.append(f"the {name} is not whole")
    if blob.pixels > 1.8 * most:
        reasons.append(f"the {name} is too large")
    if blob.elsewhere > 0.3 * max(wanted, 30):
        reasons.append(f"there is more than one {name}")
    place = _misplaced(record, blob, np.argwhere(there).mean(0)[::-1] + 0.5, scale)
    reasons += [place] if place else []
    remains = int((match & old & ~blob.area & ~there).sum()) / max(int(old.sum()), 1)
    restored = _unrestored(image, record, blob)
    if remains > 0.25 or restored > 0.3:
        reasons.append(f"something is left where the {name} was")
    # The change itself, its shadows, and round the blob where another than the simulator's place is right.
    changed = grow(_difference(record.after, record.before) > 8, 2)
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]]
    near = np.hypot(columns + 0.5 - blob.centre_px[0], rows + 0.5 - blob.centre_px[1]) < 16 * scale
    disturbed, calm = _disturbed(image, record, changed | grow(old | there, 2) | near, blob)
    around = _around(image, record, changed | near, blob)
    if around > 7:
        reasons.append("the surroundings are damaged")
    parts = [min(1.0, blob.pixels / max(wanted, 1)), float(not place), 1 - min(1.0, max(remains, restored)), calm]
    return _verdict(reasons + disturbed, parts, (float(blob.centre_px[0]), float(blob.centre_px[1])))


def _verdict(reasons: list[str], parts: list[float], place: tuple[float, float] | None) -> EditCheck:
    quality = float(np.clip(np.prod(parts), 0, 1))
    ok = not reasons
    return EditCheck(ok, tuple(reasons), 0.5 + 0.5 * quality if ok else 0.5 * quality * 0.98, place)


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


def _misplaced(record: Record, blob: _Blob, truth_px: np.ndarray, scale: float) -> str:
    """Why the blob's place does not fulfil the step; empty if it does."""
    step, name = record.step, record.step.obj
    assert name is not None
    off = float(np.hypot(*(blob.centre_px - truth_px))) / scale
    if off <= EXACT_PX:
        return ""
    if step_is_exact(record):
        return f"the {name} is {off:.0f} px from its place"
    side = record.before.shape[0]
    camera = CameraInfo("front", side, side, record.k, record.world_from_camera)
    # The middle of the visible faces, against where the cube's centre projects to: the same shift as in the truth.
    shift = truth_px - camera.project(np.array(record.after_state.position_m[name]))
    x, y, _ = camera.unproject(blob.centre_px - np.clip(shift, -2, 2), record.after_state.position_m[name][2])
    target = step.target
    assert target is not None
    if step.relation == "in" or (step.relation == "on" and target in MATS):
        tx, ty, _ = record.after_state.position_m[target]
        if target == DRAWER:
            ty += HANDLE_BEFORE_CENTRE_M
            inside = max(abs(x - tx), abs(y - ty)) < TRAY_INNER_M / 2
        else:
            inside = bool(np.hypot(x - tx, y - ty) < (IN_BOWL_XY_M if is_bowl(target) else 0.066))
        return "" if inside else f"the {name} is not {step.relation} the {target}"
    state = _with_cube_at(record.before_state, name, (float(x), float(y)))
    relation = step.relation if step.relation in DIRECTIONS else "on"
    if not holds((str(relation), name, target), state):
        return f"the {name} is not {relation} the {target}"
    return _collision(state, name)


def _with_cube_at(state: SceneState, name: str, xy: tuple[float, float]) -> SceneState:
    positions = dict(state.position_m) | {name: (*xy, CUBE_M / 2)}
    return replace(state, position_m=positions, support=dict(state.support) | {name: TABLE})


def step_is_exact(record: Record) -> bool:
    """Whether the step says exactly where the cube goes: on a cube, or at a cell."""
    return record.step.relation == "at" or (record.step.relation == "on" and is_cube(record.step.target))


def _collision(state: SceneState, name: str) -> str:
    x, y, _ = state.position_m[name]
    for other in (*state.cubes, *state.bowls):
        if other != name and state.support.get(other, TABLE) in (TABLE, *MATS):
            ox, oy, _ = state.position_m[other]
            if np.hypot(x - ox, y - oy) < (0.08 if is_bowl(other) else 0.033):
                return f"the {name} is inside the {other}"
    return ""


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


def _disturbed(image: Image, record: Record, free: np.ndarray, blob: _Blob | None) -> tuple[list[str], float]:
    """What changed though it must not: bystanders, and anything outside ``free``. Also calmness, 0..1."""
    reasons = []
    stray = _difference(image, record.before)[~free]
    mean = float(stray.mean()) if stray.size else 0.0
    spots = int((stray > 30).sum())
    if mean > 3.0 or spots > 20 * (image.shape[0] / 128) ** 2:
        reasons.append("something else changed")
    for cube in record.before_state.cubes:
        if cube == record.step.obj:
            continue
        seen = (record.before_seg == SEGMENT_ID[cube]) & (record.after_seg == SEGMENT_ID[cube])
        before = record.before_seg == SEGMENT_ID[cube]
        judged = seen & ~blob.area if blob is not None else seen
        if judged.sum() < 12 or before.sum() < 12:
            continue
        model = ColourModel.of(record.before, before)
        share = model.matches(image)[judged].sum() / max(int(model.matches(record.before)[judged].sum()), 1)
        if share < 0.6:
            reasons.append(f"the {cube} was damaged")
    return reasons, float(np.clip(1 - mean / 6, 0, 1))
