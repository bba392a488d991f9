"""The kinds that come with the library. Each factory imports its heavy part when it is called, not before."""

from __future__ import annotations

from itk_embodied.agents import settings
from itk_embodied.agents.base import Critic, Generator, Planner
from itk_embodied.agents.generators.diffusers_specs import SPECS
from itk_embodied.agents.panel import PanelSettings
from itk_embodied.agents.registry import RoleSpec, register_critic, register_generator, register_planner


def register_builtin() -> None:
    """Called once, by the registry."""
    register_planner("qwen3vl", _qwen3vl_planner, settings.Qwen3VLPlannerSettings)
    register_critic("qwen3vl", _qwen3vl_critic, settings.Qwen3VLCriticSettings)
    register_critic("edit-verifier", _edit_verifier, settings.EditVerifierSettings)
    register_critic("panel", _panel, PanelSettings)
    for kind in SPECS:
        register_generator(kind, _diffusers_generator, settings.DiffusersSettings)
    register_planner("openai", _chat_planner, settings.ChatSettings)
    register_critic("openai", _chat_critic, settings.ChatCriticSettings)
    register_generator("openai", _image_edit_generator, settings.ImageEditSettings)


def _qwen3vl_planner(spec: RoleSpec) -> Planner:
    from itk_embodied.agents.qwen3vl.planner import Qwen3VLPlanner

    return Qwen3VLPlanner.from_settings(spec.settings, spec.folder)


def _qwen3vl_critic(spec: RoleSpec) -> Critic:
    from itk_embodied.agents.qwen3vl.critic import Qwen3VLCritic

    return Qwen3VLCritic.from_settings(spec.settings, spec.folder)


def _edit_verifier(spec: RoleSpec) -> Critic:
    from itk_embodied.agents.verifier.critic import EditVerifierCritic

    return EditVerifierCritic.from_settings(spec.settings, spec.folder)


def _panel(spec: RoleSpec) -> Critic:
    from itk_embodied.agents.panel import Member, Panel
    from itk_embodied.agents.stacks import build_role

    seats = spec.settings.seats(spec.folder)
    members = [Member(build_role(member), weight) for member, weight in seats]
    return Panel(members, spec.settings.accept_threshold)


def _diffusers_generator(spec: RoleSpec) -> Generator:
    from itk_embodied.agents.generators.diffusers_generator import DiffusersGenerator

    return DiffusersGenerator.from_settings(spec.kind, spec.settings, spec.folder)


def _chat_planner(spec: RoleSpec) -> Planner:
    from itk_embodied.agents.remote.planner import ChatPlanner

    return ChatPlanner.from_settings(spec.settings, spec.folder)


def _chat_critic(spec: RoleSpec) -> Critic:
    from itk_embodied.agents.remote.critic import ChatCritic

    return ChatCritic.from_settings(spec.settings, spec.folder)


def _image_edit_generator(spec: RoleSpec) -> Generator:
    from itk_embodied.agents.remote.generator import ImageEditGenerator

    return ImageEditGenerator.from_settings(spec.settings)
