"""The rows of the ablation table: how each puts a pipeline together from the agents of a stack."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from itk_embodied.agents.base import Critic, Generator, Planner
from itk_embodied.evaluation.ablation.parts import BestOfSeeds, NoCritic, NoGenerator, NoPlanner
from itk_embodied.evaluation.closed_loop import Goals
from itk_embodied.pipeline import PipelineConfig, VisualSubgoalPipeline

OWN, ONE_AGENT, JUDGE = "own", "one agent", "the judge"


@dataclass(frozen=True)
class Variant:
    """One row.

    Attributes:
        name: as the table has it.
        critic: None for no critic, "own" for the stack's, "one agent" for that of ``--one-agent``, else a name given
            with ``--critic``.
        max_attempts: T_max.
        planner: "own" or "one agent"; None: the task's sentence goes to the generator as it is.
        seeds: more than 1: so many pictures per attempt, of which the critic picks one, and no prompt is rewritten.
        goals: what the policy is shown in the closed loop.
        painted: whether the row's pictures are judged one step at a time, too.
        closed: whether there is a closed loop: the judge has no word on pictures that an arm acted on.
    """

    name: str
    critic: str | None = OWN
    max_attempts: int = 3
    planner: str | None = OWN
    seeds: int = 1
    goals: Goals = Goals.GENERATED
    painted: bool = True
    closed: bool = True

    @property
    def slug(self) -> str:
        return "".join(c if c.isalnum() else "-" for c in self.name.lower()).strip("-")


REFERENCE = Variant("+ critic, T_max 3")
"""Every other row is compared with this one: the method as it is."""


def variants(critics: Iterable[str] = (), *, one_agent: bool = False) -> tuple[Variant, ...]:
    """All rows; one more for each critic named besides the stack's own, and one where planner and critic are one."""
    unverified = Goals.UNVERIFIED
    both = Variant(f"{ONE_AGENT} for both roles, T_max 3", critic=ONE_AGENT, planner=ONE_AGENT)
    return (
        Variant("generator only", critic=None, max_attempts=1, planner=None, goals=unverified),
        Variant("+ planner", critic=None, max_attempts=1, goals=unverified),
        Variant("+ critic, T_max 1", max_attempts=1),
        REFERENCE,
        Variant("+ critic, T_max 5", max_attempts=5),
        *(Variant(f"critic {name}, T_max 3", critic=name) for name in critics),
        *([both] if one_agent else []),
        Variant(f"critic {JUDGE}, T_max 3", critic=JUDGE, closed=False),
        Variant("3 seeds, critic as filter", max_attempts=1, seeds=3),
        # Its single steps are those of T_max 3: only the closed loop differs, where refused pictures are acted on.
        Variant("goals: unverified, T_max 3", goals=unverified, painted=False),
        Variant("goals: degraded", critic=None, max_attempts=1, goals=Goals.DEGRADED, painted=False),
        Variant("goals: ground truth", critic=None, max_attempts=1, goals=Goals.GROUND_TRUTH, painted=False),
    )


def assemble(
    variant: Variant,
    planners: Mapping[str, Planner],
    generator: Generator,
    critics: Mapping[str, Critic],
    config: PipelineConfig,
) -> VisualSubgoalPipeline:
    """The pipeline of a row. ``planners`` and ``critics`` have "own" and every other that a row may name."""
    critic: Critic = NoCritic() if variant.critic in (None, JUDGE) else critics[str(variant.critic)]
    if variant.seeds > 1:
        generator = BestOfSeeds(generator, critic, variant.seeds)
    if variant.goals in (Goals.GROUND_TRUTH, Goals.DEGRADED):
        generator = NoGenerator()
    return VisualSubgoalPipeline(
        NoPlanner() if variant.planner is None else planners[variant.planner],
        generator,
        critic,
        replace(
            config,
            max_attempts=variant.max_attempts,
            continue_after_unverified=variant.goals is not Goals.GENERATED,
        ),
        stack_name=variant.name,
    )
