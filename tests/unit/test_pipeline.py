"""The loop at its contract: what is verified, what is not, seeds, budgets, cancel, malformed answers."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from scripted import NoiseGenerator, ScriptedCritic, ScriptedPlanner, plan_of, verdicts

from itk_embodied import Frame, PipelineConfig, SequenceStatus, SubgoalStatus, Task, Verdict, VisualSubgoalPipeline
from itk_embodied.errors import ConfigError, InputError, ModelOutputError
from itk_embodied.pipeline import derive_seed
from itk_embodied.types import AttemptJudged, AttemptStarted, Plan, PlanReady, SequenceEnded, SubgoalReady


def make(planner, generator, critic, **config) -> VisualSubgoalPipeline:
    return VisualSubgoalPipeline(planner, generator, critic, PipelineConfig(**config), stack_name="scripted")


def test_every_step_verified_and_each_edits_the_accepted_image_before_it(frame: Frame) -> None:
    generator = NoiseGenerator()
    sequence = make(ScriptedPlanner(plan_of("a", "b", "c")), generator, ScriptedCritic(True))(frame, Task("do it"))
    assert sequence.status is SequenceStatus.VERIFIED
    assert [s.status for s in sequence.subgoals] == [SubgoalStatus.VERIFIED] * 3
    inputs = [image for image, _, _ in generator.calls]
    assert np.array_equal(inputs[0], frame.image)
    assert np.array_equal(inputs[1], sequence.subgoals[0].image)
    assert np.array_equal(inputs[2], sequence.subgoals[1].image)
    assert sequence.first_subgoal_s is not None and sequence.first_subgoal_s <= sequence.total_s


def test_a_rejected_attempt_is_repainted_from_the_same_image_with_the_rewritten_prompt(frame: Frame) -> None:
    generator = NoiseGenerator()
    critic = ScriptedCritic(*verdicts(0.1, 0.8))
    sequence = make(ScriptedPlanner(plan_of("a")), generator, critic)(frame, Task("do it"))
    assert sequence.status is SequenceStatus.VERIFIED
    assert [prompt for _, prompt, _ in generator.calls] == ["a", "prompt after 0.1"]
    assert all(np.array_equal(image, frame.image) for image, _, _ in generator.calls)
    assert [instruction for _, _, instruction, _ in critic.calls] == ["a", "a"], "judged against the ORIGINAL one"


def test_retries_with_an_unchanged_prompt_still_make_different_images(frame: Frame) -> None:
    critic = ScriptedCritic(Verdict(False, "same", 0.2))
    sequence = make(ScriptedPlanner(plan_of("same")), NoiseGenerator(), critic, max_attempts=4)(frame, Task("do it"))
    attempts = sequence.subgoals[0].attempts
    assert {a.prompt for a in attempts} == {"same"}
    assert len({a.seed for a in attempts}) == 4
    assert len({a.image.tobytes() for a in attempts}) == 4


def test_exhausted_attempts_keep_the_best_as_unverified_and_end_the_sequence(frame: Frame) -> None:
    critic = ScriptedCritic(True, *verdicts(0.2, 0.4, 0.3))
    sequence = make(ScriptedPlanner(plan_of("a", "b", "c")), NoiseGenerator(), critic)(frame, Task("do it"))
    assert sequence.status is SequenceStatus.PARTIAL
    assert [s.status for s in sequence.subgoals] == [SubgoalStatus.VERIFIED, SubgoalStatus.UNVERIFIED]
    assert np.array_equal(sequence.subgoals[1].image, sequence.subgoals[1].attempts[1].image)
    assert "step 2" in sequence.reason


def test_continue_after_unverified_goes_on_but_never_calls_it_verified(frame: Frame) -> None:
    critic = ScriptedCritic(*verdicts(0.2, 0.4, 0.3), True)
    config = {"continue_after_unverified": True}
    sequence = make(ScriptedPlanner(plan_of("a", "b")), NoiseGenerator(), critic, **config)(frame, Task("do it"))
    assert [s.status for s in sequence.subgoals] == [SubgoalStatus.UNVERIFIED, SubgoalStatus.VERIFIED]
    assert sequence.status is SequenceStatus.PARTIAL


def test_nothing_verified_is_failed(frame: Frame) -> None:
    sequence = make(ScriptedPlanner(plan_of("a")), NoiseGenerator(), ScriptedCritic(False))(frame, Task("do it"))
    assert sequence.status is SequenceStatus.FAILED
    assert sequence.first_subgoal_s is None


def test_a_refusal_is_failed_with_the_planners_words(frame: Frame) -> None:
    generator = NoiseGenerator()
    planner = ScriptedPlanner(plan_of(None, answer="There is no banana here."))
    sequence = make(planner, generator, ScriptedCritic(True))(frame, Task("put the banana in the sink"))
    assert sequence.status is SequenceStatus.FAILED
    assert sequence.reason == "There is no banana here."
    assert not sequence.subgoals and not generator.calls


def test_malformed_plans_are_asked_again_with_another_seed(frame: Frame) -> None:
    planner = ScriptedPlanner(ModelOutputError("no json", raw="blah"), plan_of("a"))
    sequence = make(planner, NoiseGenerator(), ScriptedCritic(True))(frame, Task("do it"))
    assert sequence.status is SequenceStatus.VERIFIED
    assert len({c.seed for c in planner.contexts}) == 2


def test_a_planner_that_stays_malformed_fails_and_its_text_is_kept(frame: Frame) -> None:
    planner = ScriptedPlanner(ModelOutputError("no json", raw="blah blah"))
    sequence = make(planner, NoiseGenerator(), ScriptedCritic(True))(frame, Task("do it"))
    assert (sequence.status, sequence.raw) == (SequenceStatus.FAILED, "blah blah")
    assert len(planner.contexts) == 3


def test_a_critic_that_stays_malformed_never_verifies_and_its_text_is_kept(frame: Frame) -> None:
    critic = ScriptedCritic(ModelOutputError("no json", raw="mumble"))
    sequence = make(ScriptedPlanner(plan_of("a")), NoiseGenerator(), critic)(frame, Task("do it"))
    assert sequence.status is SequenceStatus.FAILED
    assert sequence.subgoals[0].status is SubgoalStatus.UNVERIFIED
    assert {a.raw for a in sequence.subgoals[0].attempts} == {"mumble"}


def test_a_crashing_generator_costs_an_attempt_not_the_task(frame: Frame) -> None:
    generator = NoiseGenerator(error=lambda call: RuntimeError("out of memory") if call == 1 else None)
    sequence = make(ScriptedPlanner(plan_of("a")), generator, ScriptedCritic(True))(frame, Task("do it"))
    assert sequence.status is SequenceStatus.VERIFIED
    first, second = sequence.subgoals[0].attempts
    assert first.image is None and "out of memory" in first.error
    assert second.success


def test_a_generator_that_always_crashes_ends_failed_without_image(frame: Frame) -> None:
    generator = NoiseGenerator(error=lambda call: RuntimeError("boom"))
    sequence = make(ScriptedPlanner(plan_of("a")), generator, ScriptedCritic(True))(frame, Task("do it"))
    assert sequence.subgoals[0].status is SubgoalStatus.FAILED
    assert sequence.subgoals[0].image is None and "boom" in sequence.reason


def test_a_generator_that_returns_another_size_is_not_judged(frame: Frame) -> None:
    class Shrinking(NoiseGenerator):
        def generate(self, image, prompt, context):
            return super().generate(image, prompt, context)[:40]

    critic = ScriptedCritic(True)
    sequence = make(ScriptedPlanner(plan_of("a")), Shrinking(), critic)(frame, Task("do it"))
    assert sequence.status is SequenceStatus.FAILED and not critic.calls


def test_cancel_while_painting_ends_cancelled_and_the_open_step_is_stated(frame: Frame) -> None:
    generator, cancel = NoiseGenerator(seconds=60), threading.Event()
    threading.Thread(target=lambda: (generator.started.wait(10), cancel.set()), daemon=True).start()
    pipeline = make(ScriptedPlanner(plan_of("a", "b")), generator, ScriptedCritic(True))
    sequence = pipeline(frame, Task("do it"), cancel)
    assert sequence.status is SequenceStatus.CANCELLED
    assert [s.status for s in sequence.subgoals] == [SubgoalStatus.FAILED]


def test_the_sequence_budget_ends_expired(frame: Frame) -> None:
    pipeline = make(ScriptedPlanner(plan_of("a")), NoiseGenerator(seconds=60), ScriptedCritic(True), sequence_s=0.1)
    assert pipeline(frame, Task("do it")).status is SequenceStatus.EXPIRED


def test_an_image_over_its_own_budget_costs_an_attempt_only(frame: Frame) -> None:
    class SlowOnce(NoiseGenerator):
        def generate(self, image, prompt, context):
            self.seconds = 60 if not self.calls else 0
            return super().generate(image, prompt, context)

    pipeline = make(ScriptedPlanner(plan_of("a")), SlowOnce(), ScriptedCritic(True), image_s=0.1)
    sequence = pipeline(frame, Task("do it"))
    assert sequence.status is SequenceStatus.VERIFIED
    assert "budget" in sequence.subgoals[0].attempts[0].error


def test_events_come_in_order_and_end_once(frame: Frame) -> None:
    pipeline = make(ScriptedPlanner(plan_of("a")), NoiseGenerator(), ScriptedCritic(False, True))
    kinds = [type(event) for event in pipeline.stream(frame, Task("do it"))]
    two_attempts = [AttemptStarted, AttemptJudged] * 2
    assert kinds == [PlanReady, *two_attempts, SubgoalReady, SequenceEnded]


def test_same_input_and_seed_same_sequence_other_seed_another(frame: Frame) -> None:
    def images(seed: int) -> list[bytes]:
        pipeline = make(ScriptedPlanner(plan_of("a", "b")), NoiseGenerator(), ScriptedCritic(False, True))
        return [s.image.tobytes() for s in pipeline(frame, Task("do it", seed=seed)).subgoals]

    assert images(3) == images(3)
    assert images(3) != images(4)


def test_seeds_differ_for_every_place_in_a_task() -> None:
    seeds = [derive_seed(0, "step", step, attempt) for step in range(50) for attempt in range(10)]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**31 for seed in seeds)


@pytest.mark.parametrize("bad", [{"max_attempts": 0}, {"plan_s": 0}, {"sequence_s": float("nan")}])
def test_a_config_out_of_range_is_refused(bad: dict) -> None:
    with pytest.raises(ConfigError):
        PipelineConfig(**bad)


def test_a_plan_given_with_the_task_is_followed_and_the_planner_is_not_asked(frame: Frame) -> None:
    planner, generator = ScriptedPlanner(plan_of("never")), NoiseGenerator()
    task = Task("do it", plan=Plan.of(["open  the drawer", "put a in it"]))
    sequence = make(planner, generator, ScriptedCritic(True))(frame, task)
    assert sequence.status is SequenceStatus.VERIFIED and not planner.contexts
    assert [prompt for _, prompt, _ in generator.calls] == ["open the drawer", "put a in it"]
    assert sequence.plan == task.plan


def test_what_is_left_of_a_plan_goes_on_from_a_new_frame(frame: Frame) -> None:
    pipeline = make(
        ScriptedPlanner(plan_of("a", "b", "c")), NoiseGenerator(), ScriptedCritic(True, False), max_attempts=1
    )
    first = pipeline(frame, Task("do it"))
    assert first.status is SequenceStatus.PARTIAL and first.plan is not None
    left = first.plan.after(1)
    assert left is not None and [(s.step_number, s.instruction) for s in left.steps] == [(1, "b"), (2, "c")]
    pipeline.critic = ScriptedCritic(True)
    second = pipeline(frame, Task("do it", plan=left))
    assert second.status is SequenceStatus.VERIFIED and len(second.subgoals) == 2
    assert first.plan.after(3) is None


def test_a_given_plan_is_checked_like_a_planners(frame: Frame) -> None:
    pipeline = make(ScriptedPlanner(plan_of("a")), NoiseGenerator(), ScriptedCritic(True), max_steps=1)
    sequence = pipeline(frame, Task("do it", plan=Plan.of(["a", "b"])))
    assert sequence.status is SequenceStatus.FAILED and "at most 1" in sequence.reason
    for steps in ([], ["a", "  "], ["x" * 2001]):
        with pytest.raises(InputError):
            Plan.of(steps)
    with pytest.raises(InputError, match="no step to paint"):
        Task("do it", plan=plan_of(None, answer="I cannot"))
