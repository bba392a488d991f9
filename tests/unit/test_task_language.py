"""Canonical sentences go round; patterns read; free wording says what the step says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from task_scenes import random_state

from itk_sim import away_phrases, lexicon, phrases, task_phrases
from itk_sim.errors import SimError
from itk_sim.language import KEEP, check_step, grounded, instruction, parse_grounded, parse_instruction, word_step
from itk_sim.patterns import expand
from itk_sim.symbols import BOWLS, CUBES, DIRECTIONS, DRAWER, MATS, TABLE, Step


@st.composite
def steps(draw: st.DrawFn) -> Step:
    relation = draw(st.sampled_from(["open", "close", "in", "on", "at", *DIRECTIONS]))
    if relation in ("open", "close"):
        return Step(relation)
    obj = draw(st.sampled_from(CUBES))
    if relation == "at":
        return Step("place", obj, "at", cell=(draw(st.integers(0, 31)), draw(st.integers(0, 31))))
    others = [cube for cube in CUBES if cube != obj]
    targets = {"in": [*BOWLS, DRAWER], "on": [*MATS, TABLE, *others]}.get(relation, [*others, *BOWLS, *MATS])
    return Step("place", obj, relation, draw(st.sampled_from(targets)))


@given(steps())
def test_instruction_round_trip(step: Step) -> None:
    assert parse_instruction(instruction(step)) == step
    assert parse_instruction("  " + instruction(step).upper() + ". ") == step


@given(steps(), st.integers(0, 40))
@settings(max_examples=80, deadline=None)
def test_grounded_round_trip(step: Step, seed: int) -> None:
    state = random_state(seed, drawer=True, min_bowls=1, mat=True)
    named = {name for name in (step.obj, step.target, DRAWER if step.verb != "place" else None) if name} - {TABLE}
    if not named <= set(state.names):
        with pytest.raises(SimError, match="there is no"):
            grounded(step, state)
        return
    text = grounded(step, state)
    assert text.endswith(KEEP)
    assert parse_grounded(text) == (step, {name: state.cell(name) for name in named})
    assert parse_instruction(text) == step


def test_canonical_wording_is_the_contract() -> None:
    say = {
        "put the red cube in the teal bowl": Step("place", "red cube", "in", "teal bowl"),
        "put the red cube on the grey mat": Step("place", "red cube", "on", "grey mat"),
        "stack the red cube on the green cube": Step("place", "red cube", "on", "green cube"),
        "put the red cube on the table": Step("place", "red cube", "on", "table"),
        "put the red cube in the drawer": Step("place", "red cube", "in", "drawer"),
        "put the red cube to the left of the green cube": Step("place", "red cube", "left_of", "green cube"),
        "put the red cube in front of the grey mat": Step("place", "red cube", "in_front_of", "grey mat"),
        "put the red cube at <x12> <y07>": Step("place", "red cube", "at", cell=(12, 7)),
        "open the drawer": Step("open"),
        "close the drawer": Step("close"),
    }
    assert {text: instruction(step) for text, step in say.items()} == {text: text for text in say}


@pytest.mark.parametrize(
    "text",
    [
        "", "put the banana in the sink", "put the red cube in the green cube", "stack the red cube on the red cube",
        "stack the teal bowl on the red cube", "put the red cube on the green cube", "open the red cube",
        "put the red cube at <x40> <y07>", "put the red cube in the teal bowl and more", "put the red cube",
    ],
)  # fmt: skip
def test_not_canonical_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(SimError) as caught:
        parse_instruction(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "step",
    [
        Step("place", "teal bowl", "on", "red cube"), Step("place", "red cube", "in", "green cube"),
        Step("place", "red cube", "at"), Step("open", "red cube"), Step("place", "red cube", "on", "drawer"),
        Step("place", "red cube", "in", "teal bowl", (1, 2)),
    ],
)  # fmt: skip
def test_steps_that_cannot_be_said(step: Step) -> None:
    with pytest.raises(SimError):
        check_step(step)


def test_patterns() -> None:
    rng = np.random.default_rng(0)
    seen = {expand("(put|set) [it] {where} , now", rng, {"where": "(here)"}) for _ in range(60)}
    assert seen == {"put (here), now", "put it (here), now", "set (here), now", "set it (here), now"}
    assert expand("a (b (c|c)|b c) {x}", rng, {"x": lambda: "d"}) == "a b c d"
    for broken in ("(a|b", "a)", "[a", "{a b}", "{missing}"):
        with pytest.raises(SimError):
            expand(broken, rng, {})


def _tables() -> list[tuple[str, object, object]]:
    """Every (name, train patterns, wording patterns)."""
    found: list[tuple[str, object, object]] = []

    def walk(name: str, value: object) -> None:
        if isinstance(value, dict) and {"train", "wording"} <= set(value):
            found.append((name, value["train"], value["wording"]))
        elif isinstance(value, dict):
            for key, inner in value.items():
                walk(f"{name}.{key}", inner)

    for module in (lexicon, phrases, task_phrases, away_phrases):
        for name, value in vars(module).items():
            if name.isupper():
                walk(name, value)
    return found


def test_held_out_patterns_are_not_train_patterns() -> None:
    tables = _tables()
    assert len(tables) > 60
    rng = np.random.default_rng(0)
    for name, train, wording in tables:
        one, other = (
            {expand(part, rng, {"dst": "x"}) for _ in range(300)} if isinstance(part, str) else set(part)
            for part in (train, wording)
        )
        assert one and not one & other, name


@pytest.mark.parametrize(
    "step", [Step("place", "red cube", "in", "teal bowl"), Step("place", "red cube", "behind", "green cube")]
)
def test_free_wording_is_broad_and_names_what_it_is_about(step: Step) -> None:
    rng = np.random.default_rng(1)
    texts = {split: [word_step(step, rng, split).lower() for _ in range(1500)] for split in ("train", "wording")}
    target = "teal" if step.target == "teal bowl" else "green"
    for said in texts.values():
        assert len(set(said)) > 1200
        assert all("red" in text and target in text for text in said)
        assert all("{" not in text and "|" not in text and "  " not in text for text in said)
    words = [{" ".join(t.strip(".?! ").split()) for t in said} for said in texts.values()]
    assert not words[0] & words[1]


def test_same_seed_same_words() -> None:
    step = Step("place", "red cube", "left_of", "grey mat")
    assert word_step(step, np.random.default_rng(7)) == word_step(step, np.random.default_rng(7))
