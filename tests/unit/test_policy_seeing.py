"""What the policy makes of pixels, on pictures painted here: no simulator, no rendering."""

from __future__ import annotations

import numpy as np
import pytest

from itk_sim.arm import Pose
from itk_sim.cameras import CameraInfo
from itk_sim.measures import COLOURS, FRONT_EYE_M, FRONT_TARGET_M
from itk_sim.policy.colours import WORK_PX, label_cubes, to_work_size
from itk_sim.policy.fitting import Evidence, placements
from itk_sim.policy.matching import ChangeKind, find_change
from itk_sim.policy.seeing import find_cubes
from itk_sim.policy.silhouettes import CubeSeen, SceneSeen, fill, paint
from itk_sim.symbols import CUBES, TABLE

WOOD = np.array([178, 138, 98], np.uint8)


@pytest.fixture(scope="module")
def camera() -> CameraInfo:
    eye, target = np.array(FRONT_EYE_M), np.array(FRONT_TARGET_M)
    forward = (target - eye) / np.linalg.norm(target - eye)
    right = np.cross(forward, [0, 0, 1])
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(forward, right), forward], 1)
    pose[:3, 3] = eye
    focal = WORK_PX / 2 / np.tan(np.deg2rad(42.0) / 2)
    intrinsics = np.array([[focal, 0, WORK_PX / 2], [0, focal, WORK_PX / 2], [0, 0, 1.0]])
    return CameraInfo("front", WORK_PX, WORK_PX, intrinsics, pose)


def cube(colour: str, x: float, y: float, z: float = 0.02, yaw: float = 0.2, support: str = TABLE) -> CubeSeen:
    return CubeSeen(f"{colour} cube", Pose(x, y, z, yaw), support)


def scene(*cubes: CubeSeen) -> SceneSeen:
    return SceneSeen({seen.name: seen for seen in cubes})


def picture(what: SceneSeen, camera: CameraInfo) -> np.ndarray:
    """Flat colours on wood."""
    palette = np.array([WOOD, *(np.array(COLOURS[name]) * 255 for name in CUBES)], np.uint8)
    return palette[paint(what, camera)]


def test_fill_covers_the_area_of_the_outline_without_bias() -> None:
    canvas = np.zeros((40, 40), np.uint8)
    fill(canvas, np.array([[10.2, 5.0], [20.2, 5.0], [20.2, 15.0], [10.2, 15.0]], np.float32), 1)
    rows, columns = np.nonzero(canvas)
    assert np.count_nonzero(canvas) == 100
    assert (columns.min(), columns.max(), rows.min(), rows.max()) == (10, 19, 5, 14)


@pytest.mark.parametrize("shade", [0.45, 1.0])
def test_every_cube_colour_is_told_apart_in_light_and_shade_and_wood_is_none(shade: float) -> None:
    for label, name in enumerate(CUBES, start=1):
        image = np.empty((32, 32, 3), np.uint8)
        image[:] = WOOD * shade
        image[8:20, 8:20] = np.array(COLOURS[name]) * 255 * shade
        labels = label_cubes(image)
        assert set(np.unique(labels)) == {0, label}, name
        assert np.count_nonzero(labels) == 144


def test_bowls_drawer_and_mat_are_no_cubes() -> None:
    for name in ("white bowl", "teal bowl", "pink bowl", "grey mat", "drawer"):
        image = np.empty((32, 32, 3), np.uint8)
        image[:] = np.array(COLOURS[name]) * 255
        assert not label_cubes(image).any(), name


def test_a_cube_is_placed_to_millimetres(camera: CameraInfo) -> None:
    for x, y, yaw in ((0.36, -0.2, 0.1), (0.5, 0.05, 0.6), (0.6, 0.25, -0.3)):
        labels = paint(scene(cube("blue", x, y, yaw=yaw)), camera)
        found = find_cubes(labels, SceneSeen(), camera).cubes["blue cube"]
        assert np.hypot(found.pose.x - x, found.pose.y - y) < 0.004
        assert found.support == TABLE


def test_a_stack_and_a_cube_behind_another_are_not_confused(camera: CameraInfo) -> None:
    stack = scene(cube("green", 0.48, 0.0), cube("red", 0.48, 0.0, 0.06, support="green cube"))
    behind = scene(cube("green", 0.48, 0.0), cube("red", 0.425, 0.0))
    seen = find_cubes(paint(stack, camera), SceneSeen(), camera)
    assert seen.cubes["red cube"].support == "green cube" and seen.covered("green cube")
    seen = find_cubes(paint(behind, camera), SceneSeen(), camera)
    assert seen.cubes["red cube"].support == TABLE and not seen.covered("green cube")


def test_a_tower_of_three_is_read_from_the_bottom(camera: CameraInfo) -> None:
    tower = scene(
        cube("red", 0.44, 0.06), cube("blue", 0.441, 0.06, 0.06, support="red cube"),
        cube("orange", 0.44, 0.061, 0.10, support="blue cube"),
    )  # fmt: skip
    seen = find_cubes(paint(tower, camera), SceneSeen(), camera).cubes
    assert [seen[f"{c} cube"].support for c in ("red", "blue", "orange")] == [TABLE, "red cube", "blue cube"]


def test_every_way_to_stand_is_judged_by_the_whole_picture(camera: CameraInfo) -> None:
    below = cube("yellow", 0.5, -0.1)
    labels = paint(scene(below, cube("purple", 0.5, -0.1, 0.06, support="yellow cube")), camera)
    evidence = Evidence.of("purple cube", labels)
    assert evidence is not None
    ways = placements(evidence, scene(below), camera)
    assert ways[0][0].support == "yellow cube" and ways[0][1] < ways[-1][1]


def _change(now: SceneSeen, then: SceneSeen, camera: CameraInfo, size: int = WORK_PX):
    import cv2

    frame, goal = picture(now, camera), picture(then, camera)
    if size != WORK_PX:
        goal = to_work_size(cv2.resize(goal, (size, size), interpolation=cv2.INTER_AREA))
    return find_change(find_cubes(label_cubes(frame), SceneSeen(), camera), frame, goal, camera)


START = (cube("red", 0.4, -0.15), cube("green", 0.5, 0.1), cube("blue", 0.56, -0.05))


@pytest.mark.parametrize("size", [256, 128])
def test_a_move_is_found_with_its_place(camera: CameraInfo, size: int) -> None:
    change = _change(scene(*START), scene(cube("red", 0.58, 0.2), *START[1:]), camera, size)
    assert change.kind is ChangeKind.MOVE and change.goal is not None and change.goal.name == "red cube"
    assert np.hypot(change.goal.pose.x - 0.58, change.goal.pose.y - 0.2) < 0.008


@pytest.mark.parametrize("size", [256, 128])
def test_stacking_is_one_move_though_two_cubes_look_different(camera: CameraInfo, size: int) -> None:
    then = scene(cube("red", 0.5, 0.1, 0.06, support="green cube"), *START[1:])
    change = _change(scene(*START), then, camera, size)
    assert change.kind is ChangeKind.MOVE and change.goal is not None
    assert (change.goal.name, change.goal.support) == ("red cube", "green cube")


@pytest.mark.parametrize("size", [256, 128])
def test_nothing_moved_is_no_change(camera: CameraInfo, size: int) -> None:
    assert _change(scene(*START), scene(*START), camera, size).kind is ChangeKind.NONE


def test_two_moves_at_once_are_refused(camera: CameraInfo) -> None:
    then = scene(cube("red", 0.58, 0.2), cube("green", 0.36, 0.0), START[2])
    change = _change(scene(*START), then, camera)
    assert change.kind is ChangeKind.UNCLEAR and "more than one" in change.reason


def test_a_cube_that_vanishes_or_appears_is_refused(camera: CameraInfo) -> None:
    gone = _change(scene(*START), scene(*START[1:]), camera)
    assert gone.kind is ChangeKind.UNCLEAR and "red cube" in gone.reason
    new = _change(scene(*START), scene(*START, cube("yellow", 0.45, 0.2)), camera)
    assert new.kind is ChangeKind.UNCLEAR and "yellow cube" in new.reason


@pytest.mark.parametrize("x", [0.36, 0.60])  # smaller and larger than the one that stays
def test_a_goal_with_two_of_the_same_cube_is_refused(camera: CameraInfo, x: float) -> None:
    frame = picture(scene(*START), camera)
    goal = frame.copy()
    twice = picture(scene(cube("red", x, 0.22)), camera)  # and the first one stays where it was
    goal[(twice != WOOD).any(2)] = twice[(twice != WOOD).any(2)]
    change = find_change(find_cubes(label_cubes(frame), SceneSeen(), camera), frame, goal, camera)
    assert change.kind is ChangeKind.UNCLEAR and "more than once" in change.reason


def test_a_covered_cube_is_not_pulled_out(camera: CameraInfo) -> None:
    now = scene(*START, cube("yellow", 0.4, -0.15, 0.06, support="red cube"))
    then = scene(cube("red", 0.58, 0.2), *START[1:], cube("yellow", 0.4, -0.15, 0.02))
    change = _change(now, then, camera)
    assert change.kind is ChangeKind.UNCLEAR
