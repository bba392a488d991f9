"""Agents for rollouts in tests: some that know the simulator's table (one process), some that know nothing (any)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from itk_embodied.agents.base import CallContext
from itk_embodied.training.judge import SimulatorJudge
from itk_embodied.training.rollouts import draw as draw_module
from itk_embodied.training.rollouts.roles import Roles
from itk_embodied.types import Image, Plan, PlanStep, Task, Verdict, image_hash
from itk_sim import table as table_module
from itk_sim.errors import SimError
from itk_sim.language import instruction, parse_instruction
from itk_sim.table import Snapshot, Table
from itk_sim.tasks import TaskSpec, sample_task


class Desk:
    """What the agents of `knowing` share: the table that the rollout uses, and the task it drew."""

    def __init__(self) -> None:
        self.table: Table | None = None
        self.task: TaskSpec | None = None
        self.shown: dict[str, Snapshot] = {}


def watched(monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A desk that sees the table and the task of whatever rolls next."""
    desk = Desk()

    def open_table() -> Table:
        desk.table = Table()
        return desk.table

    def draw(*args: Any, **kwargs: Any) -> TaskSpec:
        desk.task = sample_task(*args, **kwargs)
        return desk.task

    monkeypatch.setattr(table_module, "Table", open_table)
    monkeypatch.setattr(draw_module, "sample_task", draw)
    return desk


class ToldPlanner:
    """Writes the oracle's plan."""

    name = "told"

    def __init__(self, desk: Desk) -> None:
        self.desk = desk

    def plan(self, image: Image, task: Task, context: CallContext) -> Plan:
        assert self.desk.task is not None and self.desk.table is not None
        self.desk.shown = {image_hash(image): self.desk.table.snapshot()}
        said = [instruction(step) for step in self.desk.task.steps]
        if not said:
            return Plan((PlanStep(1, "refuse", None, None, self.desk.task.refusal),))
        return Plan(tuple(PlanStep(i + 1, "step", text, text) for i, text in enumerate(said)))


class TableGenerator:
    """Does what the prompt says on the table and renders it; every third seed it paints nothing new."""

    name = "table"

    def __init__(self, desk: Desk, fail_at: int = -1) -> None:
        self.desk, self.calls, self.fail_at = desk, 0, fail_at

    def generate(self, image: Image, prompt: str, context: CallContext) -> Image:
        table = self.desk.table
        assert table is not None
        self.calls += 1
        if self.calls == self.fail_at:
            raise KeyboardInterrupt
        if context.seed % 3 == 0:
            return image
        here = table.snapshot()
        try:
            table.restore(self.desk.shown[image_hash(image)])
            try:
                done = table.teleport(parse_instruction(prompt), np.random.default_rng(context.seed))
            except SimError:
                done = False
            if not done:
                return image
            painted = table.render("front", image.shape[0])
            self.desk.shown[image_hash(painted)] = table.snapshot()
            return painted
        finally:
            table.restore(here)


class PromptCritic:
    """Accepts a picture that is another and whose prompt said what the instruction says."""

    name = "prompt"

    def judge(self, before: Image, after: Image, instruction: str, prompt: str, context: CallContext) -> Verdict:
        success = prompt == instruction and not np.array_equal(before, after)
        return Verdict(success, instruction, 0.9 if success else 0.1, "seen")


def knowing(desk: Desk, fail_at: int = -1) -> Roles:
    return Roles(ToldPlanner(desk), TableGenerator(desk, fail_at), PromptCritic(), SimulatorJudge(), "told")


class DrawerPlanner:
    name = "drawer"

    def plan(self, image: Image, task: Task, context: CallContext) -> Plan:
        return Plan((PlanStep(1, "open", "open the drawer", "open the drawer"),))


class SpeckGenerator:
    name = "speck"

    def generate(self, image: Image, prompt: str, context: CallContext) -> Image:
        painted = image.copy()
        painted[:20, :20] = np.random.default_rng(context.seed).integers(0, 255, (20, 20, 3))
        return painted


def unknowing(settings: object) -> Roles:
    """Opens the drawer in words only; can be sent to other processes."""
    return replace(knowing(Desk()), planner=DrawerPlanner(), generator=SpeckGenerator())
