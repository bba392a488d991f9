"""Writes a scene's looks and inventory into the compiled model: colours, lights, camera; what is absent is parked."""

from __future__ import annotations

import numpy as np

from itk_sim.gl import mujoco
from itk_sim.measures import HANDLE_COLOUR
from itk_sim.model import HIDDEN_GROUP, OBJECTS, Index, look_at
from itk_sim.randomise import Looks
from itk_sim.symbols import DRAWER

PARKED_M = (-2.0, 0.0, 2.0)
"""Where absent objects float, weightless, hidden and touching nothing."""


class Wardrobe:
    """Remembers how the model was built, so that what was parked comes back as it was."""

    def __init__(self, model: mujoco.MjModel, index: Index) -> None:
        self._model, self._index = model, index
        self._group = model.geom_group.copy()
        self._contype = model.geom_contype.copy()
        self._conaffinity = model.geom_conaffinity.copy()

    def show_only(self, present: set[str]) -> None:
        """Objects not in ``present`` are hidden, weightless and touch nothing."""
        model = self._model
        for name in OBJECTS:
            geoms, here = self._index.geoms[name], name in present
            model.geom_group[geoms] = self._group[geoms] if here else HIDDEN_GROUP
            model.geom_contype[geoms] = self._contype[geoms] if here else 0
            model.geom_conaffinity[geoms] = self._conaffinity[geoms] if here else 0
            model.body_gravcomp[self._index.body[name]] = 0.0 if here else 1.0
            if not here and name not in self._index.qpos:
                model.body_pos[self._index.body[name]] = PARKED_M


def apply_looks(model: mujoco.MjModel, index: Index, looks: Looks) -> None:
    """Write a look into the compiled model (positions of distractors included; they touch nothing)."""
    front = model.camera("front").id
    model.cam_pos[front], model.cam_fovy[front] = looks.eye_m, looks.fovy_deg
    model.cam_quat[front] = look_at(tuple(looks.eye_m), tuple(looks.target_m))
    key, fill = model.light("key").id, model.light("fill").id
    aim = np.array([0.45, 0.0, 0.0]) - looks.key_pos_m
    model.light_pos[key], model.light_dir[key] = looks.key_pos_m, aim / np.linalg.norm(aim)
    model.light_diffuse[key], model.light_diffuse[fill] = looks.key_diffuse, looks.fill_diffuse
    model.vis.headlight.ambient[:] = looks.ambient
    model.geom_matid[model.geom("table").id] = model.material(looks.table_top).id
    for name, colour in looks.colours.items():
        model.geom_rgba[index.geoms[name], :3] = colour
    for geom in index.geoms[DRAWER]:
        part = model.geom(geom).name
        if part.endswith(("stem", "handle")):
            model.geom_rgba[geom, :3] = HANDLE_COLOUR
        elif "tray" in part:
            model.geom_rgba[geom, :3] = looks.tray_colour
    for i, place in enumerate(looks.distractors):
        name = f"distractor {i}"
        model.geom_group[index.geoms[name]] = HIDDEN_GROUP if place is None else 1
        if place is not None:
            x, y, yaw = place
            model.body_pos[index.body[name]] = [x, y, 0]
            model.body_quat[index.body[name]] = [np.cos(yaw / 2), 0, 0, np.sin(yaw / 2)]
