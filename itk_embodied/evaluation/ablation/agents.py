"""The planners and critics that the rows of an ablation are made of, by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from itk_embodied.agents.base import Critic, Generator, Planner
from itk_embodied.agents.registry import RoleSpec
from itk_embodied.agents.stacks import build_role, load_stack, read_stack
from itk_embodied.errors import ConfigError
from itk_embodied.evaluation.ablation.config import Ablation
from itk_embodied.evaluation.ablation.variants import ONE_AGENT, OWN
from itk_embodied.pipeline import PipelineConfig

MODEL_KEYS = ("checkpoint", "revision", "lora", "base_url", "model")


@dataclass(frozen=True, eq=False)
class Agents:
    """Who takes part; ``base``: the pipeline's settings, as the measured stack has them."""

    planners: dict[str, Planner]
    generator: Generator
    critics: dict[str, Critic]
    base: PipelineConfig


def load_agents(config: Ablation) -> Agents:
    """Load the measured stack, and of the others only what rows take from them.

    Raises:
        ConfigError: no such stack, or the one agent's planner and critic are not one model.
        CheckpointError, MissingDependencyError: as `itk_embodied.agents.stacks.build` does.
    """
    others = {name: read_stack(stack) for name, stack in config.critics.items()}
    one = None if config.one_agent is None else read_stack(config.one_agent)
    if one is not None and _model(one.planner) != _model(one.critic):
        raise ConfigError(
            f"--one-agent {config.one_agent}: its planner is {_told(one.planner)}, its critic {_told(one.critic)}; "
            "both must name one and the same checkpoint."
        )
    stack = load_stack(config.stack)
    planners: dict[str, Planner] = {OWN: stack.planner}
    critics: dict[str, Critic] = {OWN: stack.critic}
    critics |= {name: build_role(spec.critic) for name, spec in others.items()}
    if one is not None:
        planners[ONE_AGENT], critics[ONE_AGENT] = build_role(one.planner), build_role(one.critic)
    return Agents(planners, stack.generator, critics, PipelineConfig(**stack.settings))


def _model(role: RoleSpec) -> tuple[Any, ...]:
    """What tells one model from another, whatever it is told and asked."""
    return role.kind, *(getattr(role.settings, key, None) for key in MODEL_KEYS)


def _told(role: RoleSpec) -> str:
    return " ".join(str(part) for part in _model(role) if part is not None)
