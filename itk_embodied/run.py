"""What ``itk-embodied run`` and ``itk-embodied check`` do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from itk_embodied.agents.stacks import load_stack
from itk_embodied.images import load_image
from itk_embodied.pipeline import PipelineConfig, VisualSubgoalPipeline
from itk_embodied.records import check_out_dir, write_sequence
from itk_embodied.types import (
    AttemptJudged,
    AttemptStarted,
    Event,
    Frame,
    Plan,
    PlanReady,
    SequenceEnded,
    SequenceStatus,
    SubgoalReady,
    SubgoalSequence,
    Task,
)

console = Console(stderr=True, highlight=False)


def build_pipeline(stack: str, **overrides: Any) -> VisualSubgoalPipeline:
    """The pipeline of a named stack or a stack file, its models loaded.

    ``overrides`` are fields of `PipelineConfig`; those that are None leave the stack's own setting, or the default.
    """
    loaded = load_stack(stack)
    chosen = {name: value for name, value in overrides.items() if value is not None}
    config = PipelineConfig(**{**loaded.settings, **chosen})
    return VisualSubgoalPipeline(loaded.planner, loaded.generator, loaded.critic, config, stack_name=loaded.name)


def run_once(
    image: Path,
    task: str,
    out: Path,
    *,
    stack: str,
    seed: int,
    max_attempts: int | None = None,
    steps: Sequence[str] | None = None,
) -> bool:
    """One picture, one sentence, one folder. ``steps``: a plan of the caller's. True where every step is verified."""
    frame = Frame(load_image(image), frame_id=image.stem)
    wanted = Task(task, seed=seed, plan=Plan.of(steps) if steps else None)
    check_out_dir(out)
    with console.status(f"loading stack {stack}"):
        pipeline = build_pipeline(stack, max_attempts=max_attempts)
    sequence = follow(pipeline, frame, wanted)
    write_sequence(sequence, out)
    from itk_embodied.display.report import write_report

    write_report(out / "report.html", sequence)
    console.print(sentence(sequence))
    console.print(f"wrote {out / 'report.html'} and {out / 'sequence.json'}")
    return sequence.status is SequenceStatus.VERIFIED


def follow(pipeline: VisualSubgoalPipeline, frame: Frame, task: Task) -> SubgoalSequence:
    """Run a task and show its progress on the terminal."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("planning", total=None)
        for event in pipeline.stream(frame, task):
            show(event, progress, bar)
            if isinstance(event, SequenceEnded):
                return event.sequence
    raise AssertionError("a stream always ends with SequenceEnded")


def show(event: Event, progress: Progress, bar: TaskID) -> None:
    """One event as one line or a moved bar."""
    if isinstance(event, PlanReady):
        progress.update(bar, total=len(event.plan.image_steps))
        for step in event.plan.image_steps:
            progress.console.print(f"  plan {step.step_number}. {step.instruction}")
    elif isinstance(event, AttemptStarted):
        progress.update(bar, description=f"step {event.step.step_number}, attempt {event.attempt}: {event.prompt}")
    elif isinstance(event, AttemptJudged):
        word = "accepted" if event.attempt.success else "rejected" if event.attempt.verdict else event.attempt.error
        score = f" (score {event.attempt.score:.2f})" if event.attempt.verdict else ""
        progress.console.print(f"  step {event.step.step_number}, attempt {event.attempt.attempt}: {word}{score}")
    elif isinstance(event, SubgoalReady):
        progress.advance(bar)


def sentence(sequence: SubgoalSequence) -> str:
    """How it went, in a sentence."""
    attempts = f"{sequence.attempts} attempt{'' if sequence.attempts == 1 else 's'}"
    if sequence.status is SequenceStatus.VERIFIED:
        count = len(sequence.subgoals)
        goals = f"{count} verified goal image{'' if count == 1 else 's'}"
        first_s = f"the first after {sequence.first_subgoal_s:.1f} s"
        return f"{goals} in {attempts}: {first_s}, all after {sequence.total_s:.1f} s."
    return f"{sequence.status} after {attempts} and {sequence.total_s:.1f} s: {sequence.reason}"


def run_check(stack: str) -> dict[str, Any]:
    """Run the conformance checks on a stack and print what they found."""
    from itk_embodied.agents.conformance import check_stack

    with console.status(f"loading stack {stack}"):
        loaded = load_stack(stack)
    reports = check_stack(loaded)
    for report in reports:
        for name, problem in report.results.items():
            mark = "[red]failed[/red]" if problem else "[green]passed[/green]"
            console.print(f"  {report.role:<10} {name:<44} {mark}{'  ' + problem if problem else ''}")
    passed = all(report.passed for report in reports)
    console.print(f"stack {loaded.name}: {'conforms' if passed else 'does NOT conform'}")
    return {
        "stack": loaded.name,
        "passed": passed,
        "roles": {report.role: dict(report.results) for report in reports},
    }
