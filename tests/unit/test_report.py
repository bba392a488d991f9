"""The report: self-contained, says what happened, escapes what models wrote."""

from __future__ import annotations

import re

import pytest
from scripted import NoiseGenerator, ScriptedCritic, ScriptedPlanner, plan_of

from itk_embodied import Frame, Task, Verdict, VisualSubgoalPipeline
from itk_embodied.display.report import render_report
from itk_embodied.errors import ModelOutputError

pytest.importorskip("jinja2")


def run(frame: Frame, planner: ScriptedPlanner, critic: ScriptedCritic):
    return VisualSubgoalPipeline(planner, NoiseGenerator(), critic)(frame, Task("do <b>it</b>"))


def test_every_attempt_and_picture_is_there_and_nothing_is_loaded_from_elsewhere(frame: Frame) -> None:
    critic = ScriptedCritic(Verdict(False, "better <i>prompt</i>", 0.125), True)
    sequence = run(frame, ScriptedPlanner(plan_of("put a", "put b")), critic)
    page = render_report(sequence, achieved=[frame.image], outcome="The arm moved.", achieved_task=True)
    # frame, two goals, one achieved, three attempts
    assert page.count("data:image/png;base64,") == 7
    assert not re.search(r"(src|href)=.(?!data:)", page)
    assert "0.125" in page and "better &lt;i&gt;prompt" in page and "do &lt;b&gt;it" in page
    assert "task achieved" in " ".join(page.split())


def test_a_failed_plan_shows_the_raw_answer(frame: Frame) -> None:
    planner = ScriptedPlanner(ModelOutputError("no json", raw="<think>hm"))
    page = render_report(run(frame, planner, ScriptedCritic(True)))
    assert "&lt;think&gt;hm" in page and "malformed" in page


def test_steps_never_reached_are_named(frame: Frame) -> None:
    page = render_report(run(frame, ScriptedPlanner(plan_of("put a", "put b")), ScriptedCritic(False)))
    assert "not reached" in page and "put b" in page
