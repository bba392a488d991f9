"""Pictures for the checks: a drawn table, and pairs of pictures that no critic may accept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from itk_embodied.types import Image, as_image

EXAMPLE_TASK = "put the red cube in the teal bowl"


@dataclass(frozen=True, eq=False)
class KnownPair:
    """A picture before, one after, and what was asked for; ``name`` says what is wrong (or right) with it."""

    name: str
    before: Image
    after: Image
    instruction: str
    prompt: str


def example_image(height: int = 128, width: int = 128) -> Image:
    """A wooden table with a red cube, a blue cube and a teal bowl, drawn; RGB uint8 ``(height, width, 3)``."""
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float64)
    v, u = rows / height, columns / width
    grain = 8 * np.sin(40 * u + 6 * np.sin(9 * v))
    image = np.stack([176 + grain, 136 + grain, 96 + grain * 0.7], axis=-1) * (0.8 + 0.2 * v[..., None])

    def paint(where: np.ndarray, colour: tuple[int, int, int]) -> None:
        image[where] = colour

    for left, colour in ((0.2, (200, 40, 35)), (0.45, (45, 80, 190))):
        paint((abs(u - left) < 0.055) & (abs(v - 0.62) < 0.06), colour)
        lid = (min(c + 40, 255) for c in colour)
        paint((abs(u - left) < 0.055) & (abs(v - 0.54) < 0.02), (next(lid), next(lid), next(lid)))
    bowl = ((u - 0.75) / 0.13) ** 2 + ((v - 0.55) / 0.09) ** 2
    paint(bowl < 1, (30, 150, 150))
    paint(bowl < 0.7, (20, 105, 108))
    return as_image(image.clip(0, 255).astype(np.uint8))


def known_bad_pairs(before: Image | None = None, instruction: str = EXAMPLE_TASK) -> tuple[KnownPair, ...]:
    """Pairs that every critic must reject: nothing changed, noise, a black picture, a white one, one upside down."""
    before = example_image() if before is None else before
    noise = np.random.default_rng(0).integers(0, 256, before.shape, dtype=np.uint8)
    after = {
        "identical pictures": before,
        "noise": noise,
        "a black picture": np.zeros_like(before),
        "a white picture": np.full_like(before, 255),
        "the picture upside down": before[::-1],
    }
    prompt = f"{instruction}; keep everything else unchanged"
    return tuple(KnownPair(name, before, as_image(image.copy()), instruction, prompt) for name, image in after.items())
