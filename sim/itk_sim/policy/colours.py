"""Which pixels belong to which cube, by colour alone.

The hue and saturation ranges were measured on 150 randomised scenes (light, colour and table jitter, both cameras'
resolution). Two thresholds each: pixels surely of a colour are seeds; pixels that may be of it count where they touch a
seed, so that soft edges (shrunk pictures, pictures painted by a network) stay whole and brown wood stays out.
"""

from __future__ import annotations

import cv2
import numpy as np

from itk_sim.symbols import CUBES

WORK_PX = 256
"""Pictures are brought to this size before anything is measured in them."""

_HUE_DEG: dict[str, tuple[float, float]] = {
    "red cube": (-14.0, 10.0),
    "orange cube": (15.0, 38.0),
    "yellow cube": (40.0, 68.0),
    "green cube": (90.0, 150.0),
    "blue cube": (208.0, 250.0),
    "purple cube": (258.0, 325.0),
}
_SEED: dict[str, tuple[float, float]] = {
    "red cube": (0.65, 0.16),
    "orange cube": (0.79, 0.30),
    "yellow cube": (0.66, 0.30),
    "green cube": (0.50, 0.14),
    "blue cube": (0.55, 0.18),
    "purple cube": (0.42, 0.16),
}
"""Least saturation and value (0..1) of a pixel that is surely of the colour."""
_LOOSE_SATURATION = {
    "red cube": 0.50,
    "orange cube": 0.66,
    "yellow cube": 0.55,
    "green cube": 0.36,
    "blue cube": 0.40,
    "purple cube": 0.30,
}
_BLACK = (0.42, 0.16)
"""Most saturation and value of the drawer's handle."""


def to_work_size(image: np.ndarray) -> np.ndarray:
    """A square RGB uint8 picture of any size at WORK_PX."""
    if image.shape[0] == WORK_PX and image.shape[1] == WORK_PX:
        return image
    method = cv2.INTER_AREA if image.shape[0] > WORK_PX else cv2.INTER_CUBIC
    return cv2.resize(image, (WORK_PX, WORK_PX), interpolation=method)


def hsv(image: np.ndarray) -> np.ndarray:
    """(H,W,3) float32: hue in degrees 0..360, saturation and value 0..1."""
    return cv2.cvtColor(image.astype(np.float32) / 255.0, cv2.COLOR_RGB2HSV)


def label_cubes(image: np.ndarray) -> np.ndarray:
    """(H,W) uint8: 1..6 where the picture shows the cube CUBES[label - 1], else 0."""
    channels = hsv(image)
    hue, saturation, value = channels[..., 0], channels[..., 1], channels[..., 2]
    labels = np.zeros(hue.shape, np.uint8)
    for number, name in enumerate(CUBES, start=1):
        low, high = _HUE_DEG[name]
        turned = np.where(hue > high + 180.0, hue - 360.0, hue)
        of_hue = (turned >= low) & (turned <= high)
        least_saturation, least_value = _SEED[name]
        seed = of_hue & (saturation >= least_saturation) & (value >= least_value)
        if not seed.any():
            continue
        seed = _opened(seed) > 0
        near = cv2.dilate(seed.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        loose = of_hue & (saturation >= _LOOSE_SATURATION[name]) & (value >= 0.8 * least_value)
        labels[seed | (near & loose & (labels == 0))] = number
    return labels


def _opened(mask: np.ndarray) -> np.ndarray:
    """The mask without what is thinner than two pixels. (OpenCV's own opening shifts it with an even kernel.)"""
    two = np.ones((2, 2), np.uint8)
    return cv2.dilate(cv2.erode(mask.astype(np.uint8), two, anchor=(1, 1)), two, anchor=(0, 0))


def mask_black(image: np.ndarray) -> np.ndarray:
    """(H,W) bool: where the picture is black, like the drawer's handle."""
    channels = hsv(image)
    return (channels[..., 2] <= _BLACK[1]) & ((channels[..., 1] <= _BLACK[0]) | (channels[..., 2] <= 0.10))


def largest_blob(mask: np.ndarray, join_px: int = 2) -> np.ndarray:
    """The part of ``mask`` in its largest connected component; components within ``join_px`` count as one."""
    joined = cv2.dilate(mask.astype(np.uint8), np.ones((2 * join_px + 1,) * 2, np.uint8))
    count, components = cv2.connectedComponents(joined)
    if count <= 2:
        return mask.astype(bool)
    sizes = np.bincount(components[mask.astype(bool)].ravel(), minlength=count)
    sizes[0] = 0
    return mask.astype(bool) & (components == int(sizes.argmax()))
