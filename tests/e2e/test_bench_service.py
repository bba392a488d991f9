"""What `itk-embodied bench service` counts: time to the first verified subgoal, and what of it no model needed."""

from __future__ import annotations

from scripted import NoiseGenerator, ScriptedCritic, ScriptedPlanner, gradient_image, plan_of

from itk_embodied.evaluation.bench_service import bench_service
from itk_embodied.pipeline import VisualSubgoalPipeline
from itk_embodied.types import Frame, Task

TASKS = [(Frame(gradient_image(), stamp_s=1.0), Task("go")) for _ in range(4)]


def test_model_time_is_told_from_the_rest_and_the_warm_up_is_not_counted() -> None:
    painter = NoiseGenerator(0.3)
    record = bench_service(
        VisualSubgoalPipeline(ScriptedPlanner(plan_of("a", "b")), painter, ScriptedCritic(True)), TASKS
    )
    assert (record["tasks"], record["counted"]) == (3, 3)
    first = record["first_subgoal_s"]
    assert 0.3 <= first["p50"] <= first["p99"] < 60, "the second step's picture is not part of it"
    assert 0 < record["other_share"] <= 1 - 0.3 / first["mean"] + 1e-3, "one picture a task is model time, not two"
    assert record["other_ms_p50"] > 0


def test_tasks_without_a_verified_subgoal_do_not_pass_for_fast_ones() -> None:
    agents = (ScriptedPlanner(plan_of("a")), NoiseGenerator(), ScriptedCritic(False))
    record = bench_service(VisualSubgoalPipeline(*agents), TASKS[:2])
    assert record["counted"] == 0 and record["first_subgoal_s"] is None
