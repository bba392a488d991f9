"""Predicates, symbolic effects and the oracle's plans."""

from __future__ import annotations

from dataclasses import replace

import pytest
from task_scenes import random_state, state_of

from itk_sim.errors import SimError
from itk_sim.language import instruction, parse_instruction
from itk_sim.planning import apply, covers, in_plan_order, oracle_plan, plan_achieves
from itk_sim.predicates import disturbed, holds
from itk_sim.scene import SceneSpec
from itk_sim.symbols import CUBES, SceneState

PLAIN = SceneSpec(seed=5, cubes=("red", "green", "blue"), bowls=("teal",), mat="grey", drawer=False, stacked=False)
WITH_DRAWER = replace(PLAIN, mat=None, drawer=True, drawer_open=False)


def moved(state: SceneState, name: str, to: tuple[float, float, float], on: str = "table") -> SceneState:
    return replace(state, position_m={**state.position_m, name: to}, support={**state.support, name: on})


def after(state: SceneState, *texts: str) -> SceneState:
    for text in texts:
        state = apply(parse_instruction(text), state)
    return state


def plan(state: SceneState, *intents: tuple[str, ...]) -> list[str]:
    return [instruction(step) for step in oracle_plan(intents, state)]


@pytest.mark.parametrize(
    ("relation", "offset", "true"),
    [
        ("left_of", (0.0, -0.09), True), ("left_of", (0.0, 0.09), False), ("left_of", (0.0, -0.02), False),
        ("left_of", (0.10, -0.09), False), ("left_of", (0.05, -0.09), True), ("left_of", (0.0, -0.30), False),
        ("right_of", (0.0, 0.09), True), ("in_front_of", (0.09, 0.0), True), ("in_front_of", (-0.09, 0.0), False),
        ("behind", (-0.09, 0.03), True), ("behind", (-0.03, 0.09), False),
    ],
)  # fmt: skip
def test_directions_are_the_front_camera_s(relation: str, offset: tuple[float, float], true: bool) -> None:
    state = state_of(PLAIN)
    x, y, z = state.position_m["green cube"]
    state = moved(state, "red cube", (x + offset[0], y + offset[1], z))
    assert holds((relation, "red cube", "green cube"), state) is true


def test_in_on_table_and_mat() -> None:
    state = state_of(PLAIN)
    bx, by, _ = state.position_m["teal bowl"]
    gx, gy, gz = state.position_m["green cube"]
    mx, my, _ = state.position_m["grey mat"]
    assert holds(("on", "red cube", "table"), state)
    inside = moved(state, "red cube", (bx + 0.02, by, 0.03), "teal bowl")
    assert holds(("in", "red cube", "teal bowl"), inside) and not holds(("on", "red cube", "table"), inside)
    assert not holds(("in", "red cube", "teal bowl"), moved(state, "red cube", (bx + 0.02, by, 0.12)))
    assert not holds(("in", "red cube", "teal bowl"), moved(state, "red cube", (bx + 0.09, by, 0.02)))
    stacked = moved(state, "red cube", (gx + 0.01, gy, gz + 0.04), "green cube")
    assert holds(("on", "red cube", "green cube"), stacked) and not holds(("on", "red cube", "table"), stacked)
    assert not holds(("on", "red cube", "green cube"), moved(state, "red cube", (gx + 0.03, gy, gz + 0.04)))
    on_mat = moved(state, "red cube", (mx + 0.04, my - 0.04, 0.02), "grey mat")
    assert holds(("on", "red cube", "grey mat"), on_mat) and not holds(("on", "red cube", "table"), on_mat)
    assert not holds(("on", "purple cube", "table"), state)
    for bad in (("near", "red cube", "green cube"), ("in", "red cube", "green cube"), ("open", "red cube"), ()):
        with pytest.raises(SimError, match=r"allowed|takes"):
            holds(bad, state)


def test_a_moved_bystander_is_disturbed_and_riders_are_not() -> None:
    state = state_of(PLAIN)
    x, y, z = state.position_m["blue cube"]
    bumped = moved(state, "blue cube", (x + 0.02, y, z))
    assert disturbed(state, bumped, {"red cube"}) == ("blue cube",)
    assert disturbed(state, bumped, {"blue cube"}) == ()
    assert disturbed(state, moved(state, "blue cube", (x + 0.008, y, z)), set()) == ()
    is_open = after(state_of(WITH_DRAWER), "open the drawer", "put the red cube in the drawer")
    closed = after(is_open, "close the drawer")
    assert disturbed(is_open, closed, {"drawer"}) == ()
    assert disturbed(is_open, closed, set()) == ("drawer",)


def test_preconditions() -> None:
    state, shut = state_of(PLAIN), state_of(WITH_DRAWER)
    stacked = after(state, "stack the red cube on the green cube")
    for scene, text, why in (
        (stacked, "put the green cube in the teal bowl", "red cube is on the green cube"),
        (stacked, "stack the blue cube on the green cube", "red cube is on the green cube"),
        (shut, "put the red cube in the drawer", "drawer is closed"),
        (state, "open the drawer", "no drawer"),
        (state, "put the purple cube in the teal bowl", "no purple cube"),
        (state, "put the red cube in the pink bowl", "no pink bowl"),
        (after(shut, "open the drawer", "put the red cube in the drawer", "close the drawer"),
         "put the red cube on the table", "in the closed drawer"),
    ):  # fmt: skip
        with pytest.raises(SimError, match=why):
            after(scene, text)
        assert not plan_achieves([parse_instruction(text)], scene, [])


def test_apply_leaves_everything_else_alone() -> None:
    state = state_of(PLAIN)
    end = after(state, "put the red cube in the teal bowl")
    assert end.support["red cube"] == "teal bowl" and state.support["red cube"] == "table"
    assert disturbed(state, end, {"red cube"}) == ()
    assert end.cell("red cube") != state.cell("red cube")


def test_covered_cubes_and_targets_are_freed_first() -> None:
    tower = after(state_of(PLAIN), "stack the green cube on the red cube", "stack the blue cube on the green cube")
    assert covers("red cube", tower) == ("blue cube", "green cube")
    assert plan(tower, ("in", "red cube", "teal bowl")) == [
        "put the blue cube on the table", "put the green cube on the table", "put the red cube in the teal bowl",
    ]  # fmt: skip
    assert plan(tower, ("on", "blue cube", "red cube")) == [
        "put the blue cube on the table", "put the green cube on the table", "stack the blue cube on the red cube",
    ]  # fmt: skip
    assert plan(tower, ("in", "blue cube", "teal bowl")) == ["put the blue cube in the teal bowl"]
    assert plan(tower, ("on", "blue cube", "green cube")) == []


def test_every_cube_takes_what_is_on_top_first() -> None:
    state = after(state_of(PLAIN), "stack the blue cube on the red cube")
    order = in_plan_order(state.cubes, state)
    assert order == ("blue cube", "red cube", "green cube")
    said = plan(state, *(("in", cube, "teal bowl") for cube in order))
    assert said == [f"put the {cube} in the teal bowl" for cube in order]
    plain = state_of(PLAIN)
    assert in_plan_order(plain.cubes, plain) == tuple(cube for cube in CUBES if cube in plain.cubes)


def test_the_drawer_is_left_as_found() -> None:
    shut = state_of(WITH_DRAWER)
    put = ("in", "red cube", "drawer")
    in_it = ["open the drawer", "put the red cube in the drawer", "close the drawer"]
    assert plan(shut, put) == in_it
    assert plan(shut, ("open", "drawer"), put, ("closed", "drawer")) == in_it
    assert plan(shut, ("open", "drawer"), put) == in_it[:2]
    assert plan(after(shut, "open the drawer"), put) == in_it[1:2]
    assert plan(after(shut, "open the drawer"), put, ("closed", "drawer")) == in_it[1:]
    both = plan(shut, put, ("in", "blue cube", "drawer"))
    assert both == [*in_it[:2], "put the blue cube in the drawer", "close the drawer"]
    then = plan(shut, put, ("in", "blue cube", "teal bowl"))
    assert then == [*in_it, "put the blue cube in the teal bowl"]
    filled = after(shut, *in_it)
    assert plan(filled, ("in", "red cube", "teal bowl")) == [
        "open the drawer", "put the red cube in the teal bowl", "close the drawer",
    ]  # fmt: skip


def test_swap() -> None:
    state = state_of(replace(PLAIN, seed=6))
    red, blue = state.cell("red cube"), state.cell("blue cube")
    assert plan(state, ("swap", "red cube", "blue cube")) == [
        "put the red cube on the table",
        f"put the blue cube at <x{red[0]:02d}> <y{red[1]:02d}>",
        f"put the red cube at <x{blue[0]:02d}> <y{blue[1]:02d}>",
    ]
    end = after(state, *plan(state, ("swap", "red cube", "blue cube")))
    for cube, cell in (("red cube", blue), ("blue cube", red)):
        assert max(abs(a - b) for a, b in zip(end.cell(cube), cell, strict=True)) <= 1
    held = after(state, "put the blue cube in the teal bowl", "stack the green cube on the red cube")
    assert plan(held, ("swap", "red cube", "blue cube")) == [
        "put the green cube on the table", "put the red cube on the table",
        f"put the blue cube at <x{red[0]:02d}> <y{red[1]:02d}>", "put the red cube in the teal bowl",
    ]  # fmt: skip
    pair = after(state, "stack the green cube on the red cube")
    assert plan(pair, ("swap", "red cube", "green cube")) == [
        "put the green cube on the table", "stack the red cube on the green cube",
    ]  # fmt: skip


def test_no_room_is_an_error_not_a_wrong_plan() -> None:
    state = random_state(3, drawer=True, min_cubes=4, drawer_open=True, stacked=False)
    three = [("in", cube, "drawer") for cube in state.cubes[:3]]
    assert len(oracle_plan(three[:2], state)) == 2
    with pytest.raises(SimError, match="no room"):
        oracle_plan(three, state)
