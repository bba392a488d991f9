"""Spoilt goal images: what a policy does with them says how much the quality of a goal matters."""

from __future__ import annotations

import numpy as np
import PIL.Image

from itk_embodied.types import Image


def degrade(image: Image, rng: np.random.Generator, *, factor: int = 8, noise: float = 12.0) -> Image:
    """Down to 1/``factor`` of the size and back, with Gaussian noise of ``noise`` (of 255): objects stay, detail goes.

    The protocol, ours against ground-truth and degraded goals, is GIFT-Goal's (arXiv 2609.07006).
    """
    height, width = image.shape[:2]
    small = PIL.Image.fromarray(image).resize(
        (max(1, width // factor), max(1, height // factor)), PIL.Image.Resampling.BOX
    )
    blurred = np.asarray(small.resize((width, height), PIL.Image.Resampling.BILINEAR), np.float32)
    spoilt = blurred + rng.normal(0.0, noise, blurred.shape)
    return np.clip(spoilt + 0.5, 0, 255).astype(np.uint8)
