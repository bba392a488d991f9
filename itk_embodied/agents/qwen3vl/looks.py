"""A second look at what was refused: the same pictures, moved a little sideways.

A small vision model reads a thing wrong where it lies badly on the raster of its patches, and then says so of every new
picture of it. Moved by part of a patch it often reads it right.
"""

from __future__ import annotations

import numpy as np

from itk_embodied.types import Image

WIDTHS = (0.0, 1 / 64, -1 / 64)
"""How far the pictures are moved for each look, in widths; to the right is positive."""


def moved(image: Image, look: int) -> Image:
    """The picture as look number ``look`` sees it; what comes in from the side repeats the edge. uint8 (H, W, 3)."""
    width = image.shape[1]
    columns = np.clip(np.arange(width) - round(WIDTHS[look] * width), 0, width - 1)
    return np.ascontiguousarray(image[:, columns])
