"""Measures every row of the ablation, one file each: a stopped run goes on with the rows that are missing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.progress import Progress

from itk_embodied.agents.base import Critic
from itk_embodied.agents.stacks import Stack, load_stack
from itk_embodied.errors import ConfigError, InputError
from itk_embodied.evaluation.ablation.painted import drawn, paint_steps, summarise
from itk_embodied.evaluation.ablation.variants import Variant, assemble, variants
from itk_embodied.evaluation.closed_loop import ClosedLoop, summary
from itk_embodied.pipeline import PipelineConfig
from itk_embodied.training.judge import Judge, load_judge
from itk_embodied.training.shards import Record, ShardSet
from itk_sim.suites import SUITES, build
from itk_sim.table import Table


@dataclass(frozen=True)
class Ablation:
    """What is measured.

    Attributes:
        stack: whose agents the rows are made of.
        critics: further critics by name, each the critic of a stack: ``{"rl": "runs/critic-rl/stack.toml"}``.
        data: folder of the pairs, whose held-out part is painted. steps: how many of them.
        suites: closed-loop suites. episodes: tasks of each, on the same scenes in every row.
        only: rows to measure; none: all.
    """

    out: Path
    stack: str = "embedded"
    critics: Mapping[str, str] = field(default_factory=dict)
    data: Path = Path("data/pairs")
    steps: int = 200
    suites: tuple[str, ...] = ("single", "multi")
    episodes: int = 200
    seed: int = 0
    judge: str = "simulator"
    only: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        unknown = [name for name in self.suites if name not in SUITES]
        if unknown:
            raise InputError(f"suite {unknown[0]!r} is unknown; allowed: {', '.join(SUITES)}")
        if "own" in self.critics:
            raise InputError("a critic cannot be named 'own': that is the stack's; choose another name.")

    @property
    def settings(self) -> dict[str, Any]:
        """What must be equal for a row measured earlier to be kept."""
        return {
            "stack": self.stack,
            "steps": self.steps,
            "suites": list(self.suites),
            "episodes": self.episodes,
            "seed": self.seed,
            "judge": self.judge,
        }


def run_ablation(config: Ablation, progress: Progress) -> dict[str, Any]:
    """Measure what is missing; returns all rows. Raises ConfigError, InputError."""
    stack = load_stack(config.stack)
    critics: dict[str, Critic] = {"own": stack.critic}
    critics |= {name: load_stack(other).critic for name, other in config.critics.items()}
    rows = _wanted(variants(config.critics), config.only)
    cells = config.out / "rows"
    cells.mkdir(parents=True, exist_ok=True)
    todo = [row for row in rows if _kept(cells / f"{row.slug}.json", config) is None]
    if todo:
        shards = ShardSet(config.data, "held-out")
        records = drawn(shards, config.steps, config.seed) if len(shards) else []
        if config.steps and not records:
            hint = "make some (itk-embodied train data pairs) or give --steps 0"
            raise ConfigError(f"{config.data} has no held-out pairs; {hint}.")
        with Table() as table:
            _measure(config, stack, critics, todo, records, table, progress)
    found = [_kept(cells / f"{row.slug}.json", config) for row in rows]
    return {**config.settings, "critics": dict(config.critics), "rows": [row for row in found if row is not None]}


def _wanted(rows: Sequence[Variant], only: Sequence[str]) -> list[Variant]:
    names = [row.name for row in rows]
    unknown = [name for name in only if name not in names]
    if unknown:
        raise InputError(f"there is no row {unknown[0]!r}; rows: {'; '.join(names)}")
    return [row for row in rows if not only or row.name in only]


def _kept(path: Path, config: Ablation) -> dict[str, Any] | None:
    """A row measured before with the same settings."""
    try:
        row = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return row if row.get("settings") == config.settings else None


def _measure(
    config: Ablation,
    stack: Stack,
    critics: Mapping[str, Critic],
    rows: Sequence[Variant],
    records: Sequence[Record],
    table: Table,
    progress: Progress,
) -> None:
    judge = load_judge(config.judge)
    lines = {name: list(build(name, config.episodes, config.seed)) for name in config.suites}
    per_row = sum(map(len, lines.values()))
    whole = progress.add_task("ablation", total=sum(per_row + len(records) * row.painted for row in rows))
    base = PipelineConfig(**stack.settings)
    for row in rows:
        pipeline = assemble(row, stack.planner, stack.generator, critics, base)
        measured: dict[str, Any] = {"name": row.name, "settings": config.settings, "painted": None, "closed_loop": {}}
        if row.painted and records:
            progress.update(whole, description=f"{row.name}: steps")
            measured["painted"] = _painted(row, pipeline, records, judge, config.seed, progress, whole)
        for suite, tasks in lines.items():
            progress.update(whole, description=f"{row.name}: {suite}")
            episodes = []
            for episode in ClosedLoop(table, pipeline, row.goals).episodes(tasks, config.seed):
                episodes.append(episode)
                progress.advance(whole)
            measured["closed_loop"][suite] = summary(episodes)
        path = config.out / "rows" / f"{row.slug}.json"
        staging = path.with_suffix(".partial")
        staging.write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
        staging.replace(path)


def _painted(
    row: Variant, pipeline: Any, records: Sequence[Record], judge: Judge, seed: int, progress: Progress, task: Any
) -> dict[str, Any]:
    steps = paint_steps(
        pipeline,
        records,
        judge,
        planned=row.planner,
        judged=row.critic is not None and row.seeds == 1,
        calls_per_attempt=row.seeds,
        seed=seed,
        tick=lambda: progress.advance(task),
    )
    return summarise(list(steps))
