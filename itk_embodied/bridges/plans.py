"""A plan as it travels, and back."""

from __future__ import annotations

from collections.abc import Sequence

from itk_embodied.bridges.codec import clip
from itk_embodied.bridges.wire import StepInfo
from itk_embodied.types import Plan, PlanStep

TEXT_CHARS = 4000


def step_infos(plan: Plan | None) -> tuple[StepInfo, ...]:
    """The steps of a plan; texts that are too long for the wire are cut."""
    return tuple(
        StepInfo(
            step=step.step_number,
            name=clip(step.step_name, TEXT_CHARS),
            instruction=_clipped(step.instruction),
            prompt=_clipped(step.prompt),
            auxiliary_text=_clipped(step.auxiliary_text),
        )
        for step in (plan.steps if plan is not None else ())
    )


def plan_from(steps: Sequence[StepInfo]) -> Plan | None:
    """The inverse; None where there is no step. What the planner thought does not travel with them."""
    plan = Plan(tuple(PlanStep(s.step, s.name, s.instruction, s.prompt, s.auxiliary_text) for s in steps))
    return plan if steps else None


def _clipped(text: str | None) -> str | None:
    return None if text is None else clip(text, TEXT_CHARS)
