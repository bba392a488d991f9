"""What planner and critic answer: one typed definition gives the validator, the JSON schema and the text to train on.

Both answer ``<think>…</think><answer>{json}</answer>``. Reading is strict: whatever a model writes becomes a `Plan`
or a `Verdict` that keeps every promise below, or a `ModelOutputError` with the raw text; never anything else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from itk_embodied.errors import ModelOutputError
from itk_embodied.types import Plan, PlanStep, Verdict

MAX_ANSWER_CHARS = 65_536
MAX_PLAN_STEPS = 24
MAX_NAME_CHARS = 120
MAX_INSTRUCTION_CHARS = 1_000
MAX_PROMPT_CHARS = 4_000

_Name = Annotated[str, Meta(min_length=1, max_length=MAX_NAME_CHARS)]
_Instruction = Annotated[str, Meta(min_length=1, max_length=MAX_INSTRUCTION_CHARS)]
_Prompt = Annotated[str, Meta(min_length=1, max_length=MAX_PROMPT_CHARS)]

# "Step 2: …", "**step 2** - …", "2. …", "(2) …": numbering belongs in step_number; a generator would paint it.
_STEP_PREFIX = re.compile(
    r"[\s*_#>(\[-]*(?:step\s*#?\d+[\s*_)\]]*[:.,)\-\u2013\u2014]|\d{1,2}[\s*_]*[.):\]]\s)", re.IGNORECASE
)
_CONTROL = dict.fromkeys([*range(32), *range(127, 160)], " ")


class StepAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One step as the planner writes it. ``instruction`` and ``prompt`` are both text, or both null (words only)."""

    step_number: Annotated[int, Meta(ge=1, le=MAX_PLAN_STEPS)]
    step_name: _Name
    instruction: _Instruction | None
    prompt: _Prompt | None
    auxiliary_text: _Prompt | None

    def __post_init__(self) -> None:
        if (self.instruction is None) != (self.prompt is None):
            raise ValueError("instruction and prompt must both be text or both be null")
        if self.instruction is None and self.auxiliary_text is None:
            raise ValueError("a step without instruction and prompt must say why in auxiliary_text")
        for name in ("step_name", "instruction", "prompt", "auxiliary_text"):
            value = getattr(self, name)
            if value is not None and not clean_text(value):
                raise ValueError(f"{name} is blank")
        for name in ("instruction", "prompt"):
            value = getattr(self, name)
            if value is not None and _STEP_PREFIX.match(value):
                raise ValueError(f'{name} starts with a step prefix such as "Step 1:"; write the action only')


class PlanAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The planner's answer: steps numbered 1, 2, 3 … in order."""

    execution_plan: Annotated[tuple[StepAnswer, ...], Meta(min_length=1, max_length=MAX_PLAN_STEPS)]

    def __post_init__(self) -> None:
        numbers = [step.step_number for step in self.execution_plan]
        if numbers != list(range(1, len(numbers) + 1)):
            raise ValueError(f"step numbers are {numbers}; they must be 1, 2, 3 … in order")


class VerdictAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The critic's answer. On success ``refine_prompt`` repeats the last prompt."""

    previous_step_success: bool
    refine_prompt: _Prompt

    def __post_init__(self) -> None:
        if not clean_text(self.refine_prompt):
            raise ValueError("refine_prompt is blank")


_A = TypeVar("_A", PlanAnswer, VerdictAnswer)


def clean_text(text: str) -> str:
    """One line of printable text: control characters become spaces, runs of white space one space."""
    return " ".join(text.translate(_CONTROL).split())


def parse_plan(text: str) -> Plan:
    """Read a planner's whole answer.

    Raises:
        ModelOutputError: it is not what the contract allows; ``raw`` is ``text``.
    """
    thought, answer = split_answer(text, "the planner's answer")
    return plan_from_json(answer, thought=thought, raw=text)


def parse_verdict(text: str, score: float) -> Verdict:
    """Read a critic's whole answer. ``score`` is its confidence in success, in 0..1.

    Raises:
        ModelOutputError: it is not what the contract allows; ``raw`` is ``text``.
    """
    thought, answer = split_answer(text, "the critic's answer")
    return verdict_from_json(answer, score, thought=thought, raw=text)


def plan_from_json(answer: str, *, thought: str = "", raw: str | None = None) -> Plan:
    """Read the JSON part alone, for endpoints that return it without tags. Raises as `parse_plan` does."""
    raw = answer if raw is None else raw
    decoded = _decode(answer, PlanAnswer, "the planner's answer", raw)
    steps = tuple(
        PlanStep(
            step.step_number,
            clean_text(step.step_name),
            _clean_optional(step.instruction),
            _clean_optional(step.prompt),
            _clean_optional(step.auxiliary_text),
        )
        for step in decoded.execution_plan
    )
    return Plan(steps, thought=thought.strip(), raw=raw)


def verdict_from_json(answer: str, score: float, *, thought: str = "", raw: str | None = None) -> Verdict:
    """Read the JSON part alone, for endpoints that return it without tags. Raises as `parse_verdict` does."""
    if not 0.0 <= score <= 1.0:
        raise ValueError(f"score is {score}; it must be in 0..1")
    raw = answer if raw is None else raw
    decoded = _decode(answer, VerdictAnswer, "the critic's answer", raw)
    return Verdict(decoded.previous_step_success, clean_text(decoded.refine_prompt), score, thought.strip(), raw)


def split_answer(text: str, what: str) -> tuple[str, str]:
    """The thought and the JSON text of ``<think>…</think><answer>…</answer>``; only white space may stand around."""
    if len(text) > MAX_ANSWER_CHARS:
        raise ModelOutputError(f"{what} has {len(text)} characters; at most {MAX_ANSWER_CHARS} are read", text)
    stripped = text.strip()
    thought, end_of_thought, rest = stripped.partition("</think>")
    rest = rest.strip()
    if not end_of_thought or not thought.startswith("<think>"):
        raise ModelOutputError(f"{what} does not begin with <think>…</think>: {_excerpt(text)}", text)
    if not rest.startswith("<answer>") or not rest.endswith("</answer>") or len(rest) < len("<answer></answer>"):
        raise ModelOutputError(f"{what} has no <answer>…</answer> after its thought: {_excerpt(text)}", text)
    return thought.removeprefix("<think>").strip(), rest.removeprefix("<answer>").removesuffix("</answer>")


def format_plan(plan: Plan | Sequence[PlanStep], thought: str | None = None) -> str:
    """The text that `parse_plan` reads back: what a planner is trained to write. JSON without spaces.

    Raises:
        ModelOutputError: the steps break the contract.
    """
    steps = plan.steps if isinstance(plan, Plan) else plan
    if thought is None:
        thought = plan.thought if isinstance(plan, Plan) else ""
    answer = {
        "execution_plan": [{name: getattr(step, name) for name in StepAnswer.__struct_fields__} for step in steps]
    }
    text = _format(answer, thought)
    parse_plan(text)
    return text


def format_verdict(success: bool, refine_prompt: str, thought: str = "") -> str:
    """The text that `parse_verdict` reads back: what a critic is trained to write. Raises as `format_plan` does."""
    text = _format({"previous_step_success": success, "refine_prompt": refine_prompt}, thought)
    parse_verdict(text, 0.5)
    return text


def plan_schema(max_steps: int = MAX_PLAN_STEPS) -> dict[str, Any]:
    """JSON schema of the planner's answer, self-contained (no ``$ref``).

    Tighter than what `msgspec.json.schema` alone can say, so that constrained decoding cannot break the rules across
    fields either: steps are numbered by position, and each paints (instruction and prompt) or says (auxiliary_text).
    """
    plain = msgspec.json.schema_components([StepAnswer])[1]["StepAnswer"]

    def item(number: int) -> dict[str, Any]:
        def variant(paints: bool) -> dict[str, Any]:
            text, null = {name: _text_of(spec) for name, spec in plain["properties"].items()}, {"type": "null"}
            properties = dict(text)
            properties["step_number"] = {"const": number}
            properties["instruction"] = text["instruction"] if paints else null
            properties["prompt"] = text["prompt"] if paints else null
            properties["auxiliary_text"] = (
                {"anyOf": [null, text["auxiliary_text"]]} if paints else text["auxiliary_text"]
            )
            return _object(properties)

        return {"anyOf": [variant(True), variant(False)]}

    count = min(max_steps, MAX_PLAN_STEPS)
    steps = {"type": "array", "minItems": 1, "maxItems": count, "items": False}
    return _object({"execution_plan": steps | {"prefixItems": [item(n) for n in range(1, count + 1)]}})


def verdict_schema() -> dict[str, Any]:
    """JSON schema of the critic's answer, self-contained (no ``$ref``)."""
    plain = msgspec.json.schema_components([VerdictAnswer])[1]["VerdictAnswer"]
    return _object(plain["properties"])


def portable_plan_schema() -> dict[str, Any]:
    """The planner's schema in the plain subset of JSON schema that endpoints take: the shape, no bounds."""
    plain = msgspec.json.schema_components([StepAnswer])[1]["StepAnswer"]
    return _without_bounds(_object({"execution_plan": {"type": "array", "items": _object(plain["properties"])}}))


def portable_verdict_schema() -> dict[str, Any]:
    """The critic's schema, likewise."""
    return _without_bounds(verdict_schema())


def _without_bounds(schema: Any) -> Any:
    if isinstance(schema, dict):
        bounds = {"minLength", "maxLength", "minimum", "maximum"}
        return {key: _without_bounds(value) for key, value in schema.items() if key not in bounds}
    return [_without_bounds(item) for item in schema] if isinstance(schema, list) else schema


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _text_of(spec: dict[str, Any]) -> dict[str, Any]:
    """The non-null branch of an optional field's schema."""
    return next((branch for branch in spec.get("anyOf", [spec]) if branch.get("type") != "null"), spec)


def _format(answer: dict[str, Any], thought: str) -> str:
    body = json.dumps(answer, ensure_ascii=False, separators=(",", ":"))
    return f"<think>{thought}</think><answer>{body}</answer>"


def _decode(answer: str, kind: type[_A], what: str, raw: str) -> _A:
    if len(answer) > MAX_ANSWER_CHARS:
        raise ModelOutputError(f"{what} has {len(answer)} characters; at most {MAX_ANSWER_CHARS} are read", raw)
    try:
        # strict=False: constrained decoding lets raw control characters through; clean_text removes them later.
        tree = json.loads(answer, strict=False, object_pairs_hook=_unique_keys, parse_constant=_no_constant)
        json.dumps(tree, ensure_ascii=False).encode()  # a lone surrogate could not be stored or sent later
        return msgspec.convert(tree, kind)
    except (ValueError, RecursionError, msgspec.MsgspecError) as error:
        raise ModelOutputError(f"{what} breaks its contract: {clean_text(str(error))[:300]}", raw) from error


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    tree = dict(pairs)
    if len(tree) != len(pairs):
        raise ValueError("an object has the same key twice")
    return tree


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _clean_optional(text: str | None) -> str | None:
    return None if text is None else clean_text(text)


def _excerpt(text: str) -> str:
    line = clean_text(text)
    return repr(line if len(line) <= 120 else line[:117] + "…")
