"""Small tools on pixels: hue, the colour of a thing under its scene's light, growing of masks, moving."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from itk_embodied.types import Image


def hue_sat_value(image: Image) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Hue in degrees 0..360, saturation and value in 0..1, float32, of a uint8 RGB picture."""
    hsv = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2HSV)
    return hsv[..., 0], hsv[..., 1], hsv[..., 2]


def grow(mask: np.ndarray, px: int) -> np.ndarray:
    """The mask and what is within ``px`` of it (a square)."""
    return cv2.dilate(mask.astype(np.uint8), np.ones((2 * px + 1, 2 * px + 1), np.uint8)).astype(bool)


def disc(side: int, centre: Sequence[float] | np.ndarray, radius: float) -> np.ndarray:
    """What is within ``radius`` px of ``centre`` (u, v), bool (side, side)."""
    rows, columns = np.mgrid[:side, :side]
    return np.hypot(columns + 0.5 - centre[0], rows + 0.5 - centre[1]) < radius


def moved(image: np.ndarray, shift_px: Sequence[int] | np.ndarray) -> np.ndarray:
    """A square picture or mask, moved by (down, right) px; what comes in from the side repeats the edge."""
    side = np.arange(len(image))
    down, right = (np.clip(side - by, 0, len(image) - 1) for by in shift_px)
    return image[down][:, right]


@dataclass(frozen=True)
class ColourModel:
    """The colour of a thing as its picture has it: hue and its slack in degrees, least saturation, range of value."""

    hue: float
    slack: float
    saturation: float
    darkest: float
    brightest: float

    @classmethod
    def of(cls, image: Image, mask: np.ndarray) -> ColourModel:
        """From the pixels of a thing in a scene; its edges, which mix with what is behind, are left out."""
        hue, saturation, value = (channel[mask] for channel in hue_sat_value(image))
        pure = saturation >= 0.7 * np.percentile(saturation, 90)
        angle = np.deg2rad(hue[pure])
        middle = float(np.rad2deg(np.arctan2(np.sin(angle).mean(), np.cos(angle).mean())) % 360)
        # Red, orange and yellow are near each other; green, blue and purple are not.
        slack = 11.0 if middle < 75 or middle > 335 else 18.0
        low, high = np.percentile(value[pure], [5, 95])
        return cls(middle, slack, 0.55 * float(np.median(saturation[pure])), 0.45 * float(low), 1.35 * float(high))

    def matches(self, image: Image) -> np.ndarray:
        """Which pixels of another picture of the scene have this colour, bool (H, W)."""
        hue, saturation, value = hue_sat_value(image)
        apart = np.abs((hue - self.hue + 180) % 360 - 180)
        bright = (value >= self.darkest) & (value <= self.brightest)
        return (apart < self.slack) & (saturation >= self.saturation) & bright
