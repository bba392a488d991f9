"""Thoughts spoilt on purpose, so that a critic's verdict does not rest on its own words alone.

While it learns, the thought before the verdict is true, and a verdict could be read off it without a look at the
pictures. At run time the thought is the model's own: one wrong word ("clean") and it would be sure of a wrong verdict.
So some questions carry a wrong thought, which is not learnt, before the right verdict, which is.
"""

from __future__ import annotations

import re

import numpy as np

from itk_embodied.training.vlm_text import NAMES
from itk_sim.symbols import GRID

_PLACE = re.compile(r"<x(\d\d)><y(\d\d)>")


def doubtful(thought: str, rng: np.random.Generator) -> str:
    """``thought`` with one or two things said wrongly: damage, bystanders, a second copy, places."""
    parts = thought.split(";")
    kinds = rng.choice(4, size=int(rng.integers(1, 3)), replace=False, p=(0.4, 0.2, 0.15, 0.25))
    for kind in kinds:
        if kind == 0:
            parts[-1] = "clean" if parts[-1] != "clean" else f"damage{_anywhere(rng)}"
        elif kind == 1:
            parts[-2] = "else same" if parts[-2] != "else same" else f"else {rng.choice(NAMES)}"
        elif kind == 2 and "<" in parts[0]:
            head, also, _ = parts[0].partition(" also")
            parts[0] = head if also else f"{head} also{_anywhere(rng)}"
        else:
            number = int(rng.integers(max(len(parts) - 2, 1)))
            parts[number] = _moved(parts[number], rng)
    return ";".join(parts)


def _anywhere(rng: np.random.Generator) -> str:
    return f"<x{int(rng.integers(3, 29)):02d}><y{int(rng.integers(12, 23)):02d}>"


def _moved(part: str, rng: np.random.Generator) -> str:
    """The last place of a part, a few cells off or anywhere; "gone" becomes a place, an open drawer a closed one."""
    places = list(_PLACE.finditer(part))
    if not places:
        head, _, state = part.rpartition(" ")
        return f"{head} {'closed' if state == 'open' else 'open'}" if head.startswith("drawer") else part
    last = places[-1]
    if part.endswith(" gone"):
        return part.removesuffix(" gone") + _anywhere(rng)
    if rng.random() < 0.5:
        told = _anywhere(rng)
    else:
        x, y = (int(np.clip(int(last[i]) + rng.choice((-1, 1)) * rng.integers(1, 5), 0, GRID - 1)) for i in (1, 2))
        told = f"<x{x:02d}><y{y:02d}>"
    return part[: last.start()] + told + part[last.end() :]
