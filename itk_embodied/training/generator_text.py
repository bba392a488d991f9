"""The sentences that the generator learns to follow: canonical, with places, and as a person might say it."""

from __future__ import annotations

import numpy as np

from itk_embodied.agents.generators.words import PLACES
from itk_embodied.training.shards import Record
from itk_sim.language import grounded, instruction, word_step

CANONICAL, GROUNDED = 0.5, 0.35
"""Shares of canonical and grounded sentences; the rest is free wording."""

_WORDS = (
    "put place set move stack lay drop take pick lift carry bring transfer shift slide push pull open close shut "
    "leave get make let rest sit stand balance position relocate deposit tuck store hide return remove unstack "
    "clear free add throw the a an it its that this there one other everything else unchanged keep as is are was be "
    "must should can could would please you your i want need like now then so only just and or but not nothing do "
    "don t all in into inside within on onto upon over top of off from out to at by near beside next under above "
    "down up back away left right front behind hand side leftwards rightwards forward rear before ahead where with "
    "here red green blue yellow orange purple white teal pink grey gray violet turquoise brown wooden scarlet crimson "
    "cube block box brick dice cubes blocks bowl dish basin cup container mat pad square cloth tray table tabletop "
    "surface desk bench drawer cabinet chest compartment handle object thing item piece spot location point empty "
    "bare coloured colored small plain directly straight gently carefully "
)

WORD_BUCKETS = 96
"""Vectors that words outside WORDS share."""

WORDS = tuple(_WORDS.split())
"""Words that get a vector of their own."""


def sentence(record: Record, rng: np.random.Generator) -> str:
    """One way to say a record's step."""
    draw = rng.random()
    if draw < CANONICAL:
        return instruction(record.step)
    if draw < CANONICAL + GROUNDED:
        return grounded(record.step, record.before_state)
    return word_step(record.step, rng)


def vocabulary() -> list[str]:
    """Places first, then words; fixed, so that a checkpoint's rows keep their meaning."""
    return [*PLACES, *dict.fromkeys(WORDS)]
