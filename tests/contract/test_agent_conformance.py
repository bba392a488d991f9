"""The public conformance checks: honest agents pass, and every way to break a contract is caught by its own check."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import numpy as np
import pytest

from itk_embodied.agents.base import CallContext
from itk_embodied.agents.conformance import (
    check_critic,
    check_generator,
    check_planner,
    check_stack,
    example_image,
    known_bad_pairs,
)
from itk_embodied.agents.conformance.pictures import KnownPair
from itk_embodied.agents.stacks import Stack
from itk_embodied.errors import CancelledError, ConformanceError
from itk_embodied.types import Image, Plan, PlanStep, Task, Verdict


class GoodPlanner:
    name = "good planner"

    def plan(self, image: Image, task: Task, context: CallContext) -> Plan:
        for _ in range(4):
            context.check()
        return Plan((PlanStep(1, "only", task.text, task.text),))


class GoodGenerator:
    name = "good generator"

    def generate(self, image: Image, prompt: str, context: CallContext) -> Image:
        painted = image.copy()
        rng = np.random.default_rng(context.seed)
        for _ in range(4):
            context.check()
            painted[8:24, 8:24] = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
        return painted


class GoodCritic:
    """Accepts where a small part of the picture changed."""

    name = "good critic"

    def judge(self, before: Image, after: Image, instruction: str, prompt: str, context: CallContext) -> Verdict:
        context.check()
        changed = float((before != after).any(-1).mean())
        context.check()
        success = 0.0 < changed < 0.3
        return Verdict(success, prompt if success else f"{prompt}, and nothing else", 0.9 if success else 0.1)


def right_pair() -> KnownPair:
    before = example_image()
    after = before.copy()
    after[10:30, 10:30] = 0
    return KnownPair("a small change", before, after, "do it", "do it")


def test_honest_agents_pass_and_the_report_says_what_was_checked() -> None:
    for report in (
        check_planner(GoodPlanner()),
        check_generator(GoodGenerator()),
        check_critic(GoodCritic(), known_good=[right_pair()]),
    ):
        assert report.passed and len(report.results) >= 8 and not report.failures
    assert report.results["rejects a black picture"] == ""


class BadPlanner(GoodPlanner):
    def __init__(self, **change: Any) -> None:
        self.change, self.calls = change, 0

    def plan(self, image: Image, task: Task, context: CallContext) -> Plan:
        self.calls += 1
        plan = super().plan(image, task, context)
        if "writes" in self.change:
            image[0, 0] = 0
        if "different" in self.change:
            return dataclasses.replace(plan, thought=str(self.calls))
        if "plan" in self.change:
            return self.change["plan"]
        return plan


@pytest.mark.parametrize(
    ("planner", "says"),
    [
        (BadPlanner(plan=None), "expected Plan"),
        (BadPlanner(plan=Plan(())), "no step"),
        (BadPlanner(plan=Plan((PlanStep(2, "a", "b", "c"),))), "step numbers"),
        (BadPlanner(plan=Plan((PlanStep(1, "a", "b", None, "d"),))), "both"),
        (BadPlanner(plan=Plan((PlanStep(1, "a", None, None),))), "neither"),
        (BadPlanner(writes=True), "wrote into"),
        (BadPlanner(different=True), "different plans"),
        (object(), "methods of Planner"),
    ],
)
def test_bad_planners_are_caught(planner: Any, says: str) -> None:
    with pytest.raises(ConformanceError, match=says):
        check_planner(planner)


class BadGenerator(GoodGenerator):
    def __init__(self, fault: str) -> None:
        self.fault, self.calls = fault, 0

    def generate(self, image: Image, prompt: str, context: CallContext) -> Image:
        self.calls += 1
        match self.fault:
            case "ignores the seed":
                context = dataclasses.replace(context, seed=7)
            case "unseeded":
                context = dataclasses.replace(context, seed=self.calls)
            case "never checks":
                context = CallContext(context.seed)
            case "checks once":
                context.check()
                context = CallContext(context.seed)
            case "swallows":
                try:
                    return super().generate(image, prompt, context)
                except CancelledError:
                    return image.copy()
            case "writes":
                image[0, 0] = 255 - image[0, 0]
        painted = super().generate(image, prompt, context)
        match self.fault:
            case "float":
                return painted / 255.0
            case "cropped":
                return painted[1:]
            case "square":
                return np.resize(painted, (128, 128, 3))
            case "crashes":
                raise RuntimeError("out of\nmemory")
        return painted


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("ignores the seed", "same image"),
        ("unseeded", "same seed painted differently"),
        ("never checks", r"0 times(.|\n)*stops when its deadline"),
        ("checks once", "1 times"),
        ("swallows", "returned a result instead of raising CancelledError"),
        ("writes", "wrote into"),
        ("float", "dtype float64"),
        ("cropped", "shape"),
        ("square", "takes another aspect"),
        ("crashes", "raised RuntimeError: out of memory"),
    ],
)
def test_bad_generators_are_caught(fault: str, says: str) -> None:
    with pytest.raises(ConformanceError, match=says):
        check_generator(BadGenerator(fault))


class KeepsGoing(GoodGenerator):
    """Notices the cancel, but finishes its steps all the same."""

    def generate(self, image: Image, prompt: str, context: CallContext) -> Image:
        stopped: CancelledError | None = None
        for _ in range(10):
            try:
                context.check()
            except CancelledError as error:
                stopped = error
        if stopped:
            raise stopped
        return super().generate(image, prompt, context)


def test_a_generator_that_works_on_after_cancel_is_caught() -> None:
    with pytest.raises(ConformanceError, match="steps after it was cancelled"):
        check_generator(KeepsGoing())


class FixedCritic(GoodCritic):
    def __init__(self, *verdicts: Any) -> None:
        self.verdicts = list(verdicts)

    def judge(self, before: Image, after: Image, instruction: str, prompt: str, context: CallContext) -> Verdict:
        super().judge(before, after, instruction, prompt, context)
        return self.verdicts.pop(0) if len(self.verdicts) > 1 else self.verdicts[0]


def test_a_critic_that_always_says_true_is_caught_on_every_known_bad_pair() -> None:
    with pytest.raises(ConformanceError) as caught:
        check_critic(FixedCritic(Verdict(True, "as before", 1.0)))
    for pair in known_bad_pairs():
        assert f"rejects {pair.name}: accepted" in str(caught.value)


@pytest.mark.parametrize(
    ("critic", "says"),
    [
        (FixedCritic(Verdict(False, "better", 0.0)), "rejected all 1 pairs"),
        (FixedCritic(Verdict(False, " ", 0.0)), "refine_prompt is empty"),
        (FixedCritic(Verdict(False, "x", 1.5)), "score is 1.5"),
        (FixedCritic(Verdict(False, "x", float("nan"))), "score is nan"),
        (FixedCritic(Verdict(0, "x", 0.1)), "success is 0"),
        (FixedCritic("no"), "expected Verdict"),
        (FixedCritic(Verdict(False, "x", 0.1), Verdict(False, "y", 0.1)), "different verdicts"),
    ],
)
def test_bad_critics_are_caught(critic: FixedCritic, says: str) -> None:
    with pytest.raises(ConformanceError, match=says):
        check_critic(critic, known_good=[right_pair()])


def test_known_bad_pairs_of_ones_own_are_used() -> None:
    with pytest.raises(ConformanceError, match="rejects a small change: accepted"):
        check_critic(GoodCritic(), known_bad=[right_pair()])


def test_check_stack_reports_all_roles_and_does_not_raise() -> None:
    stack = Stack("mixed", GoodPlanner(), BadGenerator("ignores the seed"), FixedCritic(Verdict(True, "x", 1.0)))
    reports = {report.role: report for report in check_stack(stack, image=example_image(96, 96))}
    assert reports["planner"].passed and not reports["generator"].passed
    assert list(reports["generator"].failures) == ["another seed, another image"]
    assert len(reports["critic"].failures) == len(known_bad_pairs())


def test_a_generator_that_extends_its_own_deadline_is_caught() -> None:
    class Late(GoodGenerator):
        def generate(self, image: Image, prompt: str, context: CallContext) -> Image:
            fresh = dataclasses.replace(context, deadline_s=time.monotonic() + 60) if context.deadline_s else context
            return super().generate(image, prompt, fresh)

    with pytest.raises(ConformanceError, match="instead of raising BudgetExceededError"):
        check_generator(Late())
