"""What the pipeline costs: seconds in each role, and the share that is not model time."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from itk_embodied.agents.base import CallContext, Critic, Generator, Planner
from itk_embodied.pipeline import PipelineConfig, VisualSubgoalPipeline
from itk_embodied.types import Frame, Image, Plan, Task, Verdict

ROLES = ("planner", "generator", "critic")


@dataclass
class Clock:
    """Seconds spent in each role, and how many calls they took."""

    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(ROLES, 0.0))
    calls: dict[str, int] = field(default_factory=lambda: dict.fromkeys(ROLES, 0))

    def reset(self) -> None:
        for role in ROLES:
            self.seconds[role], self.calls[role] = 0.0, 0

    def add(self, role: str, began_s: float) -> None:
        self.seconds[role] += time.perf_counter() - began_s
        self.calls[role] += 1


@dataclass(frozen=True)
class _TimedPlanner:
    inner: Planner
    clock: Clock
    name: str = "timed-planner"

    def plan(self, image: Image, task: Task, context: CallContext) -> Plan:
        began_s = time.perf_counter()
        try:
            return self.inner.plan(image, task, context)
        finally:
            self.clock.add("planner", began_s)


@dataclass(frozen=True)
class _TimedGenerator:
    inner: Generator
    clock: Clock
    name: str = "timed-generator"

    def generate(self, image: Image, prompt: str, context: CallContext) -> Image:
        began_s = time.perf_counter()
        try:
            return self.inner.generate(image, prompt, context)
        finally:
            self.clock.add("generator", began_s)


@dataclass(frozen=True)
class _TimedCritic:
    inner: Critic
    clock: Clock
    name: str = "timed-critic"

    def judge(self, before: Image, after: Image, instruction: str, prompt: str, context: CallContext) -> Verdict:
        began_s = time.perf_counter()
        try:
            return self.inner.judge(before, after, instruction, prompt, context)
        finally:
            self.clock.add("critic", began_s)


def bench_pipeline(
    planner: Planner,
    generator: Generator,
    critic: Critic,
    tasks: Iterable[tuple[Frame, Task]],
    config: PipelineConfig | None = None,
) -> dict[str, Any]:
    """Run every task; the first is a warm-up that is not counted.

    Returns:
        ``seconds`` per role and ``other``, ``other_share`` of the total, ``calls`` per role, ``tasks`` counted.
    """
    clock = Clock()
    pipeline = VisualSubgoalPipeline(
        _TimedPlanner(planner, clock), _TimedGenerator(generator, clock), _TimedCritic(critic, clock), config
    )
    total_s, count = 0.0, -1
    for frame, task in tasks:
        if count == 0:  # the warm-up has just ended
            clock.reset()
        began_s = time.perf_counter()
        pipeline(frame, task)
        total_s = total_s + (time.perf_counter() - began_s) if count >= 0 else 0.0
        count += 1
    other_s = total_s - sum(clock.seconds.values())
    return {
        "seconds": {**{role: round(s, 4) for role, s in clock.seconds.items()}, "other": round(other_s, 4)},
        "other_share": round(other_s / total_s, 5) if total_s else 0.0,
        "calls": dict(clock.calls),
        "tasks": max(count, 0),
    }
