"""A vision-language model behind an OpenAI-compatible endpoint as the judge, as in InterleaveThinker's paper."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from itk_embodied.agents.base import CallContext
from itk_embodied.agents.contracts import clean_text
from itk_embodied.agents.prompts import PromptTemplate, load_prompt
from itk_embodied.agents.remote.chat import ask
from itk_embodied.agents.remote.endpoint import Endpoint
from itk_embodied.agents.settings import ChatSettings
from itk_embodied.errors import ModelOutputError
from itk_embodied.training.judge.base import PARTS, Judgement, Subject
from itk_embodied.types import Image

PLACEHOLDERS = ("instruction",)
Score = Annotated[float, Meta(ge=0, le=10)]


class ChatJudgeSettings(ChatSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``judge = { kind = "openai", … }``: the settings of a chat endpoint. ``prompt``: ``judge`` unless given.

    ``tries``: how often an answer that cannot be read is asked for again, each time with another seed.
    """

    tries: Annotated[int, Meta(ge=1, le=10)] = 2


class JudgeAnswer(msgspec.Struct, frozen=True):
    """What the model must write; other keys are passed over."""

    reason: str
    right_change: Score
    nothing_else: Score
    natural: Score
    no_artefacts: Score


class ChatJudge:
    """See `itk_embodied.training.judge.base.Judge`. Safe to use from several threads."""

    def __init__(self, endpoint: Endpoint, prompt: PromptTemplate, settings: ChatJudgeSettings) -> None:
        self.name = f"openai:{settings.model}@{endpoint.address}"
        self.prompt_hash = prompt.prompt_hash
        self._endpoint, self._prompt, self._settings = endpoint, prompt, settings
        self._schema = ("scores", judge_schema())

    @classmethod
    def from_settings(cls, settings: ChatJudgeSettings, folder: Path | None = None) -> ChatJudge:
        """Read prompt and key; contacts nobody yet. Raises ConfigError."""
        prompt = load_prompt(settings.prompt or "judge", PLACEHOLDERS, folder)
        return cls(Endpoint(settings), prompt, settings)

    def judge(self, subject: Subject, image: Image, context: CallContext | None = None) -> Judgement:
        """Raises ModelOutputError after ``tries`` unreadable answers; TransportError as `Endpoint.post`."""
        context = context or CallContext()
        messages = self._prompt.fill(instruction=subject.instruction)
        for number in range(self._settings.tries):
            call = CallContext(context.seed + number, context.deadline_s, context.cancel)
            try:
                answer = ask(self._endpoint, self._settings, messages, [subject.before, image], self._schema, call)
                return read_scores(answer.text)
            except ModelOutputError as error:
                failure = error
        raise failure


def judge_schema() -> dict[str, object]:
    """JSON schema of the answer, in the plain subset that endpoints take."""
    numbers = {part: {"type": "integer"} for part in PARTS}
    properties = {"reason": {"type": "string"}, **numbers}
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def read_scores(text: str) -> Judgement:
    """Read a judge's answer: one JSON object, bare, fenced, or after a thought.

    Raises:
        ModelOutputError: there is no such object, or a score is missing or not in 0..10.
    """
    start, end = text.find("{", text.rfind("</think>") + 1), text.rfind("}")
    if start < 0 or end < start:
        raise ModelOutputError(f"the judge's answer has no JSON object: {clean_text(text)[:120]!r}", text)
    try:
        answer = msgspec.convert(json.loads(text[start : end + 1], strict=False), JudgeAnswer)
    except (ValueError, RecursionError, msgspec.MsgspecError) as error:
        raise ModelOutputError(
            f"the judge's answer breaks its contract: {clean_text(str(error))[:300]}", text
        ) from error
    reason = clean_text(answer.reason)
    scores = {part: float(getattr(answer, part)) for part in PARTS}
    return Judgement(**scores, reasons=(reason,) if reason else (), raw=text)
