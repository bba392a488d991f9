"""Goal images from the simulator: what a step's outcome would look like, without doing it."""

from __future__ import annotations

import numpy as np

from itk_sim.symbols import Step
from itk_sim.table import Table


def goal_image(
    table: Table, step: Step, rng: np.random.Generator | None = None, size_px: int = 256
) -> np.ndarray | None:
    """The front camera's picture (S,S,3) uint8 RGB after ``step``, or None where the step cannot be done now. The table
    is left exactly as it was."""
    here = table.snapshot()
    try:
        return table.render("front", size_px) if table.teleport(step, rng) else None
    finally:
        table.restore(here)
