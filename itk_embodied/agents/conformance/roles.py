"""The checks of each role. Every one runs; a report lists them all, and `check_…` raises for those that failed."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from itk_embodied.agents.base import CallContext, Critic, Generator, Planner
from itk_embodied.agents.conformance.pictures import EXAMPLE_TASK, KnownPair, example_image, known_bad_pairs
from itk_embodied.agents.conformance.probes import ProbeContext, check_stopping, unchanged_after
from itk_embodied.agents.conformance.report import Checks, ConformanceReport, require
from itk_embodied.types import Image, Plan, Task, Verdict, as_image

if TYPE_CHECKING:
    from itk_embodied.agents.stacks import Stack


def check_planner(planner: Planner, *, image: Image | None = None, task: str = EXAMPLE_TASK) -> ConformanceReport:
    """Check a planner: a well-formed plan, the same for the same seed, inputs left alone, cancel and deadline honoured.

    Raises:
        ConformanceError: lists every failed check.
    """
    return planner_report(planner, image=image, task=task).require()


def check_generator(
    generator: Generator, *, image: Image | None = None, prompt: str = EXAMPLE_TASK
) -> ConformanceReport:
    """Check a generator: RGB uint8 of the size given, the same for the same seed and another for another, and so on.

    Raises:
        ConformanceError: lists every failed check.
    """
    return generator_report(generator, image=image, prompt=prompt).require()


def check_critic(
    critic: Critic, *, known_bad: Sequence[KnownPair] | None = None, known_good: Sequence[KnownPair] = ()
) -> ConformanceReport:
    """Check a critic: well-formed verdicts, the same for the same seed, no known-bad pair accepted.

    ``known_bad`` defaults to `known_bad_pairs`; of ``known_good`` it must accept at least one, which catches a critic
    that rejects everything. They depend on what the critic knows, so there are none by default.

    Raises:
        ConformanceError: lists every failed check.
    """
    return critic_report(critic, known_bad=known_bad, known_good=known_good).require()


def check_stack(stack: Stack, *, image: Image | None = None, task: str = EXAMPLE_TASK) -> list[ConformanceReport]:
    """The reports of a stack's three agents; does not raise for what they find. ``image`` should suit the stack."""
    return [
        planner_report(stack.planner, image=image, task=task),
        generator_report(stack.generator, image=image, prompt=task),
        critic_report(stack.critic, known_bad=None if image is None else known_bad_pairs(image, task)),
    ]


def planner_report(planner: Planner, *, image: Image | None = None, task: str = EXAMPLE_TASK) -> ConformanceReport:
    checks = Checks("planner", planner)
    picture = example_image() if image is None else as_image(image)
    wanted = Task(task)
    context = ProbeContext(seed=1)
    plans: list[Any] = []

    def well_formed() -> None:
        plans.append(unchanged_after(lambda given: planner.plan(given, wanted, context), picture))
        _require_plan(plans[0])

    def repeatable() -> None:
        again = planner.plan(picture, wanted, CallContext(seed=1))
        require(bool(plans) and again == plans[0], "two calls with the same seed gave different plans")

    _check_common(checks, planner, Planner)
    checks.run("writes a well-formed plan", well_formed)
    checks.run("same seed, same plan", repeatable)
    check_stopping(checks, lambda watched: planner.plan(picture, wanted, watched), context.checks)
    return checks.report()


def generator_report(
    generator: Generator, *, image: Image | None = None, prompt: str = EXAMPLE_TASK
) -> ConformanceReport:
    checks = Checks("generator", generator)
    picture = example_image() if image is None else as_image(image)
    wide = as_image(picture[: max(32, picture.shape[0] * 3 // 4)].copy())
    context = ProbeContext(seed=1)
    painted: list[Image] = []

    def well_formed() -> None:
        painted.append(unchanged_after(lambda given: generator.generate(given, prompt, context), picture))
        _require_image(painted[0], picture)

    def any_size() -> None:
        _require_image(generator.generate(wide, prompt, CallContext(seed=1)), wide)

    def repeatable() -> None:
        again = generator.generate(picture, prompt, CallContext(seed=1))
        require(bool(painted) and np.array_equal(again, painted[0]), "two calls with the same seed painted differently")

    def seeded() -> None:
        other = generator.generate(picture, prompt, CallContext(seed=2))
        require(
            bool(painted) and not np.array_equal(other, painted[0]),
            "another seed painted the same image, so a retry with an unchanged prompt is lost",
        )

    _check_common(checks, generator, Generator)
    checks.run("paints an image of the size given", well_formed)
    checks.run("takes another aspect", any_size)
    checks.run("same seed, same image", repeatable)
    checks.run("another seed, another image", seeded)
    check_stopping(checks, lambda watched: generator.generate(picture, prompt, watched), context.checks)
    return checks.report()


def critic_report(
    critic: Critic, *, known_bad: Sequence[KnownPair] | None = None, known_good: Sequence[KnownPair] = ()
) -> ConformanceReport:
    checks = Checks("critic", critic)
    bad = tuple(known_bad_pairs() if known_bad is None else known_bad)
    first = (*bad, *known_good, *known_bad_pairs())[0]
    context = ProbeContext(seed=1)
    verdicts: list[Any] = []

    def judge(pair: KnownPair, watched: CallContext) -> Verdict:
        return critic.judge(pair.before, pair.after, pair.instruction, pair.prompt, watched)

    def well_formed() -> None:
        def call(before: Image, after: Image) -> Verdict:
            return judge(dataclasses.replace(first, before=before, after=after), context)

        verdicts.append(unchanged_after(call, first.before, first.after))
        _require_verdict(verdicts[0])

    def repeatable() -> None:
        again = judge(first, CallContext(seed=1))
        require(bool(verdicts) and again == verdicts[0], "two calls with the same seed gave different verdicts")

    def rejects(pair: KnownPair) -> None:
        verdict = judge(pair, CallContext(seed=1))
        require(not verdict.success, f"accepted it with score {verdict.score:.2f}")

    def accepts() -> None:
        accepted = [pair.name for pair in known_good if judge(pair, CallContext(seed=1)).success]
        require(bool(accepted), f"rejected all {len(known_good)} pairs that are right")

    _check_common(checks, critic, Critic)
    checks.run("gives a well-formed verdict", well_formed)
    checks.run("same seed, same verdict", repeatable)
    for pair in bad:
        checks.run(f"rejects {pair.name}", partial(rejects, pair))
    if known_good:
        checks.run("accepts something that is right", accepts)
    check_stopping(checks, lambda watched: judge(first, watched), context.checks)
    return checks.report()


def _check_common(checks: Checks, agent: object, protocol: type) -> None:
    def named() -> None:
        name = getattr(agent, "name", None)
        require(isinstance(name, str) and bool(name.strip()), f"its name is {name!r}; expected a non-empty string")

    checks.run("has a name", named)
    checks.run(
        "has the role's methods",
        lambda: require(isinstance(agent, protocol), f"it does not have the methods of {protocol.__name__}"),
    )


def _require_plan(plan: object) -> None:
    require(isinstance(plan, Plan), f"returned {type(plan).__name__}; expected Plan")
    assert isinstance(plan, Plan)
    require(len(plan.steps) > 0, "the plan has no step")
    numbers = [step.step_number for step in plan.steps]
    require(numbers == list(range(1, len(numbers) + 1)), f"step numbers are {numbers}; expected 1, 2, 3 … in order")
    for step in plan.steps:
        both = (step.instruction is None) == (step.prompt is None)
        require(both, f"step {step.step_number}: instruction and prompt must both be text or both be None")
        texts = [step.instruction, step.prompt] if step.paints else [step.auxiliary_text]
        filled = all(isinstance(text, str) and text.strip() for text in texts)
        require(filled, f"step {step.step_number} neither says what to paint nor answers in words")


def _require_image(image: object, given: Image) -> None:
    require(isinstance(image, np.ndarray), f"returned {type(image).__name__}; expected a numpy array")
    assert isinstance(image, np.ndarray)
    require(image.dtype == np.uint8, f"returned dtype {image.dtype}; expected uint8")
    require(image.shape == given.shape, f"returned shape {image.shape}; expected that of its input, {given.shape}")


def _require_verdict(verdict: object) -> None:
    require(isinstance(verdict, Verdict), f"returned {type(verdict).__name__}; expected Verdict")
    assert isinstance(verdict, Verdict)
    require(isinstance(verdict.success, bool), f"success is {verdict.success!r}; expected True or False")
    in_range = isinstance(verdict.score, float | int) and 0.0 <= verdict.score <= 1.0
    require(in_range, f"score is {verdict.score!r}; expected a float in 0..1")
    prompt = verdict.refine_prompt
    require(isinstance(prompt, str) and bool(prompt.strip()), "refine_prompt is empty; a retry would have no prompt")
