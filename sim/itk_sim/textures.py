"""Procedural pictures for table tops: wood, laminate, stone, cloth. None is black, none has a cube's colour."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

SIZE_PX = 256


def _fractal(rng: np.random.Generator, octaves: int = 5, stretch: tuple[int, int] = (1, 1)) -> np.ndarray:
    """Smooth noise (SIZE, SIZE) in 0..1; ``stretch`` elongates it along rows or columns."""
    total = np.zeros((SIZE_PX, SIZE_PX))
    for octave in range(octaves):
        cells = 2 ** (octave + 1)
        shape = (max(cells // stretch[0], 1) + 1, max(cells // stretch[1], 1) + 1)
        coarse = rng.random(shape)
        rows, columns = np.linspace(0, shape[0] - 1, SIZE_PX), np.linspace(0, shape[1] - 1, SIZE_PX)
        across = np.stack([np.interp(columns, np.arange(shape[1]), line) for line in coarse])
        total += np.stack([np.interp(rows, np.arange(shape[0]), line) for line in across.T], 1) / 2**octave
    return (total - total.min()) / (total.max() - total.min())


def _tint(grey: np.ndarray, dark: tuple[float, float, float], light: tuple[float, float, float]) -> np.ndarray:
    colour = np.asarray(dark) + grey[..., None] * (np.asarray(light) - np.asarray(dark))
    return np.clip(colour * 255, 0, 255).astype(np.uint8)


def _wood(seed: int, dark: tuple[float, float, float], light: tuple[float, float, float]) -> np.ndarray:
    rng = np.random.default_rng(seed)
    grain = _fractal(rng, stretch=(16, 1))
    rings = 0.5 + 0.5 * np.sin(18 * _fractal(rng, 3, (4, 1)) + 30 * grain)
    return _tint(0.55 * grain + 0.35 * rings + 0.1 * rng.random(grain.shape), dark, light)


def _planks(seed: int, dark: tuple[float, float, float], light: tuple[float, float, float]) -> np.ndarray:
    rng = np.random.default_rng(seed)
    image = _wood(seed, dark, light).astype(float)
    width = SIZE_PX // 4
    for plank in range(4):
        image[:, plank * width : (plank + 1) * width] *= rng.uniform(0.88, 1.08)
        image[:, plank * width : plank * width + 2] *= 0.75
    return np.clip(image, 0, 255).astype(np.uint8)


def _stone(seed: int, dark: tuple[float, float, float], light: tuple[float, float, float]) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return _tint(0.7 * _fractal(rng, 6) + 0.3 * rng.random((SIZE_PX, SIZE_PX)), dark, light)


def _cloth(seed: int, dark: tuple[float, float, float], light: tuple[float, float, float]) -> np.ndarray:
    rng = np.random.default_rng(seed)
    line = 0.5 + 0.5 * np.sin(np.arange(SIZE_PX) * 2 * np.pi / 8)
    weave = 0.5 * (line[:, None] + line[None, :])
    return _tint(0.6 * weave + 0.2 * _fractal(rng) + 0.2 * rng.random(weave.shape), dark, light)


TABLE_TOPS: Mapping[str, Callable[[], np.ndarray]] = {
    "oak": lambda: _wood(1, (0.50, 0.37, 0.25), (0.74, 0.60, 0.44)),
    "beech": lambda: _wood(2, (0.68, 0.55, 0.42), (0.86, 0.75, 0.60)),
    "walnut": lambda: _planks(3, (0.33, 0.25, 0.19), (0.50, 0.40, 0.31)),
    "pine planks": lambda: _planks(4, (0.62, 0.50, 0.36), (0.82, 0.70, 0.52)),
    "laminate": lambda: _stone(5, (0.66, 0.66, 0.66), (0.84, 0.84, 0.83)),
    "concrete": lambda: _stone(6, (0.44, 0.45, 0.46), (0.62, 0.63, 0.63)),
    "linen": lambda: _cloth(7, (0.66, 0.62, 0.55), (0.80, 0.77, 0.70)),
    "sage cloth": lambda: _cloth(8, (0.46, 0.50, 0.46), (0.60, 0.64, 0.59)),
}
"""Name to a function that paints it: (SIZE_PX, SIZE_PX, 3) uint8 RGB. The first is what an unrandomised scene shows."""
