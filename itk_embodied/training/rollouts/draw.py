"""A scene and a task to go through on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from itk_embodied.errors import ItkError
from itk_sim.errors import SimError
from itk_sim.scene import SceneSpec, sample_scene
from itk_sim.splits import scene_seed
from itk_sim.symbols import SceneState
from itk_sim.table import Table
from itk_sim.tasks import TaskSpec, sample_task

_SCENES = 50


def draw_task(
    table: Table, rng: np.random.Generator, *, held_out: bool, families: Sequence[str] = (), least_steps: int = 0
) -> tuple[SceneSpec, SceneState, TaskSpec]:
    """A random scene, which the table then shows, its state, and a task for it.

    Args:
        held_out: a scene, wording and combinations that training may not have; else those that it may.
        families: task families to draw from; empty for all.
        least_steps: how long the oracle's plan must be.
    """
    for _ in range(_SCENES):
        scene = sample_scene(rng)
        if held_out:
            scene = replace(scene, seed=scene_seed(rng, "held-out"))
        state = table.reset(scene)
        family = str(rng.choice(list(families))) if families else None
        try:
            task = sample_task(state, rng, family, "wording" if held_out else "train", "any" if held_out else "train")
        except SimError:
            continue  # this scene has no such task
        if len(task.steps) >= least_steps:
            return scene, state, task
    raise ItkError(
        f"no scene of {_SCENES} has a task of {', '.join(families) or 'any family'} with {least_steps} steps or more"
    )
