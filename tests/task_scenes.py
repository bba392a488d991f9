"""Scenes as the simulator lays them out, without physics or pictures: for tests of tasks and plans."""

from __future__ import annotations

import numpy as np

from itk_sim.layout import layout_of
from itk_sim.measures import HANDLE_BEFORE_CENTRE_M, HANDLE_HEIGHT_M
from itk_sim.nominal import project
from itk_sim.scene import SceneSpec, sample_scene
from itk_sim.symbols import BOWLS, CUBES, DRAWER, SceneState


def state_of(spec: SceneSpec) -> SceneState:
    """The state that a scene begins with, as the designed camera sees it."""
    layout = layout_of(spec)
    position = {name: (p.x_m, p.y_m, p.z_m) for name, p in layout.placements.items()}
    mat = f"{spec.mat} mat" if spec.mat else None
    if mat is not None and layout.mat_xy is not None:
        position[mat] = (*layout.mat_xy, 0.0)
    if layout.tray_xy is not None:
        x, y = layout.tray_xy
        position[DRAWER] = (x, y - layout.slide_m - HANDLE_BEFORE_CENTRE_M, HANDLE_HEIGHT_M / 2)
    is_open = layout.slide_m > 0.09
    shut = [cube for cube, below in layout.support.items() if below == DRAWER and not is_open]
    return SceneState(
        cubes=tuple(name for name in CUBES if name.split()[0] in spec.cubes),
        bowls=tuple(name for name in BOWLS if name.split()[0] in spec.bowls),
        mat=mat,
        drawer=("open" if is_open else "closed") if spec.drawer else None,
        support=layout.support,
        position_m=position,
        pixel={name: project(spot) for name, spot in position.items()},
        visible={name: 0.0 if name in shut else 1.0 for name in position},
    )


def random_state(seed: int, **wishes: object) -> SceneState:
    """A random scene; ``wishes`` as for ``sample_scene``."""
    return state_of(sample_scene(np.random.default_rng(seed), **wishes))  # type: ignore[arg-type]
