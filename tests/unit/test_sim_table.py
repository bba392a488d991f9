"""The simulated table: same spec, same pixels; ids, calibration and state agree with the picture; steps hold."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from itk_sim.errors import SimError
from itk_sim.goals import goal_image
from itk_sim.model import SEGMENT_IDS
from itk_sim.randomise import Randomisation
from itk_sim.scene import SceneSpec, sample_scene
from itk_sim.symbols import DRAWER, GRID, TABLE, Step
from itk_sim.table import Table
from itk_sim.teleport import cell_spot

PLAIN = SceneSpec(
    9, ("red", "green", "blue", "yellow", "orange"), ("white",), "grey", stacked=False, drawer_open=False,
    randomise=Randomisation(distractors=False),
)  # fmt: skip
WITH_DRAWER = SceneSpec(7, ("red", "green", "blue", "yellow"), ("teal",), None, True, drawer_open=False, stacked=False)


def place(cube: str, relation: str, target: str | None = None, cell: tuple[int, int] | None = None) -> Step:
    return Step("place", f"{cube} cube", relation, target, cell)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def table() -> Iterator[Table]:
    with Table() as made:
        yield made


def test_same_spec_same_state_and_pixels_whatever_came_between(table: Table) -> None:
    spec = sample_scene(np.random.default_rng(1), drawer=True, drawer_open=True, stacked=True)
    first, picture, ids = table.reset(spec), table.render(), table.segmentation()
    table.reset(PLAIN)
    table.teleport(place("red", "on", "grey mat"))
    again = table.reset(spec)
    assert again == first
    assert np.array_equal(table.render(), picture)
    assert np.array_equal(table.segmentation(), ids)
    with Table() as other:
        assert other.reset(spec) == first
        assert np.array_equal(other.render(), picture)


def test_other_seeds_look_different(table: Table) -> None:
    table.reset(SceneSpec(100, ("red", "blue"), stacked=False))
    one = table.render(size_px=64).astype(int)
    table.reset(SceneSpec(101, ("red", "blue"), stacked=False))
    assert np.abs(table.render(size_px=64).astype(int) - one).mean() > 2


def test_pictures_have_the_size_and_kind_promised(table: Table) -> None:
    table.reset(PLAIN)
    for camera in ("front", "wrist"):
        picture = table.render(camera, 96)
        assert picture.shape == (96, 96, 3)
        assert picture.dtype == np.uint8
        assert picture.std() > 5
        assert table.segmentation(camera, 96).dtype == np.uint8
    with pytest.raises(SimError, match="front, wrist"):
        table.render("top")
    with pytest.raises(SimError, match="640"):
        table.render("front", 4096)


def test_segmentation_shows_exactly_what_is_there(table: Table) -> None:
    state = table.reset(PLAIN)
    there = {SEGMENT_IDS[name] for name in state.names} | {0, SEGMENT_IDS["robot"]}
    assert set(np.unique(table.segmentation())) == there
    state = table.reset(WITH_DRAWER)
    ids = set(np.unique(table.segmentation()))
    assert {SEGMENT_IDS[name] for name in state.names} <= ids
    assert SEGMENT_IDS["grey mat"] not in ids


@pytest.mark.parametrize(("cube", "brightest"), [("red cube", 0), ("green cube", 1), ("blue cube", 2)])
def test_segmentation_agrees_with_the_colours(table: Table, cube: str, brightest: int) -> None:
    table.reset(SceneSpec(12, ("red", "green", "blue"), stacked=False, randomise=Randomisation.none()))
    inside = table.render()[table.segmentation() == SEGMENT_IDS[cube]].mean(0)
    assert np.argmax(inside) == brightest


def test_projection_meets_the_segmentation(table: Table) -> None:
    checked = 0
    for seed in range(200, 206):
        state = table.reset(SceneSpec(seed, ("red", "green", "blue", "purple"), stacked=False))
        ids, camera = table.segmentation(), table.camera("front", 256)
        for cube in state.cubes:
            if state.visible[cube] < 0.93:
                continue
            rows, columns = np.nonzero(ids == SEGMENT_IDS[cube])
            centroid = np.array([columns.mean(), rows.mean()]) + 0.5
            assert np.linalg.norm(camera.project(np.array(state.position_m[cube])) - centroid) < 1.5
            assert np.allclose(np.array(state.pixel[cube]) * 256, camera.project(np.array(state.position_m[cube])))
            checked += 1
    assert checked >= 12


def test_unproject_undoes_project(table: Table) -> None:
    state = table.reset(PLAIN)
    camera = table.camera("front", 128)
    points = np.array([state.position_m[cube] for cube in state.cubes])
    assert np.allclose(camera.unproject(camera.project(points), 0.02), points, atol=1e-3)
    assert np.allclose(camera.resized(256).project(points), 2 * camera.project(points))
    assert np.isnan(camera.project(np.array([3.0, 0, 0.62]))).all()


def test_left_and_front_are_as_the_front_camera_sees_them(table: Table) -> None:
    table.reset(PLAIN)
    camera = table.camera()
    (u0, v0), (u1, _), (_, v2) = camera.project(np.array([(0.45, 0, 0.02), (0.45, -0.1, 0.02), (0.55, 0, 0.02)]))
    assert u1 < u0
    assert v2 > v0


def test_wrist_camera_moves_with_the_hand(table: Table) -> None:
    table.reset(PLAIN)
    before = table.camera("wrist").world_from_camera.copy()
    table.data.qpos[table.index.arm_qpos[0]] += 0.3
    table.state(visible=False)
    from itk_sim.gl import mujoco

    mujoco.mj_forward(table.model, table.data)
    assert np.linalg.norm(table.camera("wrist").world_from_camera[:3, 3] - before[:3, 3]) > 0.05


def test_home_pose_stays_out_of_the_workspace_in_the_picture(table: Table) -> None:
    for seed in range(8):
        table.reset(SceneSpec(seed, ("red",), stacked=False))
        robot = np.nonzero(table.segmentation("front", 128) == SEGMENT_IDS["robot"])
        top = table.camera("front", 128).project(np.array([(0.34, y, 0.04) for y in (-0.28, 0.0, 0.28)]))[:, 1].min()
        assert robot[0].max() < top


def test_snapshot_brings_back_state_pixels_and_future(table: Table) -> None:
    table.reset(WITH_DRAWER)
    here, picture = table.snapshot(), table.render()
    table.step(50)
    future = table.data.qpos.copy()
    assert table.teleport(Step("open"))
    table.reset(PLAIN)
    table.restore(here)
    assert np.array_equal(table.render(), picture)
    table.step(50)
    assert np.array_equal(table.data.qpos, future)


def test_goal_image_leaves_the_table_as_it_was(table: Table) -> None:
    table.reset(PLAIN)
    before, picture = table.state(), table.render(size_px=128)
    goal = goal_image(table, place("red", "on", "grey mat"), size_px=128)
    assert goal is not None
    assert goal.shape == (128, 128, 3)
    assert np.abs(goal.astype(int) - picture).max() > 40
    assert table.state() == before
    assert np.array_equal(table.render(size_px=128), picture)
    assert goal_image(table, place("red", "in", "teal bowl")) is None


STORY = [
    (Step("open"), None),
    (place("red", "in", DRAWER), DRAWER),
    (place("blue", "in", DRAWER), DRAWER),
    (Step("close"), None),
    (Step("open"), None),
    (place("red", "in", "teal bowl"), "teal bowl"),
    (place("green", "in", "teal bowl"), "teal bowl"),
    (place("yellow", "in", "teal bowl"), "teal bowl"),
    (place("blue", "in", "teal bowl"), "teal bowl"),
    (place("red", "on", TABLE), TABLE),
]


def test_steps_hold_one_after_the_other(table: Table) -> None:
    table.reset(WITH_DRAWER)
    for step, support in STORY:
        assert table.teleport(step, np.random.default_rng(0)), step
        state = table.state()
        if support is None:
            assert state.drawer == ("open" if step.verb == "open" else "closed")
        else:
            assert state.support[step.obj] == support
        if step.verb == "close":
            assert state.visible["red cube"] == state.visible["blue cube"] == 0.0
            assert {state.support["red cube"], state.support["blue cube"]} == {DRAWER}


@pytest.mark.parametrize(
    ("relation", "axis", "sign"), [("left_of", 1, -1), ("right_of", 1, 1), ("in_front_of", 0, 1), ("behind", 0, -1)]
)
@pytest.mark.parametrize("target", ["green cube", "white bowl", "grey mat"])
def test_directions_put_the_cube_on_that_side(table: Table, relation: str, axis: int, sign: int, target: str) -> None:
    done = 0
    for seed in range(300, 308):
        spec = SceneSpec(seed, ("red", "green"), ("white",), "grey", stacked=False, drawer_open=False)
        table.reset(spec)
        if table.teleport(place("red", relation, target)):
            state = table.state(visible=False)
            offset = np.subtract(state.position_m["red cube"], state.position_m[target])
            assert sign * offset[axis] > 0.08
            assert abs(offset[1 - axis]) < 0.02
            assert state.support["red cube"] == TABLE or target != "grey mat"
            done += 1
    assert done >= 2


def test_stacks_and_what_they_forbid(table: Table) -> None:
    table.reset(PLAIN)
    assert table.teleport(place("red", "on", "green cube"))
    assert table.teleport(place("blue", "on", "red cube"))
    state = table.state(visible=False)
    assert state.on_top_of("green cube") == "red cube"
    assert state.on_top_of("red cube") == "blue cube"
    assert not table.teleport(place("green", "on", TABLE))
    assert not table.teleport(place("yellow", "on", "red cube"))
    assert not table.teleport(place("blue", "in", DRAWER))
    assert not table.teleport(Step("open"))
    assert table.teleport(place("blue", "on", TABLE))
    assert table.state(visible=False).support["blue cube"] == TABLE


def test_shut_drawer_gives_and_takes_nothing(table: Table) -> None:
    table.reset(WITH_DRAWER)
    assert not table.teleport(place("red", "in", DRAWER))
    assert table.teleport(Step("open"))
    assert table.teleport(place("red", "in", DRAWER))
    assert table.teleport(Step("close"))
    assert not table.teleport(place("red", "on", TABLE))


def test_at_a_cell_means_that_cell(table: Table) -> None:
    table.reset(SceneSpec(31, ("red", "blue"), stacked=False))
    done = 0
    for cell in ((16, 14), (16, 18), (22, 16), (8, 16), (20, 14), (12, 18)):
        here = table.snapshot()
        if table.teleport(place("blue", "at", None, cell)):
            assert table.state(visible=False).cell("blue cube") == cell
            done += 1
        table.restore(here)
    assert done >= 3
    x, y = cell_spot(table, (GRID // 2, GRID // 2))
    assert 0.34 < x < 0.62
    assert abs(y) < 0.05


def test_half_open_drawer_is_still_what_it_was(table: Table) -> None:
    table.reset(WITH_DRAWER)
    table.slide(0.06)
    assert table.state(visible=False).drawer == "closed"
    table.slide(0.12)
    assert table.state(visible=False).drawer == "open"
    table.slide(0.06)
    assert table.state(visible=False).drawer == "open"
    table.slide(0.0)
    assert table.state(visible=False).drawer == "closed"


def test_drawer_stays_where_it_is_left_and_carries_its_content(table: Table) -> None:
    table.reset(WITH_DRAWER)
    assert table.teleport(Step("open"))
    assert table.teleport(place("red", "in", DRAWER))
    dof = table.index.slide_dof
    table.slide(0.06)
    table.step(500)
    assert abs(table.slide_m - 0.06) < 2e-3
    table.data.qfrc_applied[dof] = -6.0  # a push on the handle, N
    table.step(600)
    table.data.qfrc_applied[dof] = 0.0
    table.settle()
    state = table.state()
    assert state.drawer == "closed"
    assert table.slide_m < 0.005
    assert state.support["red cube"] == DRAWER
    assert state.position_m["red cube"][2] < 0.04


def test_cube_dropped_off_the_table_rests_nowhere_a_step_would_leave_it(table: Table) -> None:
    from itk_sim.placing import Placement

    table.reset(PLAIN)
    table.put("red cube", Placement(0.5, 0.9, 0.1, 0.0))
    table.settle(2.0)
    assert table.state(visible=False).support["red cube"] == "elsewhere"


def test_absent_things_are_absent(table: Table) -> None:
    table.reset(SceneSpec(3, ("red",), stacked=False, drawer_open=False))
    before = table.data.qpos.copy()
    table.step(100)
    assert np.abs(table.data.qpos - before).max() < 1e-3
    state = table.state()
    assert state.names == ("red cube",)
    assert state.drawer is None


def test_closed_table_says_so() -> None:
    made = Table()
    made.reset(SceneSpec(3, ("red",)))
    made.close()
    with pytest.raises(SimError, match="closed"):
        made.render()
    with Table() as empty, pytest.raises(SimError, match="reset"):
        empty.state()


def test_two_cubes_can_change_places_by_cells(table: Table) -> None:
    done = 0
    for seed in range(400, 412):
        state = table.reset(SceneSpec(seed, ("red", "blue", "green"), ("teal",), stacked=False))
        steps = (
            place("red", "on", TABLE),
            place("blue", "at", None, state.cell("red cube")),
            place("red", "at", None, state.cell("blue cube")),
        )
        if all(table.teleport(step) for step in steps):
            after = table.state(visible=False)
            assert after.cell("red cube") == state.cell("blue cube")
            assert after.cell("blue cube") == state.cell("red cube")
            done += 1
    assert done >= 11
