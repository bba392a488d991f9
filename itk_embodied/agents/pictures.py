"""Resizing pictures for models and back. RGB uint8 ``(H, W, 3)`` in and out."""

from __future__ import annotations

import numpy as np
import PIL.Image

from itk_embodied.types import Image, as_image


def resize(image: Image, width: int, height: int) -> Image:
    """Scale to exactly ``width`` x ``height`` px; the same array where nothing is to be done."""
    if image.shape[:2] == (height, width):
        return image
    scaled = PIL.Image.fromarray(image).resize((width, height), PIL.Image.Resampling.LANCZOS)
    return np.asarray(scaled)


def fit_longest_side(image: Image, side_px: int | None) -> Image:
    """Scale so that the longest side has ``side_px``, keeping the aspect; None leaves it as it is."""
    if side_px is None:
        return image
    height, width = image.shape[:2]
    factor = side_px / max(height, width)
    return resize(image, max(1, round(width * factor)), max(1, round(height * factor)))


def working_size(
    height: int, width: int, resolution_px: int, multiple_px: int, min_side_px: int = 0
) -> tuple[int, int]:
    """Height and width to paint at.

    The area is that of ``resolution_px`` squared (0: the picture's own); sides are rounded to ``multiple_px``, and a
    picture too narrow for ``min_side_px`` grows until it is not.
    """
    factor = resolution_px / (height * width) ** 0.5 if resolution_px else 1.0
    factor = max(factor, min_side_px / min(height, width))

    def rounded(side_px: int) -> int:
        return max(multiple_px, min_side_px, round(side_px * factor / multiple_px) * multiple_px)

    return rounded(height), rounded(width)


def painted(picture: PIL.Image.Image, like: Image) -> Image:
    """A pipeline's picture as an image of the size of ``like``."""
    height, width = like.shape[:2]
    return as_image(resize(np.array(picture.convert("RGB")), width, height), what="generated image")
