"""Stand-ins for parts that an ablation leaves out or changes. They are for measuring; no stack can name them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from itk_embodied.agents.base import CallContext, Critic, Generator
from itk_embodied.pipeline import derive_seed
from itk_embodied.training.judge import Judge, Subject
from itk_embodied.types import Image, Plan, PlanStep, Task, Verdict


@dataclass(frozen=True)
class FixedPlanner:
    """Always the one step it was given: for judging painting and verdicts apart from planning."""

    instruction: str
    prompt: str
    name: str = "fixed-plan"

    def plan(self, image: Image, task: Task, context: CallContext) -> Plan:
        return Plan((PlanStep(1, "step", self.instruction, self.prompt),))


@dataclass(frozen=True)
class NoPlanner:
    """The whole task as one step and its prompt: the generator alone."""

    name: str = "no-planner"

    def plan(self, image: Image, task: Task, context: CallContext) -> Plan:
        return Plan((PlanStep(1, "task", task.text, task.text),))


@dataclass(frozen=True)
class NoCritic:
    """Lets everything through, which only an ablation may do."""

    name: str = "no-critic"

    def judge(self, before: Image, after: Image, instruction: str, prompt: str, context: CallContext) -> Verdict:
        return Verdict(True, prompt, 1.0)


@dataclass(frozen=True, eq=False)
class TrueCritic:
    """The judge's word on one step's pictures: what a critic that is never wrong, and rewrites nothing, would bring."""

    by: Judge
    subject: Subject
    name: str = "the-judge"

    def judge(self, before: Image, after: Image, instruction: str, prompt: str, context: CallContext) -> Verdict:
        found = self.by.judge(self.subject, after)
        return Verdict(bool(found.success), prompt, float(found.overall) / 10)


@dataclass(frozen=True)
class NoGenerator:
    """Leaves the picture as it is: where the simulator's own goal images are shown, nothing need be painted."""

    name: str = "no-generator"

    def generate(self, image: Image, prompt: str, context: CallContext) -> Image:
        return image.copy()


@dataclass(frozen=True)
class BestOfSeeds:
    """``count`` pictures of different seeds, of which the critic's best scored is given: a critic that only filters.

    The way of GHIL-Glue (Hatch et al., 2024), with our critic in the place of its classifier.
    """

    generator: Generator
    critic: Critic
    count: int

    @property
    def name(self) -> str:
        return f"best-of-{self.count}:{self.generator.name}"

    def generate(self, image: Image, prompt: str, context: CallContext) -> Image:
        best: tuple[float, Image] | None = None
        for number in range(self.count):
            seeded = replace(context, seed=derive_seed(context.seed, "candidate", number))
            made = self.generator.generate(image, prompt, seeded)
            score = self.critic.judge(image, made, prompt, prompt, seeded).score
            if best is None or score > best[0]:
                best = score, made
        assert best is not None
        return best[1]
