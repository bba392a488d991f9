"""Scripted agents: fast, deterministic, and honest about what they are. For tests of the loop and plumbing only."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

import numpy as np

from itk_embodied.agents.base import CallContext
from itk_embodied.types import Image, Plan, PlanStep, Task, Verdict


def gradient_image(height: int = 48, width: int = 64) -> Image:
    rows, columns = np.mgrid[0:height, 0:width]
    return np.stack([rows * 5 % 256, columns * 4 % 256, (rows + columns) % 256], -1).astype(np.uint8)


def plan_of(*instructions: str | None, answer: str | None = None) -> Plan:
    return Plan(tuple(PlanStep(i + 1, f"step {i + 1}", text, text, answer) for i, text in enumerate(instructions)))


class ScriptedPlanner:
    """Answers with the given plans or errors, one a call; the last one again and again."""

    name = "scripted-planner"

    def __init__(self, *answers: Plan | Exception) -> None:
        self.answers = list(answers)
        self.contexts: list[CallContext] = []

    def plan(self, image: Image, task: Task, context: CallContext) -> Plan:
        self.contexts.append(context)
        context.check()
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


class NoiseGenerator:
    """Paints a seeded patch of noise into a copy of the image: another seed, another image."""

    name = "noise-generator"

    def __init__(self, seconds: float = 0.0, error: Callable[[int], Exception | None] = lambda call: None) -> None:
        self.seconds, self.error = seconds, error
        self.calls: list[tuple[Image, str, int]] = []
        self.started = threading.Event()

    def generate(self, image: Image, prompt: str, context: CallContext) -> Image:
        self.calls.append((image, prompt, context.seed))
        self.started.set()
        failure = self.error(len(self.calls))
        if failure is not None:
            raise failure
        ends_s = time.monotonic() + self.seconds
        while True:
            context.check()
            if time.monotonic() >= ends_s:
                break
            time.sleep(0.002)
        painted = image.copy()
        painted[4:20, 4:20] = np.random.default_rng(context.seed).integers(0, 256, (16, 16, 3), dtype=np.uint8)
        return painted


class ScriptedCritic:
    """Answers with the given verdicts or errors, one a call; the last one again and again."""

    name = "scripted-critic"

    def __init__(self, *answers: Verdict | Exception | bool) -> None:
        self.answers: list[Verdict | Exception | bool] = list(answers)
        self.calls: list[tuple[Image, Image, str, str]] = []

    def judge(self, before: Image, after: Image, instruction: str, prompt: str, context: CallContext) -> Verdict:
        context.check()
        self.calls.append((before, after, instruction, prompt))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, bool):
            return Verdict(answer, prompt if answer else f"{prompt}, better", 0.9 if answer else 0.1)
        return answer


def verdicts(*scores: float, accept: float = 0.5) -> Sequence[Verdict]:
    return [Verdict(score >= accept, f"prompt after {score}", score) for score in scores]
