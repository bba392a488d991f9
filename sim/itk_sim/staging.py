"""Sets a table for a sentence: whatever the words name that this table can have, and some company for it.

Staging only; nothing that plans, paints or judges goal images reads a sentence this way.
"""

from __future__ import annotations

import re

import numpy as np

from itk_sim.errors import SimError
from itk_sim.language import parse_instruction
from itk_sim.scene import SceneSpec
from itk_sim.symbols import BOWL_COLOURS, CUBE_COLOURS, MAT_COLOURS, Step

_BOWL_WORDS = r"(?:bowls?|dish(?:es)?|basins?)"
COMPANY = 4
"""Cubes on the table at least."""


def scene_for(text: str, seed: int) -> SceneSpec:
    """A scene with the cubes, bowls, mat and drawer that ``text`` names, by colour, and more cubes up to COMPANY.

    Everything stands apart on the bare table and the drawer is shut; ``seed`` fixes the layout and the looks.
    """
    words = text.lower()
    rng = np.random.default_rng([seed, 3])
    cubes = [colour for colour in CUBE_COLOURS if re.search(rf"\b{colour}\b", words)]
    others = [str(colour) for colour in rng.permutation(CUBE_COLOURS) if colour not in cubes]
    cubes += others[: max(0, COMPANY - len(cubes))]
    bowls = [colour for colour in BOWL_COLOURS if re.search(rf"\b{colour}\b", words)]
    if not bowls and re.search(rf"\b{_BOWL_WORDS}\b", words):
        bowls = [str(rng.choice(BOWL_COLOURS))]
    drawer = re.search(r"\bdrawer\b", words) is not None
    return SceneSpec(
        seed=seed,
        cubes=tuple(colour for colour in CUBE_COLOURS if colour in cubes[: 4 if drawer else 6]),
        bowls=tuple(colour for colour in BOWL_COLOURS if colour in bowls),
        mat=MAT_COLOURS[0] if re.search(r"\b(?:mat|pad|placemat)\b", words) else None,
        drawer=drawer,
        drawer_open=False,
        stacked=False,
    )


def told_steps(text: str) -> tuple[Step, ...] | None:
    """The steps that a sentence in canonical wording asks for, to judge a run by; None for any freer wording.

    ``put the red cube in the teal bowl, then stack the blue cube on the green cube`` is canonical.
    """
    clauses = re.split(r"(?:,|;)?\s*(?:\band\s+)?\bthen\b\s*|;\s*", text.strip().rstrip(".!"))
    try:
        return tuple(parse_instruction(clause.strip(" ,")) for clause in clauses)
    except SimError:
        return None
