"""Task files and suites."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest

from itk_sim.errors import SimError
from itk_sim.people import utterances
from itk_sim.scene import SceneSpec
from itk_sim.splits import scene_part
from itk_sim.suites import SUITES, build, load_jsonl
from itk_sim.task_lines import check_line
from itk_sim.tasks import FAMILIES

LINE: dict[str, Any] = {
    "id": "t1",
    "text": "put the red cube in the teal bowl",
    "scene": {"seed": 5, "cubes": ["red", "blue"], "bowls": ["teal"], "mat": "grey", "drawer": False},
    "goal": [["in", "red cube", "teal bowl"]],
}


def wrong(path: str, value: Any) -> dict[str, Any]:
    line = copy.deepcopy(LINE)
    *parents, last = path.split(".")
    where = line
    for parent in parents:
        where = where[parent]
    where[last] = value
    return line


def test_a_good_file_is_read(tmp_path: Path) -> None:
    second = {**LINE, "id": "t2", "family": "stack", "note": "kept", "goal": []}
    file = tmp_path / "tasks.jsonl"
    file.write_text(json.dumps(LINE) + "\n\n" + json.dumps(second) + "\n")
    assert load_jsonl(file) == [LINE, second]


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("scene.cubes", ["rde"], r"'rde' was given; allowed: red, .*did you mean 'red'"),
        ("scene.cubes", "red", "expected a list of colours"),
        ("scene.cubes", ["red", "red"], "at most once"),
        ("scene.bowls", ["tael"], "did you mean 'teal'"),
        ("scene.mat", "gray", "did you mean 'grey'"),
        ("scene.drawer", "yes", "expected true or false"),
        ("scene.seed", "five", "whole number"),
        ("scene.seed", -1, "seed"),
        ("scene.bowl", ["teal"], "'?bowl'?"),
        ("scene", [], "expected an object"),
        ("goal", [["im", "red cube", "teal bowl"]], "did you mean 'in'"),
        ("goal", [["in", "red", "teal bowl"]], "did you mean 'red cube'"),
        ("goal", [["in", "red cube"]], "allowed"),
        ("goal", [["in", "red cube", "blue cube"]], "a bowl or the drawer"),
        ("goal", [["in", "red cube", "pink bowl"]], "not in the scene"),
        ("goal", [["open", "drawer"]], "not in the scene"),
        ("goal", "in", "expected a list"),
        ("text", "  ", "in words"),
        ("id", None, "expected a text"),
    ],
)
def test_a_bad_line_says_where_what_and_what_is_allowed(path: str, value: Any, says: str, tmp_path: Path) -> None:
    file = tmp_path / "tasks.jsonl"
    file.write_text(
        json.dumps(LINE) + "\n" + json.dumps({**wrong(path, value), **({} if path == "id" else {"id": "t2"})})
    )
    with pytest.raises(SimError, match=says) as caught:
        load_jsonl(file)
    assert str(caught.value).startswith(f"{file}, line 2: ") and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{not json", "line 1: not JSON"), ("[1]", "line 1: .*expected an object"), ("\n\n", "has no tasks"),
        ('{"id": "a"}', "'text' is missing"),
        (json.dumps(LINE) + "\n" + json.dumps(LINE), "line 2: id 't1' is that of line 1"),
    ],
)  # fmt: skip
def test_bad_files(text: str, says: str, tmp_path: Path) -> None:
    file = tmp_path / "tasks.jsonl"
    file.write_text(text)
    with pytest.raises(SimError, match=says):
        load_jsonl(file)


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(SimError, match="cannot be read: No such file"):
        load_jsonl(tmp_path / "nothing.jsonl")
    with pytest.raises(SimError, match="cannot be read"):
        load_jsonl(tmp_path)


def test_unknown_suite() -> None:
    with pytest.raises(SimError, match="did you mean 'single'"):
        build("singel", 3, 0)
    with pytest.raises(SimError, match="at least 1"):
        build("single", 0, 0)


def test_every_family_is_a_suite() -> None:
    assert set(FAMILIES) <= set(SUITES)
    assert {"single", "directions", "drawer", "multi", "impossible", "smoke", "all"} <= set(SUITES)
    assert {"held-out-scenes", "held-out-combinations", "held-out-wordings", "people"} <= set(SUITES)


def test_suites_are_fixed_by_name_number_and_seed() -> None:
    lines = build("smoke", 100, 3)
    assert len(lines) == 6 and lines[:2] == build("smoke", 2, 3)
    assert {line["family"] for line in lines} == set(SUITES["smoke"].families)
    for line in lines:
        check_line(json.loads(json.dumps(line)))
        assert scene_part(line["scene"]["seed"]) == "held-out"
        assert SceneSpec.from_json(line["scene"]).to_json() == line["scene"]
    assert len({line["id"] for line in lines}) == 6


def test_people_are_asked_in_their_own_words() -> None:
    families = SUITES["people"].families
    lines = build("people", len(families) + 1, 3)
    assert [line["family"] for line in lines] == [*families, families[0]]
    said = [template for texts in utterances("examination").values() for template in texts]
    for line in lines:
        check_line(json.loads(json.dumps(line)))
        assert any(re.fullmatch(_any_filling(template), line["text"]) for template in said), line["text"]


def _any_filling(template: str) -> str:
    return ".+".join(map(re.escape, re.split(r"\{\w+\}", template)))
