"""Sampled tasks: every plan achieves its goal, what cannot be done has no plan, and splits do not leak."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from task_scenes import random_state

from itk_sim import tasks
from itk_sim.errors import SimError
from itk_sim.impossible import Refusal, absent
from itk_sim.language import instruction
from itk_sim.planning import hidden, plan_achieves
from itk_sim.predicates import holds
from itk_sim.splits import (
    HELD_OUT_SCENE_SEEDS,
    TRAIN_SCENE_SEEDS,
    combination_split,
    is_train_step,
    scene_part,
    scene_seed,
)
from itk_sim.symbols import BOWLS, CUBES, DIRECTIONS, DRAWER, MATS
from itk_sim.tasks import FAMILIES, IMPOSSIBLE, MAX_STEPS, sample_task

WISHES = {
    "put_on": {"mat": True}, "unstack": {"stacked": True}, "covered": {"stacked": True, "min_bowls": 1},
    "open_drawer": {"drawer": True, "drawer_open": False}, "close_drawer": {"drawer": True, "drawer_open": True},
    "put_in_drawer": {"drawer": True}, "take_out_of_drawer": {"drawer": True, "stacked": True},
    "sort": {"min_bowls": 2, "drawer": False},
}  # fmt: skip


def plain(text: str) -> str:
    return " ".join(text.lower().strip(".?! ").split())


ORANGE_ON_MAT = ("orange cube", "on", "grey mat")


@given(st.integers(0, 10**6), st.sampled_from(["train", "wording"]))
@settings(max_examples=120, deadline=None)
def test_every_plan_achieves_its_goal(seed: int, split: str) -> None:
    state = random_state(seed)
    task = sample_task(state, np.random.default_rng(seed), split=split)
    assert task.text.strip() and "{" not in task.text and "|" not in task.text
    if not task.feasible:
        assert task.family == IMPOSSIBLE and task.refusal and not task.steps and not task.goal
        return
    assert not task.refusal and 0 < len(task.steps) <= MAX_STEPS
    assert plan_achieves(task.steps, state, task.goal)
    assert not all(holds(predicate, state) for predicate in task.goal)
    if task.family != "swap":  # "at" a cell is more than its goal can say
        assert not plan_achieves(task.steps[:-1], state, task.goal), "the last step is needed"
    assert all(is_train_step(step) for step in task.steps)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_can_be_drawn_in_many_words(family: str) -> None:
    rng = np.random.default_rng(3)
    texts: set[str] = set()
    drawn = 0
    for seed in range(400):
        state = random_state(seed, **{"min_bowls": 1, **WISHES.get(family, {})})
        try:
            task = sample_task(state, rng, family)
        except SimError as error:
            assert family in str(error) and "\n" not in str(error)
            continue
        assert task.family == family
        texts.add(plain(task.text))
        drawn += 1
        if drawn == 25:
            break
    assert drawn == 25
    assert len(texts) >= 21


@pytest.fixture(scope="module")
def many() -> dict[str, list[tuple[str, str]]]:
    """(family, plain text) of many tasks of both wordings, from the same scenes."""
    found: dict[str, list[tuple[str, str]]] = {}
    for split in ("train", "wording"):
        rng = np.random.default_rng(11)
        found[split] = []
        for seed in range(45):
            state = random_state(seed, drawer=seed % 3 == 0, stacked=seed % 3 == 0 or None)
            for _ in range(10):
                task = sample_task(state, rng, split=split)
                found[split].append((task.family, plain(task.text)))
    return found


def test_train_and_held_out_wording_never_meet(many: dict[str, list[tuple[str, str]]]) -> None:
    train, wording = ({text for _, text in many[split]} for split in ("train", "wording"))
    assert len(train) > 400 and len(wording) > 400
    assert not train & wording


def test_all_families_turn_up_when_none_is_asked_for(many: dict[str, list[tuple[str, str]]]) -> None:
    counts = Counter(family for family, _ in many["train"])
    assert set(FAMILIES) <= set(counts)
    assert 0.04 < counts[IMPOSSIBLE] / len(many["train"]) < 0.2


def test_refusals_say_what_is_missing() -> None:
    rng = np.random.default_rng(5)
    reasons: Counter[str] = Counter()
    for seed in range(300):
        state = random_state(seed)
        task = sample_task(state, rng, IMPOSSIBLE)
        reasons[task.refusal.split(" ")[0]] += 1
        for name in (*CUBES, *BOWLS, *MATS, DRAWER):
            if task.refusal == absent(name):
                assert name not in state.names
                assert name.split()[0] in task.text.lower() or name in (*MATS, DRAWER)
    assert set(reasons) == {"There", "I", "A", "That"}


def test_a_shut_in_cube_is_only_meant_where_the_drawer_is_named() -> None:
    rng = np.random.default_rng(6)
    checked = 0
    for seed in range(1500):
        state = random_state(seed, drawer=True, drawer_open=False, stacked=True)
        shut = [cube for cube in state.cubes if hidden(cube, state)]
        if not shut:
            continue
        task = sample_task(state, rng)
        if any(step.obj in shut for step in task.steps):
            assert task.family == "take_out_of_drawer"
            assert "drawer" in task.text.lower() or "cabinet" in task.text.lower()
            assert instruction(task.steps[0]) == "open the drawer"
            checked += 1
        if checked == 5:
            return
    pytest.fail("too few such tasks were drawn")


def test_same_generator_same_task() -> None:
    state = random_state(9)
    one, two = (sample_task(state, np.random.default_rng(4)) for _ in range(2))
    assert one == two and one.id == two.id


def test_unknown_names_are_refused() -> None:
    state, rng = random_state(1), np.random.default_rng(0)
    for wrong in ({"family": "juggle"}, {"split": "test"}, {"combinations": "some"}):
        with pytest.raises(SimError, match="allowed"):
            sample_task(state, rng, **wrong)


# --- splits ---


def combinations() -> list[tuple[str, str, str]]:
    every = [(cube, "in", target) for cube in CUBES for target in (*BOWLS, DRAWER)]
    every += [(cube, "on", target) for cube in CUBES for target in (*MATS, *CUBES) if target != cube]
    return every + [(c, d, t) for c in CUBES for d in DIRECTIONS for t in (*CUBES, *BOWLS, *MATS) if t != c]


def test_combination_split_covers_everything_in_both_parts() -> None:
    parts = {part: [c for c in combinations() if combination_split(*c) == part] for part in ("train", "held-out")}
    assert 0.1 < len(parts["held-out"]) / len(combinations()) < 0.15
    for part in parts.values():
        assert {c[0] for c in part} == set(CUBES)
        assert {c[1] for c in part} == {"in", "on", *DIRECTIONS}
        assert {c[2] for c in part} == {*CUBES, *BOWLS, *MATS, DRAWER}
    assert combination_split("red cube", "in", "white bowl") == "held-out", "the split is fixed: models depend on it"
    assert combination_split("red cube", "in", "teal bowl") == "train"
    assert combination_split("red cube", "on", "table") == "train"


def test_held_out_combinations_are_drawn_on_request() -> None:
    rng = np.random.default_rng(8)
    found = 0
    for seed in range(120):
        try:
            task = sample_task(random_state(seed, min_bowls=2), rng, "put_in", combinations="held-out")
        except SimError:
            continue
        assert any(not is_train_step(step) for step in task.steps)
        found += 1
    assert found > 5


def test_training_refuses_nothing_that_names_a_held_out_combination(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else what is held out would be met in refusals alone, and refused."""
    real, made = tasks.refusal, []
    monkeypatch.setattr(tasks, "refusal", lambda draw: made.append(real(draw)) or made[-1])
    rng, kept, dropped = np.random.default_rng(5), [], 0
    for seed in range(1500):
        made.clear()
        try:
            sample_task(random_state(np.random.default_rng(seed)), rng, IMPOSSIBLE, combinations="train")
        except SimError:
            continue
        kept.append(made[-1])
        dropped += len(made) - 1
    parts = Counter(combination_split(*named) for refused in kept for named in refused.named)
    assert parts["train"] > 500 and not parts["held-out"]
    assert dropped > 20  # they do come up
    named = Refusal("no", lambda say: [say.place_clause("orange cube", "on", "grey mat")], named=(ORANGE_ON_MAT,))
    monkeypatch.setattr(tasks, "refusal", lambda draw: named)
    assert combination_split(*ORANGE_ON_MAT) == "held-out"
    with pytest.raises(SimError, match="draw another scene"):
        sample_task(random_state(rng), rng, IMPOSSIBLE, combinations="train")
    assert sample_task(random_state(rng), rng, IMPOSSIBLE, combinations="any").refusal == "no"


def test_scene_seeds() -> None:
    rng = np.random.default_rng(0)
    assert all(scene_part(scene_seed(rng, part)) == part for part in ("train", "held-out") for _ in range(50))
    assert HELD_OUT_SCENE_SEEDS[1] <= TRAIN_SCENE_SEEDS[0]
    assert scene_part(7) == "held-out"


def test_cubes_are_called_by_their_places_as_often_as_asked() -> None:
    def share(by_place: float) -> float:
        drawn = [
            sample_task(
                random_state(n, min_bowls=1, stacked=False), np.random.default_rng(n), "put_in", by_place=by_place
            )
            for n in range(150)
        ]
        return float(np.mean([any(word in task.text.lower() for word in ("most ", "farthest")) for task in drawn]))

    assert share(0.0) == 0 and share(1.0) > 0.05


def test_a_sort_goes_group_by_group_as_they_are_said() -> None:
    rng, swapped = np.random.default_rng(5), 0
    for seed in range(60):
        state = random_state(seed, min_bowls=2, drawer=False)
        if any(below in CUBES for below in state.support.values()):
            continue  # what is on top goes first
        try:
            task = sample_task(state, rng, "sort")
        except SimError:
            continue
        places = list(dict.fromkeys(intent[2] for intent in task.intents))
        assert [intent[2] for intent in task.intents] == sorted((i[2] for i in task.intents), key=places.index)
        for place in places:
            cubes = [intent[1] for intent in task.intents if intent[2] == place]
            assert cubes == [cube for cube in CUBES if cube in cubes]
        named = [task.text.lower().find(place.split()[0]) for place in places if place in BOWLS]
        assert named == sorted(named)
        swapped += [intent[1] for intent in task.intents] != [c for c in CUBES if c in {i[1] for i in task.intents}]
    assert swapped > 5
