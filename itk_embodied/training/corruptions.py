"""Wrong goal images made from right ones, by means of the simulator's masks: what a critic must learn to refuse."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import cv2
import numpy as np

from itk_embodied.training.shards import Record
from itk_embodied.types import Image
from itk_sim.cameras import CameraInfo
from itk_sim.measures import CUBE_M
from itk_sim.symbols import BOWLS, CUBES, DIRECTIONS, DRAWER, MATS

SEGMENT_ID = {name: i + 1 for i, name in enumerate((*CUBES, *BOWLS, *MATS, DRAWER))}
FREE_IDS = (0,)
Pixel = tuple[float, float]


@dataclass(frozen=True, eq=False)
class Corrupted:
    """``image`` (S, S, 3) uint8; ``moved``: where a thing is now (px), None where it is gone, for those that changed;
    ``doubled``: where a second copy stands; ``damage``: bool (S, S), what looks broken; None where nothing does."""

    image: Image
    kind: str
    moved: Mapping[str, Pixel | None]
    doubled: Pixel | None = None
    damage: np.ndarray | None = None


def corrupt(record: Record, rng: np.random.Generator, kind: str | None = None) -> Corrupted:
    """One corruption of a right goal image; the kind is drawn unless given. Falls back to "no change"."""
    names = list(CORRUPTIONS)
    for _ in range(4):
        chosen = kind or str(rng.choice(names))
        made = CORRUPTIONS[chosen](record, rng)
        if made is not None:
            return made
    return Corrupted(record.before.copy(), "no change", {})


def _no_change(record: Record, rng: np.random.Generator) -> Corrupted | None:
    return Corrupted(record.before.copy(), "no change", {})


def _mask(seg: np.ndarray, name: str, grow: int = 1) -> np.ndarray:
    mask = (seg == SEGMENT_ID[name]).astype(np.uint8)
    return cv2.dilate(mask, np.ones((2 * grow + 1, 2 * grow + 1), np.uint8)).astype(bool) if grow else mask.astype(bool)


def _centre(mask: np.ndarray) -> Pixel:
    rows, columns = np.nonzero(mask)
    return float(columns.mean() + 0.5), float(rows.mean() + 0.5)


def _removed(image: Image, mask: np.ndarray) -> Image:
    """The picture with a thing painted over by what surrounds it."""
    return cv2.inpaint(image, mask.astype(np.uint8), 3, cv2.INPAINT_TELEA).astype(np.uint8)


def _seen(seg: np.ndarray, name: str) -> bool:
    return int((seg == SEGMENT_ID[name]).sum()) >= 12


def _missing(record: Record, rng: np.random.Generator) -> Corrupted | None:
    name = record.step.obj
    if name is None or not _seen(record.after_seg, name):
        return None
    mask = _mask(record.after_seg, name, 2)
    image = record.after.copy()
    if not (_mask(record.before_seg, name, 2) & mask).any() and rng.random() < 0.7:
        image[mask] = record.before[mask]
    else:
        image = _removed(image, mask)
    return Corrupted(image, "missing", {name: None})


def _doubled(record: Record, rng: np.random.Generator) -> Corrupted | None:
    name = record.step.obj
    if name is None or not _seen(record.before_seg, name):
        return None
    mask = _mask(record.before_seg, name, 1)
    if (mask & _mask(record.after_seg, name, 1)).any():
        return None
    image = record.after.copy()
    image[mask] = record.before[mask]
    return Corrupted(image, "doubled", {}, doubled=_centre(mask))


def _paste(image: Image, source: Image, mask: np.ndarray, to: tuple[int, int]) -> Image | None:
    """Paste the masked thing so that its centre comes to ``to`` (column, row)."""
    rows, columns = np.nonzero(mask)
    centre = _centre(mask)
    new_rows = rows + round(to[1] - centre[1])
    new_columns = columns + round(to[0] - centre[0])
    side = image.shape[0]
    if new_rows.min() < 0 or new_columns.min() < 0 or new_rows.max() >= side or new_columns.max() >= side:
        return None
    pasted = image.copy()
    pasted[new_rows, new_columns] = source[rows, columns]
    return pasted


def _free_place(
    record: Record, rng: np.random.Generator, far_from: Pixel, at_least_px: float
) -> tuple[int, int] | None:
    """A place on the bare table where a cube would fit."""
    side = record.after.shape[0]
    for _ in range(60):
        u, v = rng.uniform(0.08, 0.92) * side, rng.uniform(0.40, 0.72) * side
        box = record.after_seg[int(v) - 5 : int(v) + 6, int(u) - 5 : int(u) + 6]
        if box.size and np.isin(box, FREE_IDS).all() and np.hypot(u - far_from[0], v - far_from[1]) >= at_least_px:
            return int(u), int(v)
    return None


def _fulfils(record: Record, to: tuple[int, int]) -> bool:
    """Whether a cube on the table there would be in the direction that was asked for, or nearly so."""
    relation, target = record.step.relation, str(record.step.target)
    if relation not in DIRECTIONS:
        return False
    side = record.after.shape[0]
    camera = CameraInfo("front", side, side, record.k, record.world_from_camera)
    x, y, _ = camera.unproject(np.array(to, float), CUBE_M / 2)
    target_x, target_y, _ = record.after_state.position_m[target]
    along = {"left_of": target_y - y, "right_of": y - target_y, "in_front_of": x - target_x, "behind": target_x - x}
    return along[relation] > -0.01


def _misplaced(record: Record, rng: np.random.Generator) -> Corrupted | None:
    name = record.step.obj
    if name is None or not _seen(record.after_seg, name):
        return None
    # Where a relation leaves the place open, only one on the other side is surely wrong; "on the table" is right
    # anywhere.
    if record.step.target == "table":
        return None
    mask = _mask(record.after_seg, name, 0)
    to = _free_place(record, rng, _centre(mask), 9 if record.step.relation in ("in", "on", "at") else 14)
    if to is None or _fulfils(record, to):
        return None
    image = _paste(_removed(record.after, _mask(record.after_seg, name, 2)), record.after, mask, to)
    return None if image is None else Corrupted(image, "misplaced", {name: (float(to[0]), float(to[1]))})


def _bystander(record: Record, rng: np.random.Generator) -> str | None:
    names = [c for c in record.after_state.cubes if c not in (record.step.obj, record.step.target)]
    names = [c for c in names if _seen(record.after_seg, c) and record.after_state.visible[c] > 0.5]
    return str(rng.choice(names)) if names else None


def _bystander_moved(record: Record, rng: np.random.Generator) -> Corrupted | None:
    name = _bystander(record, rng)
    if name is None:
        return None
    mask = _mask(record.after_seg, name, 0)
    to = _free_place(record, rng, _centre(mask), 8)
    if to is None:
        return None
    image = _paste(_removed(record.after, _mask(record.after_seg, name, 2)), record.after, mask, to)
    return None if image is None else Corrupted(image, "bystander moved", {name: (float(to[0]), float(to[1]))})


def _bystander_missing(record: Record, rng: np.random.Generator) -> Corrupted | None:
    name = _bystander(record, rng)
    if name is None:
        return None
    return Corrupted(_removed(record.after, _mask(record.after_seg, name, 2)), "bystander missing", {name: None})


def _recoloured(record: Record, rng: np.random.Generator) -> Corrupted | None:
    name = record.step.obj if record.step.obj and rng.random() < 0.6 else _bystander(record, rng)
    if name is None or not _seen(record.after_seg, name):
        return None
    mask = _mask(record.after_seg, name, 0)
    hsv = cv2.cvtColor(record.after, cv2.COLOR_RGB2HSV)
    hue = hsv[..., 0].astype(int)
    hue[mask] = (hue[mask] + int(rng.integers(35, 146))) % 180
    hsv[..., 0] = hue
    image = record.after.copy()
    image[mask] = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[mask]
    return Corrupted(image, "recoloured", {name: None}, damage=mask)


def _spot(record: Record, rng: np.random.Generator) -> np.ndarray:
    """A round spot, on a changed thing more often than not."""
    side = record.after.shape[0]
    name = record.step.obj if record.step.obj and rng.random() < 0.6 else _bystander(record, rng)
    if name and _seen(record.after_seg, name):
        u, v = _centre(_mask(record.after_seg, name, 0))
    else:
        u, v = rng.uniform(0.1, 0.9) * side, rng.uniform(0.35, 0.72) * side
    rows, columns = np.mgrid[:side, :side]
    radius = rng.uniform(5, 11)
    return (rows - v) ** 2 + (columns - u) ** 2 < radius**2


def _blurred(record: Record, rng: np.random.Generator) -> Corrupted | None:
    mask = _spot(record, rng)
    image = record.after.copy()
    image[mask] = cv2.GaussianBlur(record.after, (0, 0), rng.uniform(2.2, 4.5))[mask]
    damage = mask & (np.abs(image.astype(int) - record.after).sum(-1) > 24)
    return Corrupted(image, "blurred", {}, damage=damage) if damage.sum() > 8 else None


def _noise(record: Record, rng: np.random.Generator) -> Corrupted | None:
    mask = _spot(record, rng)
    noisy = np.clip(record.after + rng.normal(0, rng.uniform(25, 60), record.after.shape), 0, 255).astype(np.uint8)
    image = record.after.copy()
    image[mask] = noisy[mask]
    return Corrupted(image, "noise", {}, damage=mask)


def _ghost(record: Record, rng: np.random.Generator) -> Corrupted | None:
    """The change half done: a typical failure of a generator that could not decide."""
    share = rng.uniform(0.3, 0.6)
    changed = np.abs(record.before.astype(int) - record.after).max(-1) > 20
    changed = cv2.dilate(changed.astype(np.uint8), np.ones((5, 5), np.uint8)).astype(bool)
    image = record.after.copy()
    mixed = record.before * share + record.after * (1 - share)
    image[changed] = mixed.astype(np.uint8)[changed]
    return Corrupted(image, "ghost", {}, damage=changed) if changed.sum() > 12 else None


def _half(record: Record, rng: np.random.Generator) -> Corrupted | None:
    """Part of the moved thing is not there."""
    name = record.step.obj
    if name is None or not _seen(record.after_seg, name):
        return None
    mask = _mask(record.after_seg, name, 1)
    u, v = _centre(mask)
    angle = rng.uniform(0, 2 * np.pi)
    rows, columns = np.mgrid[: mask.shape[0], : mask.shape[1]]
    gone = mask & ((columns - u) * np.cos(angle) + (rows - v) * np.sin(angle) > rng.uniform(-2, 0.3))
    return Corrupted(_removed(record.after, gone), "half erased", {}, damage=gone) if gone.sum() > 8 else None


def _colour_cast(record: Record, rng: np.random.Generator) -> Corrupted | None:
    gain = 1 + rng.choice([-1, 1], 3) * rng.uniform(0.18, 0.4, 3)
    image = np.clip(record.after * gain, 0, 255).astype(np.uint8)
    return Corrupted(image, "colour cast", {}, damage=np.ones(image.shape[:2], bool))


def _smeared(record: Record, rng: np.random.Generator) -> Corrupted | None:
    """The thing left a smear where it was: another typical failure."""
    name = record.step.obj
    if name is None or not _seen(record.before_seg, name):
        return None
    mask = _mask(record.before_seg, name, 2)
    if (mask & _mask(record.after_seg, name, 1)).any():
        return None
    blurred = cv2.GaussianBlur(record.before, (0, 0), rng.uniform(1.5, 3.5))
    share = rng.uniform(0.35, 0.9)
    image = record.after.copy()
    image[mask] = (share * blurred + (1 - share) * record.after).astype(np.uint8)[mask]
    return Corrupted(image, "smeared", {}, damage=mask)


CORRUPTIONS: Mapping[str, Callable[[Record, np.random.Generator], Corrupted | None]] = {
    "no change": _no_change,
    "missing": _missing,
    "doubled": _doubled,
    "misplaced": _misplaced,
    "bystander moved": _bystander_moved,
    "bystander missing": _bystander_missing,
    "recoloured": _recoloured,
    "blurred": _blurred,
    "noise": _noise,
    "ghost": _ghost,
    "half erased": _half,
    "smeared": _smeared,
    "colour cast": _colour_cast,
}
