"""The task topic, the freshness of frames, camera sources, and the executables' arguments."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted import gradient_image

from itk_embodied import ros
from itk_embodied.errors import ConfigError, InputError, MissingDependencyError
from itk_embodied.images import save_png
from itk_embodied.ros.pictures import compressed_message, image_message
from itk_nodes import camera_node, policy_node
from itk_nodes.frames import LatestFrame
from itk_nodes.requests import parse_request
from itk_nodes.runtime import split_arguments
from itk_nodes.sources import FileSource, open_source

S = 1_000_000_000
NOW = 1_700_000_000 * S


def test_a_sentence_and_json_mean_the_same() -> None:
    plain = parse_request("put the red cube in the bowl", seed=4)
    as_json = parse_request('{"task": "put the red cube in the bowl"}', seed=4)
    assert plain == as_json
    assert (plain.task.seed, plain.deadline_s, plain.max_attempts) == (4, None, None)
    full = parse_request(' {"task": "go", "deadline_s": 5, "max_attempts": 2, "seed": 9}', seed=4)
    assert (full.task.text, full.task.seed, full.deadline_s, full.max_attempts) == ("go", 9, 5.0, 2)


def test_json_may_bring_a_plan() -> None:
    request = parse_request('{"task": "go", "plan": ["open the drawer", "put it in"]}', seed=0)
    assert request.task.plan is not None
    assert [step.instruction for step in request.task.plan.image_steps] == ["open the drawer", "put it in"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"task": "go", "plan": "open the drawer"}', "must be a list of instructions"),
        ('{"task": "go", "plan": [1]}', "must be a list of instructions"),
        ('{"task": "go", "plan": []}', "has no step"),
        ('{"task": "go", "plan": ["open", ""]}', "step 2 of the plan has 0 characters"),
        ("", "the task is empty"),
        ("   ", "the task is empty"),
        ('{"task": ""}', "the task is empty"),
        ("{broken", "not .*send a sentence"),
        ("{}", "needs a sentence"),
        ('{"task": 5}', "needs a sentence"),
        ('{"task": "go", "deadline": 5}', "Did you mean 'deadline_s'"),
        ('{"task": "go", "deadline_s": 0}', "more than 0"),
        ('{"task": "go", "deadline_s": true}', "number of seconds"),
        ('{"task": "go", "deadline_s": NaN}', "number of seconds"),
        ('{"task": "go", "max_attempts": 0}', "from 1 to 100"),
        ('{"task": "go", "max_attempts": 2.5}', "whole number"),
        ('{"task": "go", "seed": -1}', "seed"),
        ("x" * 3000, "at most 2000"),
    ],
)
def test_malformed_requests_are_refused(text: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        parse_request(text, seed=0)


@given(st.text(max_size=60) | st.text(max_size=60).map(lambda t: "{" + t))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        assert parse_request(text, seed=0).task.text
    except InputError as error:
        assert str(error)


@pytest.fixture(autouse=True)
def _backend() -> None:
    ros.use_backend("inproc")


def shown(age_s: float) -> Any:
    return image_message(gradient_image(), NOW - round(age_s * S), "front")


def test_a_frame_is_fresh_old_or_from_the_future() -> None:
    latest = LatestFrame()
    with pytest.raises(InputError, match="no camera frame has come yet"):
        latest.fresh(NOW, 1.0)
    assert latest.age_s(NOW) is None
    latest.put_image(shown(1.5))
    with pytest.raises(InputError, match=r"1\.50 s old; at most 1 s"):
        latest.fresh(NOW, 1.0)
    latest.put_image(shown(0.25))
    frame, stamp_ns = latest.fresh(NOW, 1.0)
    assert (stamp_ns, frame.frame_id) == (NOW - S // 4, "front")
    np.testing.assert_array_equal(frame.image, gradient_image())
    latest.put_image(shown(-5))
    with pytest.raises(InputError, match="ahead of this machine's clock"):
        latest.fresh(NOW, 1.0)


def test_the_newest_stamp_wins_unless_the_clock_was_set_back() -> None:
    latest = LatestFrame()
    latest.put_image(shown(0.1))
    latest.put_compressed(compressed_message(b"junk", "png", NOW - S, "late"))
    assert latest.fresh(NOW, 1.0)[1] == NOW - S // 10
    latest.put_image(shown(3600))
    assert latest.age_s(NOW) == pytest.approx(3600)
    assert latest.count == 3


def test_a_damaged_frame_is_refused_when_it_is_needed() -> None:
    latest = LatestFrame()
    latest.put_compressed(compressed_message(b"junk", "png", NOW, "front"))
    with pytest.raises(InputError, match="not a whole png"):
        latest.fresh(NOW, 1.0)


def test_a_file_is_a_camera_that_stamps_now(tmp_path: Path) -> None:
    save_png(gradient_image(), tmp_path / "f.png")
    source = FileSource(tmp_path / "f.png", rate_hz=50, frame_id="desk")
    first, second = source.read(1.0), source.read(1.0)
    assert first is not None and second is not None
    assert first.frame_id == "desk" and second.stamp_s > first.stamp_s
    assert abs(second.stamp_s - time.time()) < 2
    slow = FileSource(tmp_path / "f.png", rate_hz=0.01, frame_id="desk")
    assert slow.read(1.0) is not None and slow.read(0.01) is None
    source.close()
    assert source.read(1.0) is None


@pytest.mark.parametrize(
    ("kind", "error", "says"),
    [
        ("fil", ConfigError, "Did you mean 'file'"),
        ("file", InputError, "does not exist"),
        ("device", InputError, "cannot be opened; check"),
        ("zmq", ConfigError, "reached from other machines"),
    ],
)
def test_sources_that_cannot_be_opened_say_why(kind: str, error: type[Exception], says: str) -> None:
    if kind == "device":
        pytest.importorskip("cv2")
    with pytest.raises(error, match=says):
        open_source(
            kind, path="/no/picture.png", device="/no/camera", address="tcp://0.0.0.0:1", rate_hz=1, frame_id="f"
        )


def test_a_video_is_a_camera_too(tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    red = np.zeros((64, 64, 3), np.uint8)
    red[..., 2] = 230  # OpenCV writes BGR
    writer = cv2.VideoWriter(str(tmp_path / "v.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 64))
    if not writer.isOpened():
        pytest.skip("this OpenCV cannot write MJPG")
    for _ in range(3):
        writer.write(red)
    writer.release()
    source = open_source("file", path=str(tmp_path / "v.avi"), device="", address="", rate_hz=1, frame_id="f")
    frames = [source.read(1.0) for _ in range(5)]
    source.close()
    for frame in frames:
        assert frame is not None, "the video starts again after its third frame"
        assert frame.image[32, 32, 0] > 180 and frame.image[32, 32, 2] < 60, "red stays red"
    assert frames[4].stamp_s - frames[0].stamp_s > 0.3, "at the video's own 10 frames a second"


def test_a_simulated_table_is_a_camera() -> None:
    pytest.importorskip("itk_sim.table")
    source = open_source(
        "sim", path="", device="", address="", rate_hz=50, frame_id="top", scene="put the red cube in the drawer"
    )
    frame = source.read(5.0)
    source.close()
    assert frame is not None and frame.frame_id == "top" and frame.image.shape == (256, 256, 3)
    assert frame.image.std() > 10, "it shows something"


def test_without_opencv_a_device_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(MissingDependencyError, match="pip install opencv-python-headless"):
        open_source("device", path="", device="0", address="", rate_hz=1, frame_id="f")


def test_arguments_are_split() -> None:
    ours, theirs = split_arguments(["--stack", "x", "--ros-args", "-r", "a:=b", "--", "--requests", "y"])
    assert ours == ["--stack", "x", "--requests", "y"]
    assert theirs == ["--ros-args", "-r", "a:=b", "--"]


@pytest.mark.parametrize(
    ("main", "argv", "code", "says"),
    [
        (camera_node.main, ["--ros-args", "-p", "path:=/no.png"], 2, "/no.png does not exist"),
        (camera_node.main, ["--ros-args", "-p", "compressed:=gif"], 2, "allowed: '' (none), png, jpeg"),
        (camera_node.main, ["--ros-args", "--wrong"], 2, "'--wrong' is not known"),
        (policy_node.main, ["--policy", "nowhere:act"], 2, "write module:callable"),
        (policy_node.main, ["--policy", "math:pi"], 2, "must be callable"),
    ],
)
def test_a_users_mistake_is_one_line(
    capsys: pytest.CaptureFixture[str], main: Any, argv: list[str], code: int, says: str
) -> None:
    assert main(argv) == code
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert says in line
    assert not ros.ok(), "nothing is left running"
