"""What planner and critic may answer; reading gives a plan, a verdict or a ModelOutputError, never anything else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itk_embodied.agents import contracts
from itk_embodied.errors import ModelOutputError
from itk_embodied.types import PlanStep

STEP = {
    "step_number": 1,
    "step_name": "open",
    "instruction": "open the drawer",
    "prompt": "open the drawer; keep everything else unchanged",
    "auxiliary_text": None,
}
WORDS = {
    "step_number": 1,
    "step_name": "refuse",
    "instruction": None,
    "prompt": None,
    "auxiliary_text": "there is no banana",
}


def wrap(answer: object, thought: str = "I look.") -> str:
    return f"<think>{thought}</think><answer>{answer if isinstance(answer, str) else json.dumps(answer)}</answer>"


def plan_of(*steps: dict[str, Any]) -> str:
    return wrap({"execution_plan": list(steps)})


def test_a_plan_is_read_with_its_thought_and_raw_text() -> None:
    text = "\n" + plan_of(STEP, STEP | {"step_number": 2, "instruction": "put the red cube  in the drawer"}) + "\n"
    plan = contracts.parse_plan(text)
    assert [step.instruction for step in plan.steps] == ["open the drawer", "put the red cube in the drawer"]
    assert plan.thought == "I look." and plan.raw == text and len(plan.image_steps) == 2


def test_a_step_may_answer_in_words_only() -> None:
    plan = contracts.parse_plan(plan_of(WORDS))
    assert not plan.image_steps and plan.answer == "there is no banana"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"step_number": 2}, "step numbers"),
        ({"step_number": 0}, "step_number"),
        ({"step_number": True}, "bool"),
        ({"step_number": "1"}, "step_number"),
        ({"instruction": None}, "both"),
        ({"prompt": None}, "both"),
        ({"instruction": ""}, "length"),
        ({"prompt": " \n\t"}, "blank"),
        ({"prompt": "\u0000\u0007"}, "blank"),
        ({"step_name": ""}, "length"),
        ({"auxiliary_text": ""}, "length"),
        ({"instruction": "Step 1: open the drawer"}, "prefix"),
        ({"prompt": "**Step 3** - open the drawer"}, "prefix"),
        ({"prompt": "(2) open the drawer"}, "prefix"),
        ({"instruction": "1. open the drawer"}, "prefix"),
        ({"instruction": "x" * 1001}, "length"),
        ({"prompt": "x" * 4001}, "length"),
        ({"step_name": 7}, "str"),
        ({"surprise": 1}, "surprise"),
        ({"prompt": "\ud800"}, "surrogate"),
    ],
)
def test_a_step_that_breaks_a_rule_is_refused(change: dict[str, Any], says: str) -> None:
    text = plan_of(STEP | change)
    with pytest.raises(ModelOutputError, match=says) as caught:
        contracts.parse_plan(text)
    assert caught.value.raw == text and "\n" not in str(caught.value)


@pytest.mark.parametrize("instruction", ["step back from the table", "put 2 cubes in the bowl", "2x4 block: lift it"])
def test_harmless_numbers_are_no_step_prefix(instruction: str) -> None:
    assert contracts.parse_plan(plan_of(STEP | {"instruction": instruction})).steps[0].instruction == instruction


@pytest.mark.parametrize(
    "text",
    [
        "",
        "put the cube in the bowl",
        json.dumps({"execution_plan": [STEP]}),
        "<answer>" + json.dumps({"execution_plan": [STEP]}) + "</answer>",
        plan_of(STEP) + " and more",
        "so: " + plan_of(STEP),
        plan_of(STEP).removesuffix("</answer>"),
        "<think></think><answer>",
        "<think></think></answer>",
        plan_of(),
        wrap("[]"),
        wrap("{}"),
        wrap("null"),
        wrap('{"execution_plan": NaN}'),
        wrap('{"execution_plan": [], "execution_plan": []}'),
        wrap("[" * 30_000),
        wrap("1" * 5_000),
        wrap("x" * 70_000),
        plan_of(*[STEP | {"step_number": n} for n in range(1, 26)]),
    ],
)
def test_what_is_no_plan_is_refused_with_its_raw_text(text: str) -> None:
    with pytest.raises(ModelOutputError) as caught:
        contracts.parse_plan(text)
    assert caught.value.raw == text


def test_a_verdict_is_read() -> None:
    raw = wrap('{"previous_step_success": false, "refine_prompt": "put it\nin the bowl"}', "it is beside the bowl")
    verdict = contracts.parse_verdict(raw, 0.25)
    assert (verdict.success, verdict.refine_prompt, verdict.score) == (False, "put it in the bowl", 0.25)
    assert verdict.reasoning == "it is beside the bowl" and verdict.raw == raw


@pytest.mark.parametrize(
    "answer",
    [
        {"previous_step_success": "true", "refine_prompt": "x"},
        {"previous_step_success": 1, "refine_prompt": "x"},
        {"previous_step_success": True},
        {"previous_step_success": True, "refine_prompt": None},
        {"previous_step_success": True, "refine_prompt": "  "},
        {"previous_step_success": True, "refine_prompt": "x", "extra": 0},
    ],
)
def test_a_malformed_verdict_is_refused(answer: dict[str, Any]) -> None:
    with pytest.raises(ModelOutputError):
        contracts.parse_verdict(wrap(answer), 0.5)


def test_a_score_outside_0_to_1_is_the_callers_mistake() -> None:
    for score in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="score"):
            contracts.parse_verdict(wrap({"previous_step_success": True, "refine_prompt": "x"}), score)


ANSWER_LIKE = st.one_of(
    st.text(max_size=300),
    st.text(max_size=200).map(wrap),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [*contracts.StepAnswer.__struct_fields__, "execution_plan", "previous_step_success", "x"]
                )
                | st.text(max_size=5),
                inner,
                max_size=6,
            )
        ),
        max_leaves=12,
    ).map(wrap),
    st.lists(
        st.fixed_dictionaries({name: st.sampled_from([None, "", "a", "Step 1: a", 1, 2]) for name in STEP}), max_size=3
    ).map(lambda steps: wrap({"execution_plan": steps})),
)


@given(ANSWER_LIKE)
@settings(max_examples=400, deadline=None)
def test_reading_arbitrary_text_never_raises_anything_else(text: str) -> None:
    for parse in (contracts.parse_plan, lambda t: contracts.parse_verdict(t, 0.5)):
        try:
            parse(text)
        except ModelOutputError as error:
            assert error.raw == text


LINES = (
    st.text(st.characters(exclude_categories=["C"]), min_size=1, max_size=60)
    .map(contracts.clean_text)
    .filter(lambda line: line and not contracts._STEP_PREFIX.match(line))
)


@given(
    st.lists(st.tuples(LINES, st.none() | st.tuples(LINES, LINES), LINES), min_size=1, max_size=4),
    LINES.filter(lambda line: "</think>" not in line),
)
@settings(max_examples=100, deadline=None)
def test_what_is_written_is_read_back_the_same(rows: list[Any], thought: str) -> None:
    steps = tuple(
        PlanStep(number, name, *(paints or (None, None)), auxiliary_text=words)
        for number, (name, paints, words) in enumerate(rows, start=1)
    )
    plan = contracts.parse_plan(contracts.format_plan(steps, thought))
    assert plan.steps == steps and plan.thought == thought


def test_writing_what_breaks_the_contract_is_refused() -> None:
    with pytest.raises(ModelOutputError):
        contracts.format_plan([PlanStep(2, "a", "b", "c")])
    with pytest.raises(ModelOutputError):
        contracts.format_verdict(True, "")


def test_schemas_are_self_contained_and_closed() -> None:
    for schema in (contracts.plan_schema(3), contracts.verdict_schema(), contracts.portable_plan_schema()):
        text = json.dumps(schema)
        assert "$ref" not in text and schema["additionalProperties"] is False
    steps = contracts.plan_schema(3)["properties"]["execution_plan"]["prefixItems"]
    assert [item["anyOf"][0]["properties"]["step_number"]["const"] for item in steps] == [1, 2, 3]
    assert list(steps[0]["anyOf"][0]["properties"]) == list(STEP)
