"""How a scene may look: camera pose, light, colours, table top, distractors, the arm's home. Never its layout."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from itk_sim.errors import SimError
from itk_sim.measures import (
    COLOURS,
    DISTRACTOR_COUNT,
    FRONT_EYE_M,
    FRONT_FOVY_DEG,
    FRONT_TARGET_M,
    HOME_QPOS,
    TRAY_COLOUR,
)
from itk_sim.textures import TABLE_TOPS


@dataclass(frozen=True)
class Randomisation:
    """What varies from seed to seed, and how strongly (0: nothing, 1: the usual ranges)."""

    light: bool = True
    texture: bool = True
    camera: bool = True
    arm: bool = True
    distractors: bool = True
    strength: float = 1.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.strength <= 2.0:
            raise SimError(f"randomisation strength {self.strength} was given; allowed: 0 to 2")

    @classmethod
    def none(cls) -> Randomisation:
        """Every scene looks the same."""
        return cls(False, False, False, False, False, 0.0)

    def to_json(self) -> dict[str, bool | float]:
        return {field.name: getattr(self, field.name) for field in fields(self)}


@dataclass(frozen=True, eq=False)
class Looks:
    """The look of one scene, drawn from its seed. Lengths m, angles rad, colours RGB 0..1."""

    eye_m: np.ndarray
    target_m: np.ndarray
    fovy_deg: float
    key_pos_m: np.ndarray
    key_diffuse: np.ndarray
    fill_diffuse: np.ndarray
    ambient: np.ndarray
    table_top: str
    colours: dict[str, np.ndarray]
    tray_colour: np.ndarray
    distractors: tuple[tuple[float, float, float] | None, ...]
    """x, y, yaw of each, or None where it is away."""
    home_qpos: np.ndarray


_EDGE_SPOTS = ((0.17, -0.48), (0.20, -0.36), (0.16, 0.46), (0.30, -0.47), (0.45, -0.46), (0.22, 0.36), (0.80, -0.42))


def draw_looks(rng: np.random.Generator, how: Randomisation, drawer: bool) -> Looks:
    """Always draws the same number of values, so that switching one kind off leaves the others as they were."""
    amount = how.strength
    light, texture, camera, arm = (amount * on for on in (how.light, how.texture, how.camera, how.arm))
    eye = np.asarray(FRONT_EYE_M) + camera * np.clip(rng.normal(0, 0.009, 3), -0.015, 0.015)
    target = np.asarray(FRONT_TARGET_M) + camera * np.clip(rng.normal(0, 0.009, 3), -0.017, 0.017)
    fovy = FRONT_FOVY_DEG + camera * rng.uniform(-1, 1)
    key_pos = np.array([0.9, -0.7, 1.9]) + light * rng.uniform([-0.7, -0.2, -0.3], [0.4, 1.4, 0.3])
    key = np.array([0.55, 0.55, 0.52]) * (1 + light * rng.uniform(-0.3, 0.3))
    key = key * (1 + light * rng.uniform(-0.08, 0.08, 3))
    fill = np.array([0.25, 0.25, 0.28]) * (1 + light * rng.uniform(-0.5, 0.5))
    ambient = np.full(3, 0.35) * (1 + light * rng.uniform(-0.2, 0.25))
    tops = tuple(TABLE_TOPS)
    top = tops[int(rng.integers(len(tops)))]
    colours = {}
    for name in COLOURS:
        shade, hue = 1 + texture * rng.uniform(-0.15, 0.12), texture * rng.uniform(-0.03, 0.03, 3)
        hue *= 0.3 if name == "grey mat" else 1.0  # or it would not be grey
        colours[name] = np.clip(np.asarray(COLOURS[name]) * shade + hue, 0, 1)
    tray = np.clip(np.asarray(TRAY_COLOUR) * (1 + texture * rng.uniform(-0.15, 0.15)), 0, 1)
    spots = rng.permutation(len(_EDGE_SPOTS))
    present = rng.random(DISTRACTOR_COUNT) < 0.45
    jitter = rng.uniform([-0.03, -0.03, -np.pi], [0.03, 0.03, np.pi], (DISTRACTOR_COUNT, 3))
    distractors: list[tuple[float, float, float] | None] = []
    for i in range(DISTRACTOR_COUNT):
        x, y = _EDGE_SPOTS[spots[i]]
        away = not (how.distractors and amount > 0 and present[i]) or (drawer and y > 0)
        distractors.append(None if away else (x + jitter[i, 0], y + jitter[i, 1], jitter[i, 2]))
    home = np.asarray(HOME_QPOS) + arm * np.clip(rng.normal(0, 0.02, 7), -0.04, 0.04)
    return Looks(
        eye, target, fovy, key_pos, key, fill, ambient, top if texture > 0 else tops[0], colours, tray,
        tuple(distractors), home,
    )  # fmt: skip
