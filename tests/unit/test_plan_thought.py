"""What the planner thinks before it plans: everything a plan or a refusal hangs on stands there, and nothing else."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from tiny_pairs import pairs_folder

from itk_embodied.training.plan_thought import meaning
from itk_embodied.training.planner_text import drawn_task
from itk_embodied.training.shards import ShardSet
from itk_sim.planning import oracle_plan
from itk_sim.symbols import SceneState
from itk_sim.tasks import sample_task

IN = ("in", "red cube", "teal bowl")
ACROSS = {"red cube": 0.5, "green cube": 0.1, "blue cube": 0.9, "teal bowl": 0.3, "grey mat": 0.7, "drawer": 0.95}


def scene(**support: str) -> SceneState:
    """Three cubes, a bowl, a mat and a closed drawer; ``red="green cube"`` puts the red cube on the green one."""
    cubes = ("red cube", "green cube", "blue cube")
    return SceneState(
        cubes=cubes,
        bowls=("teal bowl",),
        mat="grey mat",
        drawer="closed",
        support={cube: support.get(cube.split()[0], "table") for cube in cubes},
        position_m={name: (0.4, u - 0.5, 0.02) for name, u in ACROSS.items()},
        pixel={name: (u, 0.5) for name, u in ACROSS.items()},
        visible=dict.fromkeys(ACROSS, 1.0),
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("move THE LEFTMOST cube", "leftmost<x03>green cube<x16>red cube<x28>blue cube;"),
        ("the cube farthest to the right goes in", "rightmost<x28>blue cube<x16>red cube<x03>green cube;"),
        ("put it to the left of the red cube", ""),
    ],
)
def test_cubes_are_told_from_the_side_that_is_named(text: str, told: str) -> None:
    assert meaning([IN], scene(), text) == f"goal {told}red cube<x16><y16>in teal bowl<x09><y16>"


def test_what_is_not_seen_is_not_told() -> None:
    state = scene()
    state = replace(state, visible={**state.visible, "green cube": 0.0})
    assert meaning([IN], state, "leftmost").startswith("goal leftmost<x16>red cube<x28>")
    assert meaning([("in", "green cube", "teal bowl")], state, "").startswith("goal green cube hidden in teal bowl<")


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("blue on the pad, the others in the bowl", "on grey mat blue cube,in teal bowl red cube,green cube"),
        ("into teal go red and green, on gray the blue one", "in teal bowl red cube,green cube,on grey mat blue cube"),
    ],
)
def test_a_sort_says_first_who_goes_where_in_the_order_of_the_text(text: str, first: str) -> None:
    intents = [("in", "red cube", "teal bowl"), ("in", "green cube", "teal bowl"), ("on", "blue cube", "grey mat")]
    told = meaning(intents, scene(), text)
    plain = re.sub(r"<x\d\d><y\d\d>", " ", told).replace(" ;", ";").strip()
    assert plain == f"goal sort {first};red cube in teal bowl;green cube in teal bowl;blue cube on grey mat"


def test_two_wishes_or_wishes_about_stacks_are_no_sort() -> None:
    two = [("in", "red cube", "teal bowl"), ("on", "blue cube", "grey mat")]
    assert "sort" not in meaning(two, scene(), "")
    assert "sort" not in meaning([*two, ("on", "green cube", "blue cube")], scene(), "")


@pytest.mark.parametrize(
    ("intent", "told"),
    [
        (("on", "red cube", "purple cube"), "red cube<x16><y16>on purple cube gone"),
        (("in", "white cube", "pink bowl"), "white cube gone in pink bowl gone"),
        (("in", "red cube", "blue cube"), "red cube<x16><y16>in blue cube<x28><y16>,none"),
        (("on", "teal bowl", "red cube"), "teal bowl<x09><y16>on red cube<x16><y16>,none"),
        (("on", "red cube", "red cube"), "red cube<x16><y16>on red cube<x16><y16>,none"),
        (("left_of", "red cube", "blue cube"), "red cube<x16><y16>left of blue cube<x28><y16>"),
        (("on", "red cube", "table"), "red cube<x16><y16>on table,done"),
        (("in", "green cube", "teal bowl"), "green cube<x03><y16> under red cube in teal bowl<x09><y16>"),
        (("on", "blue cube", "green cube"), "blue cube<x28><y16>on green cube<x03><y16> under red cube"),
        (("left_of", "blue cube", "green cube"), "blue cube<x28><y16>left of green cube<x03><y16>"),
        (
            ("swap", "green cube", "blue cube"),
            "swap green cube<x03><y16>on table under red cube,blue cube<x28><y16>on table",
        ),
    ],
)
def test_behind_a_wish_stands_what_it_hangs_on(intent: tuple[str, ...], told: str) -> None:
    state = scene(red="green cube") if "green cube" in intent else scene()
    assert meaning([intent], state, "") == f"goal {told}"


def test_a_drawer_that_is_not_there_cannot_be_opened() -> None:
    assert meaning([("open", "drawer")], replace(scene(), drawer=None), "") == "goal open drawer gone"
    assert meaning([("open", "drawer")], scene(), "") == "goal open drawer<x30><y16>"
    assert meaning([], scene(), "fetch a beer") == "goal none"


def test_every_task_can_be_read_off_its_thought() -> None:
    """Wishes alone lead to the oracle's plan; what cannot be done says so, or has no words."""
    shards, rng = ShardSet(pairs_folder()), np.random.default_rng(1)
    refused = 0
    for _ in range(200):
        state = shards[int(rng.integers(len(shards)))].before_state
        task = drawn_task(state, rng)
        told = meaning(task.intents, state, task.text)
        wishes = re.sub(r"goal |(leftmost|rightmost|sort )[^;]*;", "", told).split(";")
        impossible = told == "goal none" or any(re.search(r" gone\b|,none$", wish) for wish in wishes)
        assert impossible is not task.feasible, told
        refused += impossible and told != "goal none"
        if task.feasible:
            assert len(wishes) == len(task.intents) and oracle_plan(task.intents, state) == task.steps
    assert refused >= 5


def test_a_refusal_of_two_parts_tells_them_as_the_text_does() -> None:
    shards, rng = ShardSet(pairs_folder()), np.random.default_rng(9)
    two = 0
    for _ in range(1500):
        task = sample_task(shards[int(rng.integers(len(shards)))].before_state, rng, "impossible")
        first = [(intent[1].split()[0]) for intent in task.intents if len(intent) == 3]
        text = task.text.lower()
        if len(first) < 2 or len(set(first)) < 2 or re.search(r"\b(before|after|but first)\b", text):
            continue
        at = [text.find(colour) for colour in first]
        if -1 in at or any(text.count(colour) > 1 for colour in first):
            continue  # called otherwise, or more than once
        two += 1
        assert at == sorted(at), (task.text, task.intents)
    assert two >= 10
