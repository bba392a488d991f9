"""The critic on Qwen3-VL: pictures before and after, instruction and last prompt; a verdict with its probability."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from itk_embodied.agents.base import CallContext
from itk_embodied.agents.contracts import parse_verdict, verdict_schema
from itk_embodied.agents.prompts import CRITIC_PLACEHOLDERS, PromptTemplate, load_prompt
from itk_embodied.agents.qwen3vl.adapter import Qwen3VLAgentModel
from itk_embodied.agents.qwen3vl.looks import moved
from itk_embodied.agents.settings import Qwen3VLCriticSettings
from itk_embodied.errors import CheckpointError
from itk_embodied.types import Image, Verdict

BOOLEAN_KEY = "previous_step_success"
DEFAULT_ACCEPT_THRESHOLD = 0.5


class Qwen3VLCritic:
    """See `itk_embodied.agents.base.Critic`. Success: the model says true AND P(true) reaches ``accept_threshold``; of
    several looks, the surest says true and the mean P(true) reaches it."""

    def __init__(self, model: Qwen3VLAgentModel, prompt: PromptTemplate, settings: Qwen3VLCriticSettings) -> None:
        self.name = f"qwen3vl:{model.name}"
        self.prompt_hash = prompt.prompt_hash
        self.accept_threshold = _threshold(model, settings)
        self._model, self._prompt, self._settings = model, prompt, settings
        self._schema = verdict_schema()

    @classmethod
    def from_settings(cls, settings: Qwen3VLCriticSettings, folder: Path | None = None) -> Qwen3VLCritic:
        """Load prompt and checkpoint; relative paths start at ``folder``. Raises ConfigError, CheckpointError."""
        prompt = load_prompt(settings.prompt or "critic", CRITIC_PLACEHOLDERS, folder)
        return cls(Qwen3VLAgentModel.load(settings, folder), prompt, settings)

    def judge(self, before: Image, after: Image, instruction: str, prompt: str, context: CallContext) -> Verdict:
        messages = self._prompt.fill(instruction=instruction, prompt=prompt)
        first = self._look(0, before, after, messages, context)
        if first.success:
            return first
        looks = [first, *(self._look(i, before, after, messages, context) for i in range(1, self._settings.looks))]
        mean = sum(verdict.score for verdict in looks) / len(looks)
        surest = max(looks, key=lambda verdict: verdict.score)
        if surest.success and mean >= self.accept_threshold:
            return replace(surest, score=mean)
        return replace(first, score=mean)  # its prompt names places in the pictures as they are

    def _look(self, look: int, before: Image, after: Image, messages: tuple[str, str], context: CallContext) -> Verdict:
        pictures = [moved(before, look), moved(after, look)]
        answer = self._model.answer(messages, pictures, self._schema, self._settings, context, BOOLEAN_KEY)
        probability = answer.true_probability
        verdict = parse_verdict(answer.text, 0.0 if probability is None else probability)
        if probability is None:  # never came to the boolean in the form looked for, yet wrote a valid one
            verdict = replace(verdict, score=1.0 if verdict.success else 0.0)
        return replace(verdict, success=verdict.success and verdict.score >= self.accept_threshold)


def _threshold(model: Qwen3VLAgentModel, settings: Qwen3VLCriticSettings) -> float:
    if settings.accept_threshold is not None:
        return settings.accept_threshold
    noted = model.notes.get("accept_threshold", DEFAULT_ACCEPT_THRESHOLD)
    if isinstance(noted, bool) or not isinstance(noted, int | float) or not 0 <= noted <= 1:
        raise CheckpointError(f"accept_threshold in itk.json of {model.name} is {noted!r}; expected a number in 0..1.")
    return float(noted)
