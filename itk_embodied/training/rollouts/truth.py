"""The ground truth that goes along with a trajectory: the table is led to where the accepted pictures are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from itk_embodied.training.judge.edit import SEGMENT_ID, check_edit
from itk_embodied.training.judge.places import table_place
from itk_embodied.training.shards import Record
from itk_embodied.types import Image
from itk_sim.errors import SimError
from itk_sim.language import parse_instruction
from itk_sim.placing import Placement
from itk_sim.symbols import Step
from itk_sim.table import Table

FOLLOW_PX = 1.5
"""A cube painted farther than this (px of a 128 px picture) from the simulator's place is put where it was painted."""


def step_of(text: str, number: int, oracle: tuple[Step, ...], planned: int) -> Step | None:
    """What an instruction asks for; where it is worded freely, the oracle's step if its plan is as long."""
    try:
        return parse_instruction(text)
    except SimError:
        return oracle[number] if planned == len(oracle) else None


@dataclass
class Truth:
    """One scene's table, step after step. Every method leaves the table where it says."""

    table: Table
    rng: np.random.Generator
    image_px: int

    def reach(self, step: Step, before: Image, kind: str) -> Record | None:
        """Do a step; None where it cannot be done, and the table is as it was. ``before``: what the picture starts
        from, which after the first step is a painted one."""
        here = self.table.snapshot()
        before_state, before_seg = self.table.state(), self.table.segmentation("front", self.image_px)
        try:
            done = self.table.teleport(step, self.rng)
        except SimError:
            done = False
        if not done:
            self.table.restore(here)
            return None
        camera = self.table.camera("front", self.image_px)
        return Record(
            before=before,
            after=self.table.render("front", self.image_px),
            before_seg=before_seg,
            after_seg=self.table.segmentation("front", self.image_px),
            before_state=before_state,
            after_state=self.table.state(),
            step=step,
            kind=kind,
            k=np.asarray(camera.K),
            world_from_camera=np.asarray(camera.world_from_camera),
        )

    def follow(self, record: Record, image: Image) -> bool:
        """Go on from a painted picture: the moved cube is put where the picture shows it. False where the picture is
        wrong, so that the table cannot follow."""
        check = check_edit(image, record)
        if not check.ok:
            return False
        name = record.step.obj
        if name is None or check.place_px is None:
            return True
        there = np.argwhere(record.after_seg == SEGMENT_ID[name])
        truth_px, seen_px = there.mean(0)[::-1] + 0.5, np.array(check.place_px)
        if np.hypot(*(seen_px - truth_px)) * 128 / self.image_px <= FOLLOW_PX:
            return True
        here = self.table.snapshot()
        x, y = table_place(record, seen_px, truth_px)
        z = record.after_state.position_m[name][2]
        self.table.put(name, Placement(x, y, z, 0.0))
        self.table.settle()
        if self.table.state(visible=False).support[name] != record.after_state.support[name]:
            self.table.restore(here)  # a hair off and it would fall; the simulator's own place is as near
        return True
