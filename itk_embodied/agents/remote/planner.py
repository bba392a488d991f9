"""The planner behind an OpenAI-compatible vision endpoint."""

from __future__ import annotations

from pathlib import Path

from itk_embodied.agents.base import CallContext
from itk_embodied.agents.contracts import parse_plan, plan_from_json, portable_plan_schema
from itk_embodied.agents.prompts import PLANNER_PLACEHOLDERS, PromptTemplate, load_prompt
from itk_embodied.agents.remote.chat import ask
from itk_embodied.agents.remote.endpoint import Endpoint
from itk_embodied.agents.settings import ChatSettings
from itk_embodied.types import Image, Plan, Task


class ChatPlanner:
    """See `itk_embodied.agents.base.Planner`."""

    remote = True  # the models are somebody else's: nothing to warm up here

    def __init__(self, endpoint: Endpoint, prompt: PromptTemplate, settings: ChatSettings) -> None:
        self.name = f"openai:{settings.model}@{endpoint.address}"
        self.prompt_hash = prompt.prompt_hash
        self._endpoint, self._prompt, self._settings = endpoint, prompt, settings
        self._schema = ("plan", portable_plan_schema())

    @classmethod
    def from_settings(cls, settings: ChatSettings, folder: Path | None = None) -> ChatPlanner:
        """Read prompt and key; contacts nobody yet. Raises ConfigError."""
        prompt = load_prompt(settings.prompt or "planner", PLANNER_PLACEHOLDERS, folder)
        return cls(Endpoint(settings), prompt, settings)

    def plan(self, image: Image, task: Task, context: CallContext) -> Plan:
        messages = self._prompt.fill(task=task.text)
        answer = ask(self._endpoint, self._settings, messages, [image], self._schema, context)
        if answer.bare_json:
            return plan_from_json(answer.text, thought=answer.thought, raw=answer.text)
        return parse_plan(answer.text)
