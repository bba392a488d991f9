"""Pictures in, sequences out: clear refusals, complete folders, the JSON format others rely on."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from scripted import NoiseGenerator, ScriptedCritic, ScriptedPlanner, gradient_image, plan_of

from itk_embodied import Frame, Task, VisualSubgoalPipeline
from itk_embodied.errors import InputError
from itk_embodied.images import load_image, png_bytes
from itk_embodied.records import write_sequence
from itk_embodied.types import SubgoalSequence


def test_a_png_comes_back_pixel_for_pixel(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png_bytes(gradient_image()))
    assert np.array_equal(load_image(tmp_path / "a.png"), gradient_image())


def write(path: Path, image: np.ndarray, **options) -> Path:
    PIL.Image.fromarray(image).save(path, **options)
    return path


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda d: d / "none.png", "does not exist"),
        (lambda d: d, "is a folder"),
        (lambda d: write(d / "one.png", np.full((1, 1, 3), 7, np.uint8)), "at least 32 px"),
        (lambda d: write(d / "grey.png", gradient_image()[..., 0]), "grey"),
        (lambda d: write(d / "grey3.png", np.repeat(gradient_image()[..., :1], 3, 2)), "grey"),
    ],
)
def test_bad_pictures_are_refused_with_a_reason(tmp_path: Path, make, says: str) -> None:
    with pytest.raises(InputError, match=says):
        load_image(make(tmp_path))


@pytest.mark.parametrize("keep", [10, 60, 0.5, 0.9])
def test_a_truncated_png_is_refused(tmp_path: Path, keep: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = png_bytes(noise)
    (tmp_path / "cut.png").write_bytes(data[: int(keep if keep > 1 else len(data) * keep)])
    with pytest.raises(InputError, match=r"damaged|not a picture"):
        load_image(tmp_path / "cut.png")


def test_text_is_not_a_picture(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("hello")
    with pytest.raises(InputError, match="not a picture"):
        load_image(tmp_path / "a.png")


def test_alpha_is_dropped(tmp_path: Path) -> None:
    rgba = np.dstack([gradient_image(), np.full((48, 64), 128, np.uint8)])
    buffer = io.BytesIO()
    PIL.Image.fromarray(rgba, "RGBA").save(buffer, "PNG")
    (tmp_path / "a.png").write_bytes(buffer.getvalue())
    assert np.array_equal(load_image(tmp_path / "a.png"), gradient_image())


@pytest.fixture
def sequence(frame: Frame) -> SubgoalSequence:
    pipeline = VisualSubgoalPipeline(
        ScriptedPlanner(plan_of("put a", "put b")), NoiseGenerator(), ScriptedCritic(False, True), stack_name="scripted"
    )
    return pipeline(frame, Task("do it", seed=3))


def test_the_folder_has_what_the_json_names(sequence: SubgoalSequence, tmp_path: Path) -> None:
    record = json.loads(write_sequence(sequence, tmp_path / "out").read_text())
    assert record["schema_version"] == 1
    assert (record["task"], record["status"], record["stack"]) == ("do it", "verified", "scripted")
    assert [step["image"] for step in record["steps"]] == ["step-01.png", "step-02.png"]
    assert [a["success"] for a in record["steps"][0]["attempts"]] == [False, True]
    assert set(record["seconds"]) == {"plan", "first_subgoal", "total"}
    for step, subgoal in zip(record["steps"], sequence.subgoals, strict=True):
        assert {"step_number", "step_name", "instruction", "prompt", "auxiliary_text", "status"} <= set(step)
        assert np.array_equal(load_image(tmp_path / "out" / step["image"]), subgoal.image)
        for attempt in step["attempts"]:
            wanted = {"attempt", "prompt", "seed", "success", "score", "refine_prompt", "image", "seconds"}
            assert wanted <= set(attempt)
            assert (tmp_path / "out" / attempt["image"]).is_file()


def test_an_earlier_run_is_replaced_whole(sequence: SubgoalSequence, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_sequence(sequence, out)
    (out / "step-09.png").write_bytes(b"left over")
    write_sequence(sequence, out)
    assert not (out / "step-09.png").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["out"], "no staging folder is left"


def test_a_strangers_folder_is_left_alone(sequence: SubgoalSequence, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match=r"thesis\.tex"):
        write_sequence(sequence, tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_a_write_that_fails_leaves_nothing(sequence: SubgoalSequence, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("itk_embodied.records.save_png", lambda *a: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_sequence(sequence, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
