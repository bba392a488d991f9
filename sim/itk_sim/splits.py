"""What training never sees: some scenes by seed, some combinations by content, some wordings (see `itk_sim.lexicon`).

Scenes: `itk_sim.scene.sample_scene` draws training scenes from ``TRAIN_SCENE_SEEDS``; suites use
``HELD_OUT_SCENE_SEEDS``.
Combinations: about 12 % of all (cube, relation, target) are held out of training data; every cube and every target is
in both parts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Literal, TypeAlias

import numpy as np

from itk_sim.errors import SimError
from itk_sim.scene import SAMPLED_SEEDS
from itk_sim.symbols import DIRECTIONS, Step

Part: TypeAlias = Literal["train", "held-out"]
Combinations: TypeAlias = Literal["train", "held-out", "any"]

TRAIN_SCENE_SEEDS = SAMPLED_SEEDS
HELD_OUT_SCENE_SEEDS = (100_000, SAMPLED_SEEDS[0])
"""Half-open. Seeds below both are free for tests, demos and users' own task files; training never sees those either."""
HELD_OUT_SHARE = 0.12
_SALT = "combination-525"
"""Chosen so that what is held out of in and on covers every cube, bowl, the mat and the drawer."""


def scene_part(seed: int) -> Part:
    """Whether a scene seed belongs to training."""
    return "train" if TRAIN_SCENE_SEEDS[0] <= seed < TRAIN_SCENE_SEEDS[1] else "held-out"


def scene_seed(rng: np.random.Generator, part: Part) -> int:
    """A random scene seed of a part."""
    if part not in ("train", "held-out"):
        raise SimError(f"part {part!r} was given; allowed: train, held-out")
    return int(rng.integers(*(TRAIN_SCENE_SEEDS if part == "train" else HELD_OUT_SCENE_SEEDS)))


def combination_split(obj: str, relation: str, target: str) -> Part:
    """Which part a placement belongs to, by a hash of its content. Only in, on and directions are ever held out;
    putting a cube on the bare table is always train."""
    if relation not in ("in", "on", *DIRECTIONS) or target == "table":
        return "train"
    digest = hashlib.sha256(f"{_SALT}|{obj}|{relation}|{target}".encode()).digest()
    return "held-out" if int.from_bytes(digest[:8], "big") / 2**64 < HELD_OUT_SHARE else "train"


def step_split(step: Step) -> Part:
    """Which part a step belongs to."""
    if step.obj is None or step.relation is None or step.target is None:
        return "train"
    return combination_split(step.obj, step.relation, step.target)


def is_train_step(step: Step) -> bool:
    """Whether training data may have this step."""
    return step_split(step) == "train"


def steps_allowed(steps: Iterable[Step], combinations: Combinations) -> bool:
    """Whether a plan fits: all of its steps train, or at least one held out, or any."""
    if combinations == "any":
        return True
    held = any(not is_train_step(step) for step in steps)
    return held == (combinations == "held-out")
