"""Finds bowls in the front camera's picture by the shape of their rim: an ellipse of known size at every place.

Colour alone would not do (a white bowl on a pale table has none): a bowl is where nearly all of the projected rim lies
on edges that run along it, and its wall is white, teal or pink.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from itk_sim.cameras import CameraInfo
from itk_sim.measures import BOWL_BASE_RADIUS_M, BOWL_HEIGHT_M, BOWL_RIM_RADIUS_M, WORKSPACE_X_M, WORKSPACE_Y_M
from itk_sim.policy.colours import hsv

_RIM_POINTS, _BASE_POINTS = 48, 20
_MARGIN_M = 0.03
_APART_M = 0.13
_EDGE = 14.0
"""Least brightness or colour step (of 255, over about two pixels) that counts as an edge."""
_SHARP_EDGE = 45.0
LEAST_SUPPORT = 0.9
"""Share of rim and foot that must lie on edges."""
_LEAST_SURENESS = 1.14  # support + 0.3 sharpness: all of 462 bowls had 1.15 and more


@dataclass(frozen=True)
class BowlSeen:
    """A bowl: its colour, its base centre (world, m), the share of its outline found (0..1) and how sharply (0..1)."""

    colour: str
    x: float
    y: float
    support: float
    sharpness: float

    @property
    def name(self) -> str:
        return f"{self.colour} bowl"


def _gradient(image: np.ndarray) -> np.ndarray:
    """(H,W,2,3): brightness change along u and v of each channel, after a slight blur."""
    smooth = cv2.GaussianBlur(image.astype(np.float32), (0, 0), 0.8)
    return np.stack([cv2.Sobel(smooth, cv2.CV_32F, *axis, scale=0.25) for axis in ((1, 0), (0, 1))], 2)


def _ring(radius_m: float, z_m: float, angles: np.ndarray) -> np.ndarray:
    return np.stack([radius_m * np.cos(angles), radius_m * np.sin(angles), np.full(len(angles), z_m)], 1)


def _support(gradient: np.ndarray, camera: CameraInfo, centres: np.ndarray, ring: np.ndarray) -> np.ndarray:
    """(n, points) how strong an edge runs along the ring at each of its points, for every centre (n,2); NaN where a
    cube or the handle is in the way."""
    points = ring[None] + np.column_stack([centres, np.zeros(len(centres))])[:, None]
    pixels = camera.project(points)
    along = np.roll(pixels, -1, axis=1) - np.roll(pixels, 1, axis=1)
    along /= np.maximum(np.linalg.norm(along, axis=-1, keepdims=True), 1e-6)
    normal = np.stack([-along[..., 1], along[..., 0]], -1)
    height, width = gradient.shape[:2]
    strongest = np.full(pixels.shape[:2], np.nan, np.float32)
    for offset in (-0.7, 0.0, 0.7):
        at = np.floor(pixels + offset * normal).astype(int)
        inside = (at[..., 0] >= 0) & (at[..., 0] < width) & (at[..., 1] >= 0) & (at[..., 1] < height)
        u, v = np.clip(at[..., 0], 0, width - 1), np.clip(at[..., 1], 0, height - 1)
        there = gradient[v, u]
        # Written out: numpy's sums and maxima over two or three values are slow.
        step = (there[..., 0, :] * normal[..., :1] + there[..., 1, :] * normal[..., 1:]) * inside[..., None]
        known = np.isfinite(step[..., 0])
        step[~known] = 0.0
        # The edge of a bowl keeps its sign over neighbouring points, that of a texture does not.
        smooth = _five_in_a_row(step) / np.maximum(_five_in_a_row(known.astype(np.uint8)), 1)[..., None]
        red, green, blue = np.moveaxis(np.abs(smooth), -1, 0)
        strongest = np.fmax(strongest, np.where(known, np.maximum(np.maximum(red, green), blue), np.nan))
    return strongest


def _five_in_a_row(values: np.ndarray) -> np.ndarray:
    """(n, points, ...) the sum of each point's and its four neighbours' values around a closed ring."""
    around, points = np.concatenate([values[:, -2:], values, values[:, :2]], axis=1), values.shape[1]
    return sum((around[:, i : i + points] for i in range(3, -1, -1)), start=around[:, 4:])


def _score(gradient: np.ndarray, camera: CameraInfo, centres: np.ndarray, edge: float = _EDGE) -> np.ndarray:
    """(n,) share of what can be seen of rim and front foot that lies on edges of at least ``edge``; smaller edges count
    in part; 0 where too little can be seen."""
    angles = 2 * np.pi * np.arange(_RIM_POINTS) / _RIM_POINTS
    rim = _support(gradient, camera, centres, _ring(BOWL_RIM_RADIUS_M, BOWL_HEIGHT_M, angles))
    near = np.linspace(-0.45 * np.pi, 0.45 * np.pi, _BASE_POINTS)  # the side towards the camera (+x)
    foot = _support(gradient, camera, centres, _ring(BOWL_BASE_RADIUS_M, 0.0, near))
    return 0.8 * _share(rim / edge, 0.55) + 0.2 * _share(foot / edge, 0.25)


def _share(strength: np.ndarray, least_seen: float) -> np.ndarray:
    seen = np.isfinite(strength)
    total = np.where(seen, np.clip(strength, 0, 1), 0).sum(1) / np.maximum(seen.sum(1), 1)
    return np.where(seen.mean(1) >= least_seen, total, 0.0)


def _wall_colour(image: np.ndarray, camera: CameraInfo, x: float, y: float) -> str | None:
    """The colour of the wall of a bowl at (x, y): "white", "teal" or "pink"; None where most of it is none of these."""
    angles = np.linspace(-np.pi, np.pi, 40, endpoint=False)
    back = np.abs(angles) > 0.55 * np.pi
    points = [
        _ring(0.96 * BOWL_RIM_RADIUS_M, 0.8 * BOWL_HEIGHT_M, angles[back]),  # inside, far from the camera
        _ring(0.5 * (BOWL_RIM_RADIUS_M + BOWL_BASE_RADIUS_M), 0.3 * BOWL_HEIGHT_M, angles[np.abs(angles) < 1.2]),
        _ring(0.97 * BOWL_RIM_RADIUS_M, 0.7 * BOWL_HEIGHT_M, angles[np.abs(angles) < 1.0]),  # outside, near the camera
    ]
    pixels = np.floor(camera.project(np.concatenate(points) + np.array([x, y, 0.0]))).astype(int)
    pixels = pixels[((pixels >= 0) & (pixels < image.shape[0])).all(1)]
    seen = hsv(image)[pixels[:, 1], pixels[:, 0]]
    hue, saturation = seen[:, 0], seen[:, 1]
    shares = {
        "teal": ((hue > 155) & (hue < 200) & (saturation > 0.35)).mean(),
        "pink": (((hue > 310) | (hue < 12)) & (saturation > 0.18) & (saturation < 0.62)).mean(),
        "white": (saturation < 0.24).mean(),
    }
    best = max(shares, key=lambda colour: float(shares[colour]))
    return best if shares[best] > 0.55 else None


def find_bowls(image: np.ndarray, camera: CameraInfo, in_the_way: np.ndarray | None = None) -> list[BowlSeen]:
    """Every bowl in the picture, surest first. ``image`` and ``camera`` of one size. ``in_the_way``: (H,W) bool of
    pixels that show something else, such as cubes: their edges say nothing of bowls."""
    gradient = _gradient(image)
    if in_the_way is not None:
        gradient[cv2.dilate(in_the_way.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0] = np.nan
    x = np.arange(WORKSPACE_X_M[0] - _MARGIN_M, WORKSPACE_X_M[1] + _MARGIN_M, 0.007)
    y = np.arange(WORKSPACE_Y_M[0] - _MARGIN_M, WORKSPACE_Y_M[1] + _MARGIN_M, 0.007)
    grid = np.stack(np.meshgrid(x, y, indexing="ij"), -1).reshape(-1, 2)
    scores = _score(gradient, camera, grid)
    found: list[BowlSeen] = []
    refined = _refine(gradient, camera, _peaks(grid, scores, 0.75 * LEAST_SUPPORT))
    for spot, score, sharpness in zip(*refined, strict=True):
        colour = _wall_colour(image, camera, *spot)
        if score >= LEAST_SUPPORT and score + 0.3 * sharpness > _LEAST_SURENESS and colour is not None:
            found.append(BowlSeen(colour, float(spot[0]), float(spot[1]), float(score), float(sharpness)))
    kept: list[BowlSeen] = []
    for bowl in sorted(found, key=lambda bowl: -bowl.sharpness):
        if all(np.hypot(bowl.x - other.x, bowl.y - other.y) >= _APART_M for other in kept):
            kept.append(bowl)
    return kept


def _peaks(grid: np.ndarray, scores: np.ndarray, least: float, most: int = 30) -> np.ndarray:
    """(n, 2) at most ``most`` places with the best scores, at least 3 cm apart."""
    peaks = np.empty((0, 2))
    for index in np.argsort(-scores):
        if scores[index] < least or len(peaks) == most:
            break
        if (np.hypot(*(peaks - grid[index]).T) >= 0.03).all():
            peaks = np.vstack([peaks, grid[index]])
    return peaks


def _refine(gradient: np.ndarray, camera: CameraInfo, spots: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Better places (n, 2) near ``spots``, with their scores (n,) and how sharp (n,) the edges are there."""
    sharpness = np.zeros(len(spots))
    for step in (0.007, 0.003, 0.0012):
        offsets = step * np.arange(-2, 3)
        around = spots[:, None] + np.stack(np.meshgrid(offsets, offsets, indexing="ij"), -1).reshape(-1, 2)
        sharp = _score(gradient, camera, around.reshape(-1, 2), _SHARP_EDGE).reshape(around.shape[:2])
        spots, sharpness = around[np.arange(len(spots)), sharp.argmax(1)], sharp.max(1)
    return spots, _score(gradient, camera, spots), sharpness
