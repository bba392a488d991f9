"""Measures every row of the ablation, one file each: a stopped run goes on with what is missing.

``rows/NAME.json`` is a whole row, ``rows/NAME.jsonl`` what a row has so far; ``batteries/`` has the same for critics.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rich.progress import Progress, TaskID

from itk_embodied.errors import ConfigError, InputError
from itk_embodied.evaluation.ablation.agents import Agents, load_agents
from itk_embodied.evaluation.ablation.battery import ask_all, shown
from itk_embodied.evaluation.ablation.config import Ablation
from itk_embodied.evaluation.ablation.journal import Journal
from itk_embodied.evaluation.ablation.painted import PaintedStep, drawn, paint_steps, summarise
from itk_embodied.evaluation.ablation.paired import differences
from itk_embodied.evaluation.ablation.variants import JUDGE, Variant, assemble, variants
from itk_embodied.evaluation.closed_loop import ClosedLoop, Episode, summary
from itk_embodied.pipeline import VisualSubgoalPipeline
from itk_embodied.training.judge import Judge, load_judge
from itk_embodied.training.shards import Record, ShardSet
from itk_sim.suites import build
from itk_sim.table import Table


def run_ablation(config: Ablation, progress: Progress) -> dict[str, Any]:
    """Measure what is missing; returns what `collected` does. Raises ConfigError, InputError."""
    rows = wanted(config)
    todo = [row for row in rows if _kept(_row_file(config, row), config.row_settings(row)) is None]
    critics = [name for name in _critics(config, rows) if _battery(config, name) is None]
    if todo or critics:
        for folder in ("rows", "batteries"):
            (config.out / folder).mkdir(parents=True, exist_ok=True)
        _Measuring(config, todo, critics, progress).run()
    return collected(config)


def collected(config: Ablation) -> dict[str, Any]:
    """All that has been measured with these settings, whole rows only, in the table's order."""
    rows = []
    for row in wanted(config):
        found = _kept(_row_file(config, row), config.row_settings(row))
        if found is not None:
            battery = None if row.critic in (None, JUDGE) else _battery(config, str(row.critic))
            rows.append(found | {"critic": row.critic, "battery": battery})
    return {
        **config.settings,
        "critics": dict(config.critics),
        "one_agent": config.one_agent,
        "battery": config.battery,
        "rows": rows,
        "differences": differences(rows, config.suites),
    }


def wanted(config: Ablation) -> list[Variant]:
    """The rows asked for. Raises InputError: there is no such row, or two would share a file."""
    rows = variants(config.critics, one_agent=config.one_agent is not None)
    names = [row.name for row in rows]
    unknown = [name for name in config.only if name not in names]
    if unknown:
        raise InputError(f"there is no row {unknown[0]!r}; rows: {'; '.join(names)}")
    files: dict[str, str] = {}
    for row in rows:
        other = files.setdefault(row.slug, row.name)
        if other != row.name:
            raise InputError(f"rows {other!r} and {row.name!r} are too much alike for files' names; rename a critic.")
    return [row for row in rows if not config.only or row.name in config.only]


def _critics(config: Ablation, rows: Sequence[Variant]) -> list[str]:
    """Every critic of these rows, once."""
    named = dict.fromkeys(row.critic for row in rows if row.critic not in (None, JUDGE))
    return [str(name) for name in named] if config.battery else []


def _row_file(config: Ablation, row: Variant) -> Path:
    return config.out / "rows" / f"{row.slug}.json"


def _battery_file(config: Ablation, critic: str) -> Path:
    return config.out / "batteries" / f"{Variant(critic).slug}.json"


def _battery(config: Ablation, critic: str) -> dict[str, Any] | None:
    return _kept(_battery_file(config, critic), config.battery_settings(critic)) if config.battery else None


def _kept(path: Path, settings: Mapping[str, Any]) -> dict[str, Any] | None:
    """What was measured before with the same settings."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if found.get("settings") == settings else None


def _keep(path: Path, settings: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    staging = path.with_suffix(".partial")
    staging.write_text(json.dumps({**found, "settings": settings}, indent=1) + "\n", encoding="utf-8")
    staging.replace(path)


class _Measuring:
    """One run over the rows and critics that are missing."""

    def __init__(self, config: Ablation, rows: Sequence[Variant], critics: Sequence[str], progress: Progress) -> None:
        self.config, self.rows, self.critics, self.progress = config, rows, critics, progress
        self.task: TaskID

    def run(self) -> None:
        config = self.config
        agents = load_agents(config)
        shards = ShardSet(config.data, "held-out")
        if (config.steps or self.critics) and not len(shards):
            hint = "make some (itk-embodied train data pairs) or give --steps 0 --battery 0"
            raise ConfigError(f"{config.data} has no held-out pairs; {hint}.")
        records = drawn(shards, config.steps, config.seed) if config.steps else []
        pictures = shown(drawn(shards, config.battery, config.seed), config.seed) if self.critics else []
        lines = {name: list(build(name, config.episodes, config.seed)) for name in config.suites}
        total = len(pictures) * len(self.critics)
        episodes = sum(map(len, lines.values()))
        total += sum(episodes * row.closed + len(records) * row.painted for row in self.rows)
        self.task = self.progress.add_task("ablation", total=total)
        for name in self.critics:
            self._say(f"critic {name}: battery")
            settings = config.battery_settings(name)
            path = _battery_file(config, name)
            with Journal(path.with_suffix(".jsonl"), settings) as journal:
                _keep(path, settings, ask_all(agents.critics[name], pictures, journal, config.seed, self._tick))
                journal.remove()
        if self.rows:
            with ExitStack() as held:
                table, judge = held.enter_context(Table()), load_judge(config.judge)
                for row in self.rows:
                    self._row(row, agents, records, lines, table, judge)

    def _row(
        self,
        row: Variant,
        agents: Agents,
        records: Sequence[Record],
        lines: Mapping[str, Sequence[Mapping[str, Any]]],
        table: Table,
        judge: Judge,
    ) -> None:
        pipeline = assemble(row, agents.planners, agents.generator, agents.critics, agents.base)
        settings, path = self.config.row_settings(row), _row_file(self.config, row)
        measured: dict[str, Any] = {"name": row.name, "painted": None, "closed_loop": {}}
        with Journal(path.with_suffix(".jsonl"), settings) as journal:
            if row.painted and records:
                self._say(f"{row.name}: steps")
                measured["painted"] = self._paint(row, pipeline, records, judge, journal)
            for suite, tasks in lines.items() if row.closed else ():
                self._say(f"{row.name}: {suite}")
                loop = ClosedLoop(table, pipeline, row.goals)
                measured["closed_loop"][suite] = self._close(loop, suite, tasks, journal)
            _keep(path, settings, measured)
            journal.remove()

    def _paint(
        self,
        row: Variant,
        pipeline: VisualSubgoalPipeline,
        records: Sequence[Record],
        judge: Judge,
        journal: Journal,
    ) -> dict[str, Any]:
        def there(number: int) -> bool:
            return f"step {number}" in journal

        self._tick(sum(map(there, range(len(records)))))
        for step in paint_steps(
            pipeline,
            records,
            judge,
            planned=row.planner is not None,
            judged=row.critic is not None and row.seeds == 1,
            truly=row.critic == JUDGE,
            calls_per_attempt=row.seeds,
            seed=self.config.seed,
            skipped=there,
        ):
            journal.put(f"step {step.number}", step)
            self._tick()
        return summarise([journal.get(f"step {number}", PaintedStep) for number in range(len(records))])

    def _close(
        self, loop: ClosedLoop, suite: str, tasks: Sequence[Mapping[str, Any]], journal: Journal
    ) -> dict[str, Any]:
        for number, line in enumerate(tasks):
            key = f"{suite} {number}"
            if key not in journal:
                journal.put(key, loop.episode(line, self.config.seed))
            self._tick()
        return summary([journal.get(f"{suite} {number}", Episode) for number in range(len(tasks))])

    def _say(self, what: str) -> None:
        self.progress.update(self.task, description=what)

    def _tick(self, count: int = 1) -> None:
        self.progress.advance(self.task, count)
