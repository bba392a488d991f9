"""The agents of a rollout, with two changes that make refinement worth learning from.

Trajectories in which everything works at once teach a critic nothing. So a share of the steps starts from a prompt that
asks the generator for something else, while the instruction stays right; and every step is painted as often as allowed,
accepted or not, so that one can see how stable its scores are.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from itk_embodied.agents.base import CallContext, Critic, Generator, Planner
from itk_embodied.training.judge.base import Judge
from itk_embodied.types import Image, Plan, PlanStep, Task, Verdict
from itk_sim.errors import SimError
from itk_sim.language import instruction, parse_instruction
from itk_sim.symbols import CUBES, DIRECTIONS, SceneState, Step


@dataclass(frozen=True, eq=False)
class Roles:
    """Who takes part. ``prompt_hashes`` go into the data's card."""

    planner: Planner
    generator: Generator
    critic: Critic
    judge: Judge
    stack: str = "custom"

    @property
    def prompt_hashes(self) -> dict[str, str]:
        agents = {"planner": self.planner, "critic": self.critic, "judge": self.judge}
        return {role: str(agent.prompt_hash) for role, agent in agents.items() if hasattr(agent, "prompt_hash")}


@dataclass
class MisleadingPlanner:
    """A planner whose prompts ask, in ``share`` of the steps, for another cube, target or side than the instruction.

    ``misled``: the numbers of those steps in the last plan.
    """

    planner: Planner
    state: SceneState
    share: float
    rng: np.random.Generator
    misled: set[int] = field(default_factory=set)

    @property
    def name(self) -> str:
        return self.planner.name

    def plan(self, image: Image, task: Task, context: CallContext) -> Plan:
        plan = self.planner.plan(image, task, context)
        self.misled = set()
        return replace(plan, steps=tuple(self._perhaps(step) for step in plan.steps))

    def _perhaps(self, step: PlanStep) -> PlanStep:
        if not step.paints or self.rng.random() >= self.share:
            return step
        other = mistaken(str(step.instruction), self.state, self.rng)
        if other is None:
            return step
        self.misled.add(step.step_number)
        return replace(step, prompt=other)


def mistaken(text: str, state: SceneState, rng: np.random.Generator) -> str | None:
    """Another order than ``text``, about things of the scene; None where the text is in no canonical wording."""
    try:
        step = parse_instruction(text)
    except SimError:
        return None
    options: list[Step] = []
    if step.verb != "place":
        options += [Step("place", cube, "on", "table") for cube in state.cubes if state.support[cube] != "table"]
        options += [Step("place", cube, "in", bowl) for cube in state.cubes for bowl in state.bowls]
        options += [Step("place", state.cubes[0], "left_of", other) for other in state.cubes[1:2]]
    else:
        options += [replace(step, obj=cube) for cube in state.cubes if cube not in (step.obj, step.target)]
        if step.relation in DIRECTIONS:
            options += [replace(step, relation=way) for way in DIRECTIONS if way != step.relation]
        elif step.target in CUBES:
            options += [replace(step, target=cube) for cube in state.cubes if cube not in (step.obj, step.target)]
        elif step.relation == "in":
            options += [replace(step, target=bowl) for bowl in state.bowls if bowl != step.target]
    return instruction(options[int(rng.integers(len(options)))]) if options else None


@dataclass
class PersistentCritic:
    """A critic that says what it thinks but lets a step be painted ``attempts`` times all the same.

    ``verdicts``: its own verdicts, in order. Where it accepts, the next picture is painted from the same prompt.
    """

    critic: Critic
    attempts: int
    verdicts: list[Verdict] = field(default_factory=list)
    _step: tuple[bytes, str] = (b"", "")
    _asked: int = 0

    @property
    def name(self) -> str:
        return self.critic.name

    def judge(self, before: Image, after: Image, instruction: str, prompt: str, context: CallContext) -> Verdict:
        verdict = self.critic.judge(before, after, instruction, prompt, context)
        self.verdicts.append(verdict)
        step = (before.tobytes(), instruction)
        self._asked = self._asked + 1 if step == self._step else 1
        self._step = step
        if verdict.success and self._asked < self.attempts:
            return replace(verdict, success=False, refine_prompt=prompt)
        return verdict
