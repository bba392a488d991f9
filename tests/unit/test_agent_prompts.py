"""Prompt files: shipped and own ones, placeholders, and the hash that travels with every output."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from pathlib import Path

import pytest

from itk_embodied.agents.prompts import CRITIC_PLACEHOLDERS, PLANNER_PLACEHOLDERS, load_prompt, prompt_names
from itk_embodied.errors import ConfigError


@pytest.mark.parametrize("name", ["planner", "embedded-planner"])
def test_the_planners_prompts_carry_the_task(name: str) -> None:
    system, user = load_prompt(name, PLANNER_PLACEHOLDERS).fill(task="put it there")
    assert "put it there" in user and "{{" not in system + user


@pytest.mark.parametrize("name", ["critic", "embedded-critic"])
def test_the_critics_prompts_carry_instruction_and_last_prompt(name: str) -> None:
    system, user = load_prompt(name, CRITIC_PLACEHOLDERS).fill(instruction="do it", prompt="do it well")
    assert "do it" in user and "do it well" in user and "{{" not in system + user


def test_the_large_prompts_state_the_answer_that_the_parser_wants() -> None:
    for name, placeholders in (("planner", PLANNER_PLACEHOLDERS), ("critic", CRITIC_PLACEHOLDERS)):
        system = load_prompt(name, placeholders).system
        assert all(tag in system for tag in ("<think>", "</think>", "<answer>", "</answer>"))
    assert "execution_plan" in load_prompt("planner", PLANNER_PLACEHOLDERS).system
    assert "previous_step_success" in load_prompt("critic", CRITIC_PLACEHOLDERS).system


def test_the_hash_is_that_of_the_content() -> None:
    text = files("itk_embodied.agents.prompts").joinpath("planner.md").read_bytes()
    prompt = load_prompt("planner", PLANNER_PLACEHOLDERS)
    assert prompt.prompt_hash == hashlib.sha256(text).hexdigest()[:12]


def test_values_are_not_expanded_again(tmp_path: Path) -> None:
    (tmp_path / "p.md").write_text("{{ instruction }} / {{prompt}}")
    _, user = load_prompt("p.md", CRITIC_PLACEHOLDERS, tmp_path).fill(instruction="{{prompt}}", prompt="x")
    assert user == "{{prompt}} / x"


def test_a_file_of_ones_own_may_have_a_system_part_and_windows_line_ends(tmp_path: Path) -> None:
    (tmp_path / "p.md").write_bytes(b"<!-- system -->\r\nBe brief.\r\n<!-- user -->\r\nDo {{task}}\r\n")
    prompt = load_prompt("./p.md", PLANNER_PLACEHOLDERS, tmp_path)
    assert prompt.fill(task="it") == ("Be brief.", "Do it")
    (tmp_path / "q.md").write_bytes(b"<!-- system -->\nBe brief.\n<!-- user -->\nDo {{task}}\n")
    assert load_prompt("./q.md", PLANNER_PLACEHOLDERS, tmp_path).prompt_hash == prompt.prompt_hash


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("Do it", "never uses {{task}}"),
        ("Do {{taks}}", "Did you mean 'task'"),
        ("<!-- system -->\nDo {{task}}", "no user message"),
        ("", "no user message"),
    ],
)
def test_a_prompt_that_cannot_work_is_refused(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "p.md").write_text(text)
    with pytest.raises(ConfigError, match=says):
        load_prompt("p.md", PLANNER_PLACEHOLDERS, tmp_path)


def test_an_unknown_prompt_is_refused_with_a_suggestion(tmp_path: Path) -> None:
    assert {"planner", "critic", "embedded-planner", "embedded-critic"} <= set(prompt_names())
    with pytest.raises(ConfigError, match="Did you mean 'planner'"):
        load_prompt("plannr", PLANNER_PLACEHOLDERS)
    with pytest.raises(ConfigError, match="no prompt file"):
        load_prompt("nowhere.md", PLANNER_PLACEHOLDERS, tmp_path)
    (tmp_path / "p.md").write_bytes(b"\xff{{task}}")
    with pytest.raises(ConfigError, match="UTF-8"):
        load_prompt("p.md", PLANNER_PLACEHOLDERS, tmp_path)
