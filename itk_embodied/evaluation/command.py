"""What ``itk-embodied eval`` and ``itk-embodied bench pipeline`` do."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table as TextTable

from itk_embodied.errors import InputError, did_you_mean
from itk_embodied.evaluation.ablation.parts import NoCritic, NoGenerator
from itk_embodied.evaluation.bench import bench_pipeline
from itk_embodied.evaluation.closed_loop import ClosedLoop, Episode, Goals, summary
from itk_embodied.evaluation.stats import Rate
from itk_embodied.mesa import load_triton_first
from itk_embodied.run import build_pipeline, console
from itk_embodied.types import Frame, Task
from itk_sim.scene import SceneSpec
from itk_sim.suites import SUITES, build, load_jsonl
from itk_sim.table import Table


def run_eval(
    *,
    suite: str | None,
    tasks: Path | None,
    episodes: int | None,
    stack: str,
    goals: str,
    seed: int,
    max_attempts: int | None,
    rounds: int = 1,
) -> dict[str, Any]:
    """Closed loop over a suite or a file of task lines; prints a table, returns the record."""
    if goals not in {goal.value for goal in Goals}:
        raise InputError(f"--goals {goals!r} is unknown; {did_you_mean(goals, [goal.value for goal in Goals])}")
    kind = Goals(goals)
    load_triton_first()
    lines = task_lines(suite, tasks, episodes, seed)
    # "unverified" takes the first image of every step as it comes: the generator without its critic.
    unverified = kind is not Goals.GENERATED
    attempts = 1 if unverified else max_attempts
    pipeline = build_pipeline(stack, max_attempts=attempts, continue_after_unverified=unverified or None)
    if kind in (Goals.GROUND_TRUTH, Goals.DEGRADED):
        pipeline.generator, pipeline.critic = NoGenerator(), NoCritic()
    done: list[Episode] = []
    with Table() as table, progress_bar() as progress:
        bar = progress.add_task("closed loop", total=len(lines))
        try:
            for episode in ClosedLoop(table, pipeline, kind, rounds=rounds).episodes(lines, seed):
                done.append(episode)
                rate = Rate(sum(e.success for e in done), len(done)).rate
                progress.update(bar, advance=1, description=f"closed loop, {rate:.0%} so far")
        except KeyboardInterrupt:
            console.print(
                f"[yellow]interrupted after {len(done)} of {len(lines)} episodes; those are reported[/yellow]"
            )
    record = {
        "schema_version": 1,
        "suite": suite or ("single" if tasks is None else None),
        "tasks": None if tasks is None else str(tasks),
        "stack": pipeline.stack_name,
        "goals": kind.value,
        "seed": seed,
        "max_attempts": pipeline.config.max_attempts,
        "rounds": rounds,
        **summary(done),
    }
    _print_table(done, f"goals: {kind.value}, stack: {pipeline.stack_name}")
    return record


def task_lines(suite: str | None, tasks: Path | None, episodes: int | None, seed: int) -> list[dict[str, Any]]:
    """The lines to run: of a file (all, or the first ``episodes``), or of a named suite."""
    if tasks is not None:
        lines = list(load_jsonl(tasks))
        return lines[:episodes] if episodes else lines
    name = suite or "single"
    if name not in SUITES:
        raise InputError(f"suite {name!r} is unknown; {did_you_mean(name, SUITES)}")
    return list(build(name, episodes or 100, seed))


def progress_bar() -> Progress:
    """A bar with a count and the time left."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console)


def _print_table(episodes: list[Episode], title: str) -> None:
    table = TextTable(title=title, title_justify="left")
    for heading in ("family", "episodes", "success", "95 % interval", "attempts a step"):
        table.add_column(heading, justify="left" if heading == "family" else "right")
    names = sorted({episode.family for episode in episodes})
    for name in [*names, "all"] if len(names) != 1 else names:
        some = [e for e in episodes if name in (e.family, "all")]
        rate = Rate(sum(e.success for e in some), len(some))
        steps = sum(e.steps for e in some)
        tries = f"{sum(e.attempts for e in some) / steps:.2f}" if steps else "-"
        share = "-" if rate.rate is None else f"{rate.rate:.3f}"
        table.add_row(name, str(len(some)), share, "{:.3f} to {:.3f}".format(*rate.interval), tries)
    console.print(table)
    if any(e.rounds > 1 for e in episodes):
        console.print(f"  in the first round: {sum(e.at_once for e in episodes)} of {len(episodes)}", style="dim")
    failures = [e for e in episodes if not e.success]
    for episode in failures[:5]:
        console.print(f"  {episode.id}: {episode.task!r}: {episode.why}", style="dim")
    if len(failures) > 5:
        console.print(f"  … and {len(failures) - 5} more failures in the JSON", style="dim")


def run_bench_pipeline(*, stack: str, tasks: int, seed: int) -> dict[str, Any]:
    """Time ``tasks`` tasks of the simulated table, after one warm-up."""
    load_triton_first()
    pipeline = build_pipeline(stack)
    lines = task_lines("single", None, tasks + 1, seed)
    with Table() as table, progress_bar() as progress:
        bar = progress.add_task("tasks", total=tasks + 1)

        def frames() -> Iterator[tuple[Frame, Task]]:
            for line in itertools.islice(lines, tasks + 1):
                table.reset(SceneSpec.from_json(line["scene"]))
                yield Frame(table.render("front", 256)), Task(line["text"], seed=seed)
                progress.advance(bar)

        record = bench_pipeline(pipeline.planner, pipeline.generator, pipeline.critic, frames())
    total = sum(record["seconds"].values())
    for role, seconds in record["seconds"].items():
        console.print(f"  {role:<10} {seconds:8.2f} s  {seconds / total:6.1%}")
    return {"stack": pipeline.stack_name, "seed": seed, **record}
