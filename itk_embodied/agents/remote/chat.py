"""One question with pictures to ``/chat/completions``, and what the answer says."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from itk_embodied.agents.base import CallContext
from itk_embodied.agents.pictures import fit_longest_side
from itk_embodied.agents.remote.endpoint import Endpoint
from itk_embodied.agents.settings import ChatSettings
from itk_embodied.errors import ModelOutputError
from itk_embodied.images import png_data_url
from itk_embodied.types import Image

TOP_LOGPROBS = 20


@dataclass(frozen=True)
class ChatAnswer:
    """What the model wrote.

    Attributes:
        text: the message; JSON alone where ``bare_json``, else with tags.
        thought: what a reasoning server split off; empty otherwise.
        logprobs: the server's list of tokens with their likeliest alternatives; empty where it gave none.
    """

    text: str
    thought: str
    bare_json: bool
    logprobs: tuple[Mapping[str, Any], ...] = ()


def ask(
    endpoint: Endpoint,
    settings: ChatSettings,
    messages: tuple[str, str],
    images: Sequence[Image],
    schema: tuple[str, Mapping[str, Any]],
    context: CallContext,
    *,
    logprobs: bool = False,
) -> ChatAnswer:
    """Send system and user text and the pictures; ``schema`` is a name and the JSON schema of the answer.

    Raises:
        ModelOutputError: the reply holds no text.
        TransportError, CancelledError, BudgetExceededError: as `Endpoint.post`.
    """
    system, user = messages
    parts: list[dict[str, Any]] = [
        {"type": "image_url", "image_url": {"url": png_data_url(fit_longest_side(image, settings.image_px))}}
        for image in images
    ]
    chat: list[dict[str, Any]] = [{"role": "user", "content": [*parts, {"type": "text", "text": user}]}]
    if system:
        chat.insert(0, {"role": "system", "content": system})
    body: dict[str, Any] = {
        "model": settings.model,
        "messages": chat,
        "temperature": settings.temperature,
        "seed": context.seed,
    }
    if settings.max_tokens:
        body["max_tokens"] = settings.max_tokens
    bare_json = settings.response_format == "json_schema"
    if bare_json:
        name, definition = schema
        described = {"name": name, "strict": True, "schema": definition}
        body["response_format"] = {"type": "json_schema", "json_schema": described}
    if logprobs:
        body |= {"logprobs": True, "top_logprobs": TOP_LOGPROBS}
    reply = endpoint.post("/chat/completions", context, body=body | dict(settings.extra_body))
    return _read(reply, bare_json)


def boolean_score(answer: ChatAnswer, key: str) -> float | None:
    """P(true) / (P(true) + P(false)) where the answer gives a boolean key its value; None if unknown."""
    marker, written, score = f'"{key}":', "", None
    for token in answer.logprobs:
        text = str(token.get("token", ""))
        if written.endswith(marker) and text.strip():
            score = _share(token)
        written += "".join(text.split())
    return score


def _share(token: Mapping[str, Any]) -> float | None:
    true = false = 0.0
    alternatives = token.get("top_logprobs") or [token]
    for other in alternatives if isinstance(alternatives, list) else []:
        word, log = str(other.get("token", "")).strip(), other.get("logprob")
        if not word or not isinstance(log, int | float) or math.isnan(log):
            continue
        chance = math.exp(min(0.0, log))
        true += chance if _spells(word, "true") else 0.0
        false += chance if _spells(word, "false") else 0.0
    return true / (true + false) if true + false > 0 else None


def _spells(word: str, value: str) -> bool:
    return value.startswith(word) or word.startswith(value)


def _read(reply: Any, bare_json: bool) -> ChatAnswer:
    try:
        choice = reply["choices"][0]
        message = choice["message"]
        text, refusal = message.get("content"), message.get("refusal")
        thought = message.get("reasoning_content") or message.get("reasoning") or ""
        tokens = (choice.get("logprobs") or {}).get("content") or ()
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise ModelOutputError("the endpoint's reply has no choices[0].message", str(reply)[:2000]) from error
    if isinstance(text, list):
        text = "".join(part.get("text", "") for part in text if isinstance(part, dict))
    if not isinstance(text, str) or not text.strip():
        raise ModelOutputError(f"the endpoint's model wrote nothing{_because(refusal)}", str(refusal or ""))
    thought = thought if isinstance(thought, str) else ""
    if thought and not bare_json and not text.lstrip().startswith("<think>"):
        text = f"<think>{thought}</think>{text}"
    kept = tuple(token for token in tokens if isinstance(token, dict)) if isinstance(tokens, list | tuple) else ()
    return ChatAnswer(text, thought, bare_json, kept)


def _because(refusal: object) -> str:
    return f": {' '.join(refusal.split())[:200]}" if isinstance(refusal, str) and refusal else ""
