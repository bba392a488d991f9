"""Task files: one JSON object a line, read with errors that say where, what was given and what is allowed.

``{"id": "t1", "text": "put the red cube in the teal bowl", "scene": {"seed": 5, "cubes": ["red", "blue"],
"bowls": ["teal"], "mat": "grey", "drawer": false}, "goal": [["in", "red cube", "teal bowl"]]}``.
``family`` is optional; other keys are kept.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from itk_sim.errors import SimError
from itk_sim.predicates import NAMES, check_predicate
from itk_sim.scene import SceneSpec
from itk_sim.symbols import BOWL_COLOURS, BOWLS, CUBE_COLOURS, CUBES, DRAWER, MAT_COLOURS, MATS, TABLE

KEYS = ("id", "text", "scene", "goal")


def load_jsonl(path: str | Path) -> list[dict[str, Any]]:
    """The task lines of a file, checked. Blank lines are skipped.

    Raises:
        SimError: there is no such file, it has no tasks, or a line is wrong; one line that says where and what.
    """
    file = Path(path)
    try:
        rows = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise SimError(f"task file {file} cannot be read: {reason}; give a file with one JSON object a line") from error
    lines: list[dict[str, Any]] = []
    seen: dict[str, int] = {}
    for number, row in enumerate(rows, start=1):
        if not row.strip():
            continue
        try:
            line = check_line(_json(row))
        except SimError as error:
            raise SimError(f"{file}, line {number}: {error}") from error
        if str(line["id"]) in seen:
            raise SimError(
                f"{file}, line {number}: id {line['id']!r} is that of line {seen[str(line['id'])]}; ids differ"
            )
        seen[str(line["id"])] = number
        lines.append(line)
    if not lines:
        raise SimError(f"task file {file} has no tasks; give one JSON object a line, with {', '.join(KEYS)}")
    return lines


def check_line(line: Any) -> dict[str, Any]:
    """A task line itself, if all of it makes sense together.

    Raises:
        SimError: saying what was given and what is allowed.
    """
    if not isinstance(line, dict):
        raise SimError(f"{_short(line)} was given; expected an object with {', '.join(KEYS)}")
    missing = [key for key in KEYS if key not in line]
    if missing:
        raise SimError(f"{missing[0]!r} is missing; needed: {', '.join(KEYS)}")
    if not isinstance(line["id"], (str, int)) or isinstance(line["id"], bool) or line["id"] == "":
        raise SimError(f"id {_short(line['id'])} was given; expected a text")
    if not isinstance(line["text"], str) or not line["text"].strip():
        raise SimError(f"text {_short(line['text'])} was given; expected what the robot is to do, in words")
    names = _check_scene(line["scene"])
    if not isinstance(line["goal"], list):
        raise SimError(
            f"goal {_short(line['goal'])} was given; expected a list such as [['in', 'red cube', 'teal bowl']]"
        )
    for predicate in line["goal"]:
        _check_goal(predicate, names)
    return line


def _json(row: str) -> Any:
    try:
        return json.loads(row)
    except json.JSONDecodeError as error:
        raise SimError(f"not JSON: {error.msg} at column {error.colno}; give one JSON object a line") from error


def _check_scene(scene: Any) -> set[str]:
    """Names of everything in a scene."""
    if not isinstance(scene, dict):
        raise SimError(f"scene {_short(scene)} was given; expected an object with seed, cubes, bowls, mat, drawer")
    if not isinstance(scene.get("seed", 0), int) or isinstance(scene.get("seed"), bool):
        raise SimError(f"scene seed {_short(scene['seed'])} was given; expected a whole number from 0")
    for key in ("drawer", "drawer_open", "stacked"):
        if scene.get(key) not in (True, False, None):
            raise SimError(f"scene {key} {_short(scene[key])} was given; expected true or false")
    cubes = _colours(scene, "cubes", "cube", CUBE_COLOURS)
    bowls = _colours(scene, "bowls", "bowl", BOWL_COLOURS)
    mat = scene.get("mat")
    if mat is not None:
        _known(mat, "mat colour", MAT_COLOURS)
    SceneSpec.from_json(scene)
    names = {*(f"{colour} cube" for colour in cubes), *(f"{colour} bowl" for colour in bowls), TABLE}
    return names | ({f"{mat} mat"} if mat else set()) | ({DRAWER} if scene.get("drawer") else set())


def _colours(scene: dict[str, Any], key: str, kind: str, allowed: Sequence[str]) -> list[str]:
    given = scene.get(key) or []
    if not isinstance(given, list):
        raise SimError(f"scene {key} {_short(given)} was given; expected a list of colours: {', '.join(allowed)}")
    for colour in given:
        _known(colour, f"{kind} colour", allowed)
    return given


def _check_goal(predicate: Any, names: set[str]) -> None:
    if not isinstance(predicate, list) or not predicate or not all(isinstance(part, str) for part in predicate):
        raise SimError(
            f"goal {_short(predicate)} was given; expected a list of words such as ['in', 'red cube', 'teal bowl']"
        )
    name, *arguments = predicate
    _known(name, "predicate", NAMES)
    for argument in arguments:
        _known(argument, "thing", (*CUBES, *BOWLS, *MATS, DRAWER, TABLE))
    check_predicate(tuple(predicate))
    absent = [argument for argument in arguments if argument not in names]
    if absent:
        raise SimError(f"goal {predicate} names the {absent[0]}, which is not in the scene: {', '.join(sorted(names))}")


def _known(given: Any, what: str, allowed: Iterable[str]) -> None:
    options = list(allowed)
    if given in options:
        return
    near = difflib.get_close_matches(str(given), options, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise SimError(f"{what} {_short(given)} was given; allowed: {', '.join(options)}{hint}")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
