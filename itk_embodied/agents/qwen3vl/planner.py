"""The planner on Qwen3-VL: one camera picture and the task, all steps up front."""

from __future__ import annotations

from pathlib import Path

from itk_embodied.agents.base import CallContext
from itk_embodied.agents.contracts import parse_plan, plan_schema
from itk_embodied.agents.prompts import PLANNER_PLACEHOLDERS, PromptTemplate, load_prompt
from itk_embodied.agents.qwen3vl.adapter import Qwen3VLAgentModel
from itk_embodied.agents.settings import Qwen3VLPlannerSettings
from itk_embodied.types import Image, Plan, Task


class Qwen3VLPlanner:
    """See `itk_embodied.agents.base.Planner`."""

    def __init__(self, model: Qwen3VLAgentModel, prompt: PromptTemplate, settings: Qwen3VLPlannerSettings) -> None:
        self.name = f"qwen3vl:{model.name}"
        self.prompt_hash = prompt.prompt_hash
        self._model, self._prompt, self._settings = model, prompt, settings
        self._schema = plan_schema(settings.max_steps)

    @classmethod
    def from_settings(cls, settings: Qwen3VLPlannerSettings, folder: Path | None = None) -> Qwen3VLPlanner:
        """Load prompt and checkpoint; relative paths start at ``folder``. Raises ConfigError, CheckpointError."""
        prompt = load_prompt(settings.prompt or "planner", PLANNER_PLACEHOLDERS, folder)
        return cls(Qwen3VLAgentModel.load(settings, folder), prompt, settings)

    def plan(self, image: Image, task: Task, context: CallContext) -> Plan:
        messages = self._prompt.fill(task=task.text)
        answer = self._model.answer(messages, [image], self._schema, self._settings, context)
        return parse_plan(answer.text)
