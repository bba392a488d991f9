"""Closed loop in physics: right goals succeed, wrong ones fail and say why, nothing unverified reaches the policy."""

from __future__ import annotations

import pytest
from scripted import NoiseGenerator, ScriptedCritic, ScriptedPlanner, plan_of

from itk_embodied import PipelineConfig, VisualSubgoalPipeline
from itk_embodied.evaluation.closed_loop import ClosedLoop, Goals, may_move, summary

pytest.importorskip("itk_sim.table")  # before mujoco itself, so that it picks a renderer that needs no screen

from itk_sim.symbols import SceneState
from itk_sim.table import Table

LINE = {
    "id": "t1",
    "family": "put_in",
    "text": "put the red cube in the teal bowl",
    "scene": {"seed": 5, "cubes": ["red", "blue", "green"], "bowls": ["teal"], "mat": "grey", "drawer": False},
    "goal": [["in", "red cube", "teal bowl"]],
}


@pytest.fixture(scope="module")
def table():
    with Table() as opened:
        yield opened


def loop(table: Table, *steps: str, goals: Goals = Goals.GROUND_TRUTH, accepts: bool = True) -> ClosedLoop:
    config = PipelineConfig(max_attempts=1, continue_after_unverified=goals is not Goals.GENERATED)
    planner = ScriptedPlanner(plan_of(*steps))
    pipeline = VisualSubgoalPipeline(planner, NoiseGenerator(), ScriptedCritic(accepts), config)
    return ClosedLoop(table, pipeline, goals)


def test_right_steps_with_true_goal_images_succeed(table: Table) -> None:
    episode = loop(table, "put the red cube in the teal bowl").episode(LINE)
    assert episode.success and episode.why == "" and episode.images_executed == 1


def test_wrong_steps_fail_and_say_what_was_not_reached(table: Table) -> None:
    episode = loop(table, "put the blue cube on the grey mat").episode(LINE)
    assert not episode.success and "in red cube teal bowl" in episode.why


def test_a_step_that_cannot_be_done_here_is_named(table: Table) -> None:
    episode = loop(table, "open the drawer").episode(LINE)
    assert not episode.success and "step 1" in episode.why


def test_what_the_critic_refused_never_reaches_the_policy(table: Table) -> None:
    refused = loop(table, "put the red cube in the teal bowl", goals=Goals.GENERATED, accepts=False)
    episode = refused.episode(LINE)
    assert episode.images_executed == 0 and not episode.success and "unverified" in episode.why


def test_a_goal_image_that_makes_no_sense_moves_nothing_and_fails(table: Table) -> None:
    """A critic that always says True passes noise on; the policy must not pretend."""
    episode = loop(table, "put the red cube in the teal bowl", goals=Goals.GENERATED).episode(LINE)
    assert not episode.success


def test_the_summary_counts_per_family(table: Table) -> None:
    done = [loop(table, text).episode(LINE) for text in (LINE["text"], "put the blue cube on the grey mat")]
    record = summary(done)
    assert (record["episodes"], record["success_rate"]) == (2, 0.5)
    assert record["families"]["put_in"]["successes"] == 1
    assert [e["success"] for e in record["per_episode"]] == [True, False]


def test_a_task_may_move_what_lies_on_what_it_names() -> None:
    state = SceneState(
        cubes=("red cube", "green cube", "blue cube"),
        bowls=("teal bowl",),
        mat=None,
        drawer=None,
        support={"red cube": "table", "green cube": "red cube", "blue cube": "table"},
        position_m={},
        pixel={},
        visible={},
    )
    assert may_move([("in", "red cube", "teal bowl")], state) == {"red cube", "green cube"}
    assert may_move([("open", "drawer")], state) == {"drawer"}
