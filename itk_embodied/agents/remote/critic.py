"""The critic behind an OpenAI-compatible vision endpoint."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from itk_embodied.agents.base import CallContext
from itk_embodied.agents.contracts import parse_verdict, portable_verdict_schema, verdict_from_json
from itk_embodied.agents.prompts import CRITIC_PLACEHOLDERS, PromptTemplate, load_prompt
from itk_embodied.agents.remote.chat import ask, boolean_score
from itk_embodied.agents.remote.endpoint import Endpoint
from itk_embodied.agents.settings import ChatCriticSettings
from itk_embodied.types import Image, Verdict

BOOLEAN_KEY = "previous_step_success"


class ChatCritic:
    """See `itk_embodied.agents.base.Critic`. Without token probabilities from the server the score is 1 or 0."""

    remote = True  # the models are somebody else's: nothing to warm up here

    def __init__(self, endpoint: Endpoint, prompt: PromptTemplate, settings: ChatCriticSettings) -> None:
        self.name = f"openai:{settings.model}@{endpoint.address}"
        self.prompt_hash = prompt.prompt_hash
        self._endpoint, self._prompt, self._settings = endpoint, prompt, settings
        self._schema = ("verdict", portable_verdict_schema())

    @classmethod
    def from_settings(cls, settings: ChatCriticSettings, folder: Path | None = None) -> ChatCritic:
        """Read prompt and key; contacts nobody yet. Raises ConfigError."""
        prompt = load_prompt(settings.prompt or "critic", CRITIC_PLACEHOLDERS, folder)
        return cls(Endpoint(settings), prompt, settings)

    def judge(self, before: Image, after: Image, instruction: str, prompt: str, context: CallContext) -> Verdict:
        settings = self._settings
        messages = self._prompt.fill(instruction=instruction, prompt=prompt)
        images = [before, after]
        answer = ask(self._endpoint, settings, messages, images, self._schema, context, logprobs=settings.logprobs)
        if answer.bare_json:
            verdict = verdict_from_json(answer.text, 0.0, thought=answer.thought, raw=answer.text)
        else:
            verdict = parse_verdict(answer.text, 0.0)
        score = boolean_score(answer, BOOLEAN_KEY)
        if score is None:
            score = 1.0 if verdict.success else 0.0
        return replace(verdict, score=score, success=verdict.success and score >= settings.accept_threshold)
