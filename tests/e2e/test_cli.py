"""The command line as a user meets it: one-line errors, exit codes, nothing half-written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import scripted_kinds
from scripted import gradient_image

from itk_embodied.cli import main


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "frame.png"
    PIL.Image.fromarray(gradient_image(256, 256)).save(path)
    return path


def run(*argv: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in argv])
    return int(ended.value.code or 0)


def truncated(folder: Path) -> Path:
    path = folder / "cut.png"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    PIL.Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:-4000])
    return path


def tiny(folder: Path) -> Path:
    PIL.Image.fromarray(np.full((1, 1, 3), 9, np.uint8)).save(folder / "tiny.png")
    return folder / "tiny.png"


def grey(folder: Path) -> Path:
    PIL.Image.fromarray(gradient_image()[..., 0]).save(folder / "grey.png")
    return folder / "grey.png"


def broken_stack(folder: Path) -> Path:
    (folder / "mine.toml").write_text("[planner\nkind = 3")
    return folder / "mine.toml"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda d: {"--image": d / "nothing.png"}, "does not exist"),
        (lambda d: {"--image": truncated(d)}, "damaged"),
        (lambda d: {"--image": tiny(d)}, "at least 32 px"),
        (lambda d: {"--image": grey(d)}, "grey"),
        (lambda d: {"--task": "   "}, "the task is empty"),
        (lambda d: {"--stack": "embeded"}, "Did you mean 'embedded'"),
        (lambda d: {"--stack": broken_stack(d)}, "not valid TOML"),
        (lambda d: {"--stack": d / "no.toml"}, "no stack file"),
        (lambda d: {"--seed": -1}, "seed"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(picture: Path, tmp_path: Path, capsys, change, says: str) -> None:
    options = {"--image": picture, "--task": "put the red cube in the teal bowl", "--out": tmp_path / "out"}
    options |= change(tmp_path)
    code = run("run", *[word for pair in options.items() for word in pair])
    printed = capsys.readouterr()
    assert code == 2
    errors = printed.err.strip().splitlines()
    assert len(errors) == 1 and errors[0].startswith("itk-embodied: ") and says in errors[0], errors
    assert not (tmp_path / "out").exists()
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".out")]


def test_a_missing_checkpoint_names_the_hub_id_and_how_to_fetch_it(picture: Path, tmp_path: Path, capsys) -> None:
    pytest.importorskip("torch")
    code = run("run", "--image", picture, "--task", "tidy up", "--out", tmp_path / "out", "--stack", "klein-4b")
    line = capsys.readouterr().err.strip()
    assert code == 3
    assert "hf download" in line and "Planner" in line


def test_a_plan_of_your_own_is_painted_step_by_step(picture: Path, tmp_path: Path) -> None:
    kinds = scripted_kinds.install(tmp_path)
    stack = scripted_kinds.write_stack(tmp_path, planner="steps = 5")
    given = ["open the drawer", "put the red cube in the drawer"]
    argv = ["run", "--image", picture, "--task", "tidy up", "--out", tmp_path / "out", "--stack", stack]
    argv += [word for step in given for word in ("--step", step)]
    path = os.pathsep.join([str(kinds), *sys.path])
    subprocess.run(
        [sys.executable, "-m", "itk_embodied", *map(str, argv)],
        env={**os.environ, "PYTHONPATH": path},
        check=True,
        timeout=120,
    )
    record = json.loads((tmp_path / "out" / "sequence.json").read_text())
    assert record["status"] == "verified"
    assert [step["instruction"] for step in record["steps"]] == given


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["eval", "--suite", "single", "--tasks", "x.jsonl"], "choose one"),
        (["eval", "--goals", "perfect"], "ground-truth"),
        (["eval", "--suite", "singel"], "Did you mean 'single'"),
        (["eval", "--tasks", "nothing.jsonl"], "nothing.jsonl"),
        (["frobnicate"], "frobnicate"),
        (["run", "--imag", "x"], "--imag"),
    ],
)
def test_wrong_words_on_the_command_line(argv: list[str], says: str, capsys) -> None:
    code = run(*argv)
    errors = capsys.readouterr().err.strip().splitlines()
    assert code == 2 and len(errors) == 1 and says in errors[0]


def test_help_and_version_work_and_the_import_needs_no_torch() -> None:
    """In processes of their own, with torch, transformers, diffusers, mujoco and rclpy made unimportable."""
    blocked = ("torch", "transformers", "diffusers", "mujoco", "rclpy", "cv2")
    program = (
        "import sys\n"
        f"for name in {blocked!r}: sys.modules[name] = None\n"
        "import itk_embodied, itk_embodied.bridges, itk_sim\n"
        "from itk_embodied.agents.stacks import read_stack\n"
        "assert read_stack('embedded').name == 'embedded'\n"
        "from itk_embodied.cli import main\n"
        "main(['--version'])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("itk-embodied ")


def test_json_is_written_whole(tmp_path: Path) -> None:
    from itk_embodied.cli import _write_json

    _write_json(tmp_path / "deep" / "out.json", {"a": 1})
    assert json.loads((tmp_path / "deep" / "out.json").read_text()) == {"a": 1}
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["out.json"]
