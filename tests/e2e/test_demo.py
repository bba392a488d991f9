"""The main job, whole: two processes, ZeroMQ between them, the embedded stack, and an arm in physics."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("itk_sim.table")  # before mujoco itself, so that it picks a renderer that needs no screen
pytest.importorskip("torch")

from itk_sim.outcome import lasting, plan_failure
from itk_sim.scene import SceneSpec
from itk_sim.staging import scene_for, told_steps
from itk_sim.symbols import Step
from itk_sim.table import Table


def itk(*words: object, timeout_s: float = 280) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from itk_embodied.cli import main; main()", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout_s)


@pytest.mark.timeout(600)
def test_the_default_demo_is_achieved_through_verified_goal_images(tmp_path: Path) -> None:
    done = itk("demo", "--out", tmp_path / "demo", timeout_s=560)
    assert done.returncode == 0, done.stderr
    assert "Task achieved" in " ".join(done.stderr.split())
    record = json.loads((tmp_path / "demo" / "sequence.json").read_text())
    assert record["status"] == "verified" and record["stack"] == "embedded"
    steps = [step for step in record["steps"] if step["instruction"]]
    assert steps and all(step["status"] == "verified" for step in steps)
    for step in steps:
        assert (tmp_path / "demo" / step["image"]).is_file()
        assert (tmp_path / "demo" / "achieved" / step["image"]).is_file(), "what the arm achieved is beside every goal"
        assert step["attempts"][-1]["success"]
    page = (tmp_path / "demo" / "report.html").read_text()
    assert "task achieved" in " ".join(page.split()) and page.count("data:image/png") > 2 * len(steps)


@pytest.mark.timeout(400)
def test_what_is_not_there_never_comes_back_verified(tmp_path: Path) -> None:
    with Table() as table:
        import PIL.Image

        table.reset(scene_for("put the red cube in the teal bowl", 7))
        PIL.Image.fromarray(table.render("front", 256)).save(tmp_path / "frame.png")
    task = "put the banana in the sink"
    done = itk("run", "--image", tmp_path / "frame.png", "--task", task, "--out", tmp_path / "run", timeout_s=380)
    record = json.loads((tmp_path / "run" / "sequence.json").read_text())
    assert done.returncode != 0 and record["status"] != "verified"


def test_staging_puts_what_the_sentence_names_on_the_table() -> None:
    scene = scene_for("Put the red cube in the teal bowl, then open the drawer", 3)
    assert "red" in scene.cubes and scene.bowls == ("teal",) and scene.drawer and scene.drawer_open is False
    assert len(scene.cubes) >= 4 and scene == scene_for("Put the red cube in the teal bowl, then open the drawer", 3)


def test_a_run_is_judged_by_the_task_where_its_wording_is_canonical() -> None:
    steps = told_steps("put the red cube in the teal bowl, then stack the blue cube on the green cube")
    assert steps == (Step("place", "red cube", "in", "teal bowl"), Step("place", "blue cube", "on", "green cube"))
    assert told_steps("open the drawer; close the drawer.") == (Step("open"), Step("close"))
    assert told_steps("would you kindly tidy up") is None


def test_only_what_lasts_of_a_plan_is_judged() -> None:
    put = Step("place", "red cube", "on", "table")
    beside = Step("place", "blue cube", "left_of", "red cube")
    again = Step("place", "red cube", "in", "teal bowl")
    assert lasting([put, beside, again]) == (again,)
    assert lasting([Step("open"), again, Step("close")]) == (again, Step("close"))


def test_a_plan_is_judged_by_the_table_not_by_its_word() -> None:
    scene = SceneSpec.from_json({"seed": 5, "cubes": ["red", "blue"], "bowls": ["teal"]})
    steps = [Step("place", "red cube", "in", "teal bowl")]
    with Table() as table:
        before = table.reset(scene)
        assert "not so in the end" in plan_failure(steps, before, before)
        assert table.teleport(steps[0])
        assert plan_failure(steps, before, table.state()) == ""
        table.teleport(Step("place", "blue cube", "on", "red cube"))
        table.teleport(Step("place", "blue cube", "at", None, (10, 20)))
        assert "disturbed: blue cube" in plan_failure(steps, before, table.state())
