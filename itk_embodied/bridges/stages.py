"""Tells when a model begins and ends, and runs the models once before they are needed."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from itk_embodied.agents.base import CallContext
from itk_embodied.errors import BudgetExceededError
from itk_embodied.pipeline import VisualSubgoalPipeline
from itk_embodied.types import Image, Plan, Task, Verdict

log = logging.getLogger(__name__)

Tell = Callable[[str, float | None, float | None], None]
"""Given the stage's name, and either what it may take at its beginning or what it took at its end, in seconds."""

_BLANK = np.full((128, 128, 3), 128, np.uint8)


class WatchedAgent:
    """An agent of any role that says when it works; everything else of it is as it was."""

    def __init__(self, agent: Any, tell: Tell) -> None:
        self._agent = agent
        self._tell = tell

    def __getattr__(self, name: str) -> Any:
        return getattr(self._agent, name)

    @property
    def name(self) -> str:
        return str(self._agent.name)

    def plan(self, image: Image, task: Task, context: CallContext) -> Plan:
        with self._stage("plan", context):
            return self._agent.plan(image, task, context)

    def generate(self, image: Image, prompt: str, context: CallContext) -> Image:
        with self._stage("generate", context):
            return self._agent.generate(image, prompt, context)

    def judge(self, before: Image, after: Image, instruction: str, prompt: str, context: CallContext) -> Verdict:
        with self._stage("judge", context):
            return self._agent.judge(before, after, instruction, prompt, context)

    @contextmanager
    def _stage(self, stage: str, context: CallContext) -> Iterator[None]:
        began_s = time.monotonic()
        self._tell(stage, None if context.deadline_s is None else max(0.0, context.deadline_s - began_s), None)
        try:
            yield
        finally:
            self._tell(stage, None, time.monotonic() - began_s)


def warm_up(pipeline: VisualSubgoalPipeline, budget_s: float) -> None:
    """Run each model once on a blank picture, at most ``budget_s`` each; what comes of it is thrown away.

    Agents with ``remote = True`` are left out: their endpoint is warm, and each call may cost money.
    """
    calls: tuple[tuple[Any, Callable[[CallContext], object]], ...] = (
        (pipeline.planner, lambda context: pipeline.planner.plan(_BLANK, Task("warm up"), context)),
        (pipeline.generator, lambda context: pipeline.generator.generate(_BLANK, "warm up", context)),
        (pipeline.critic, lambda context: pipeline.critic.judge(_BLANK, _BLANK, "warm up", "warm up", context)),
    )
    for agent, call in calls:
        if getattr(agent, "remote", False):
            continue
        try:
            call(CallContext(seed=0, deadline_s=time.monotonic() + budget_s))
        except BudgetExceededError:
            log.debug("the warm-up of %s was cut at %g s", agent.name, budget_s)
        except Exception as error:  # a blank picture is no task; a model that cannot work says so at the first one
            log.debug("the warm-up of %s ended with %s: %s", agent.name, type(error).__name__, error)
