"""The sentences that the generator learns to follow: canonical, with places, and as a person might say it."""

from __future__ import annotations

import itertools

import numpy as np
from itk_sim.language import grounded, instruction, word_step
from itk_sim.symbols import BOWLS, CUBES, DIRECTIONS, MATS, TABLE, Step

from itk_embodied.agents.generators.words import PLACES, split_words
from itk_embodied.training.shards import Record

CANONICAL, GROUNDED = 0.5, 0.3
"""Shares of canonical and grounded sentences; the rest is free wording."""


def sentence(record: Record, rng: np.random.Generator) -> str:
    """One way to say a record's step."""
    draw = rng.random()
    if draw < CANONICAL:
        return instruction(record.step)
    if draw < CANONICAL + GROUNDED:
        return grounded(record.step, record.before_state)
    return word_step(record.step, rng)


def vocabulary(seed: int = 0, rounds: int = 40) -> list[str]:
    """All words of the sentences, found by saying every kind of step in many ways; places first."""
    rng = np.random.default_rng(seed)
    words = {"keep", "everything", "else", "unchanged"}
    places = [("in", BOWLS), ("on", CUBES), ("on", MATS), *((d, CUBES + BOWLS + MATS) for d in DIRECTIONS)]
    steps = [Step("open"), Step("close"), *(Step("place", cube, "on", TABLE) for cube in CUBES)]
    steps += [Step("place", cube, "in", "drawer") for cube in CUBES]
    steps += [Step("place", cube, "at", None, (3, 4)) for cube in CUBES]
    for cube, (relation, targets) in itertools.product(CUBES, places):
        steps += [Step("place", cube, relation, target) for target in targets if target != cube]  # type: ignore[arg-type]
    for step in steps:
        words.update(split_words(instruction(step)))
        for _ in range(rounds if step.verb == "place" else 30 * rounds):
            words.update(split_words(word_step(step, rng)))
    return [*PLACES, *sorted(words - set(PLACES))]
