"""What the generator's refiner learns from: windows of judged paintings, and what should be seen in them.

Many a step leaves the place open, so the truth is the simulator's goal image with the moved cube where the painting has
it, to the pixel that fits best: what then differs is a fault, and not another choice. Between pixels there is still a
choice, so about that cube a shift of a pixel is none; elsewhere, and of the drawer, every pixel has one right value.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from itk_embodied.agents.generators.words import RASTER
from itk_embodied.agents.windows import MOST_SPOTS, SIDE_PX, changed_spots, partner, window_corner
from itk_embodied.errors import InputError
from itk_embodied.training.critic_generated import Gallery, Painting
from itk_embodied.training.judge.appearance import with_cube_moved, without_cube
from itk_embodied.training.judge.edit import SEGMENT_ID, unseen_content
from itk_embodied.training.pixels import grow
from itk_embodied.types import Image

STORED_PX = SIDE_PX + 8
"""Windows are kept larger than they are looked at, so that they can be moved about."""
CORE = 4
"""How much more the moved thing counts, and the place it left, than what is around them."""
SEARCH_PX, NEARER, OWN = 2, 0.15, 1.0
"""How far about the cube's middle its truth is tried; what a pixel off costs, in levels of 0..255; and what is taken
off for the simulator's own place: its picture has the cube's shadow, too."""
LOOSE_PX = 4
"""How far about the moved cube a shift of a pixel is no fault: its edges, and the shadow at its foot."""
CHUNK = 1000
"""Paintings whose windows are kept together."""
ARRAYS = ("frame", "painted", "truth", "spot", "loose", "weight", "about")


@dataclass(frozen=True)
class Windows:
    """Windows of one chunk, all in one order. ``frame``, ``painted``, ``truth``: uint8 RGB (N, S, S, 3); ``spot``: bool
    (N, S, S); ``loose``: bool (N, S, S), where a shift of a pixel is no fault; ``weight``: uint8 (N, S, S), how much a
    pixel counts, 0 where no painter could know; ``about``: int32 (N, 4): row and column of the window's corner, the
    window of the spot it belongs with, and 1 if the painting is right."""

    frame: np.ndarray
    painted: np.ndarray
    truth: np.ndarray
    spot: np.ndarray
    loose: np.ndarray
    weight: np.ndarray
    about: np.ndarray


def cut_windows(gallery: Gallery, out: Path, band: tuple[int, int], *, progress: bool = True) -> list[Windows]:
    """The windows of all paintings of a gallery, memory-mapped from ``out``; goes on where it stopped. Where there are
    other paintings than the last time, or the windows are of another kind, all are cut anew. Raises InputError where no
    painting can be used."""
    numbers = range(-(-len(gallery) // CHUNK))
    marker = out / "gallery.json"
    told = {"paintings": len(gallery), "right": len(gallery.right), "arrays": list(ARRAYS)}
    if not marker.is_file() or json.loads(marker.read_text()) != told:
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        marker.write_text(json.dumps(told))
    for number in tqdm(numbers, unit="chunk", desc=f"windows of {gallery.shards.split}", disable=not progress):
        folder = out / f"chunk-{number:04d}"
        if folder.is_dir():
            continue
        staging = folder.with_suffix(".partial")
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir()
        chosen = range(number * CHUNK, min((number + 1) * CHUNK, len(gallery)))
        for name, array in _cut_all([gallery[i] for i in chosen], band).items():
            np.save(staging / f"{name}.npy", array)
        staging.rename(folder)
    chunks = [
        Windows(**{name: np.load(out / f"chunk-{number:04d}" / f"{name}.npy", mmap_mode="r") for name in ARRAYS})
        for number in numbers
    ]
    chunks = [chunk for chunk in chunks if len(chunk.about)]
    if not chunks:
        raise InputError(f"{gallery.folder} holds no painting of the {gallery.shards.split} split that can be used.")
    return chunks


def _cut_all(paintings: list[Painting], band: tuple[int, int]) -> dict[str, np.ndarray]:
    rows: list[tuple[np.ndarray, ...]] = []
    for painting in paintings:
        cut = list(_cut(painting, band))
        for number, (parts, corner) in enumerate(cut):
            about = (*corner, len(rows) - number + partner(number, len(cut)), int(painting.judged.success))
            rows.append((*parts, np.array(about, np.int32)))
    side = STORED_PX
    shapes = {name: (side, side, 3) if name in ARRAYS[:3] else (side, side) for name in ARRAYS} | {"about": (4,)}
    kinds = {"spot": bool, "loose": bool, "about": np.int32}
    columns = list(zip(*rows, strict=True)) or [()] * len(ARRAYS)
    return {
        name: np.stack(column) if column else np.zeros((0, *shapes[name]), kinds.get(name, np.uint8))
        for name, column in zip(ARRAYS, columns, strict=True)
    }


def _cut(painting: Painting, band: tuple[int, int]) -> Iterator[tuple[tuple[np.ndarray, ...], tuple[int, int]]]:
    record = painting.record
    if not painting.has_a_truth:
        return
    truth = truth_of(painting)
    side = len(record.before)
    top, bottom = (row * side // RASTER for row in band)
    if min(bottom - top, side) < STORED_PX:
        raise InputError(f"pictures of {side} px are too small for windows of {STORED_PX} px; make them of 128 px.")
    images = [image[top:bottom] for image in (record.before, painting.image, truth.image)]
    loose, weight = truth.loose[top:bottom], truth.weight[top:bottom]
    change = np.abs(images[1].astype(np.float32) - images[0]).max(-1) / 127.5
    for spot in changed_spots(change)[:MOST_SPOTS]:
        row, left = window_corner(spot, STORED_PX)
        where = slice(row, row + STORED_PX), slice(left, left + STORED_PX)
        yield tuple(part[where].copy() for part in (*images, spot, loose, weight)), (top + row, left)


@dataclass(frozen=True, eq=False)
class Truth:
    """What a painting should look like: ``image``, uint8 RGB (S, S, 3); ``loose``, ``weight``: see `Windows`."""

    image: Image
    loose: np.ndarray
    weight: np.ndarray


def truth_of(painting: Painting) -> Truth:
    record = painting.record
    weight, nowhere = np.ones(record.after_seg.shape, np.uint8), np.zeros(record.after_seg.shape, bool)
    if record.step.verb == "open":
        weight[grow(unseen_content(record), 2)] = 0
    if record.step.obj is None:
        return Truth(record.after, nowhere, weight)
    image, thing = best_fit(painting)
    weight[grow(thing, 2) | grow(record.before_seg == SEGMENT_ID[record.step.obj], 1)] = CORE
    return Truth(image, grow(thing, LOOSE_PX), weight)


def best_fit(painting: Painting) -> tuple[Image, np.ndarray]:
    """The right picture with the moved cube where it fits the painting best, and that cube's pixels, bool (S, S)."""
    record, place = painting.record, painting.place_px
    there = record.after_seg == SEGMENT_ID[str(record.step.obj)]
    if place is None or not there.any():
        return record.after, there
    rows, columns = np.nonzero(there)
    down, right = round(place[1] - rows.mean() - 0.5), round(place[0] - columns.mean() - 0.5)
    about = np.zeros(there.shape, np.uint8)
    cv2.rectangle(
        about,
        (int(columns.min()) + right - 5, int(rows.min()) + down - 5),
        (int(columns.max()) + right + 5, int(rows.max()) + down + 5),
        1,
        -1,
    )
    judged, seen = about > 0, painting.image.astype(np.int16)
    bare = without_cube(record)
    best: tuple[float, Image, np.ndarray] | None = None
    for dy in range(-SEARCH_PX, SEARCH_PX + 1):
        for dx in range(-SEARCH_PX, SEARCH_PX + 1):
            truth, thing = with_cube_moved(record, bare, down + dy, right + dx)
            own = down + dy == 0 and right + dx == 0
            error = float(np.abs(seen[judged] - truth[judged]).mean()) + NEARER * (abs(dy) + abs(dx)) - OWN * own
            if best is None or error < best[0]:
                best = error, truth, thing
    assert best is not None
    return best[1], best[2]
