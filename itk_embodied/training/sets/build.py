"""The stages that make the sets from rollouts: survey every step, filter and balance, write rows, merge, card.

Every stage can be stopped: rows are written a shard at a time beside the result, and a second run takes up what is
there. A folder that is whole and was made the same way is left alone.
"""

from __future__ import annotations

import hashlib
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from tqdm import tqdm

from itk_embodied.errors import InputError
from itk_embodied.training.fanout import fan_out, ray_session
from itk_embodied.training.rollouts.store import RolloutSet
from itk_embodied.training.sets.card import write_card
from itk_embodied.training.sets.extract import RowMaker, Survey
from itk_embodied.training.sets.filters import Chosen, FilterSettings, StepScores, choose, merged
from itk_embodied.training.sets.schema import set_file
from itk_embodied.training.sets.texts import Texts
from itk_embodied.training.sets.write import FILE_NAMES, merge_parts

RECORD_FILE = "sets.json"
SPLITS = ("train", "held-out")


@dataclass(frozen=True)
class SetSettings:
    """``style``, ``planner_prompt``, ``critic_prompt``: see `itk_embodied.training.sets.texts.Texts`."""

    style: str = "embedded"
    planner_prompt: str = ""
    critic_prompt: str = ""
    seed: int = 0
    filters: FilterSettings = field(default_factory=FilterSettings)


def build_sets(
    rollouts: Path, out: Path, settings: SetSettings, *, workers: int = 1, ray: bool = False, progress: bool = True
) -> dict[str, Any]:
    """Make the three sets and both exports of whole sequences, of every split that has shards; returns the record.

    Raises:
        InputError: there are no whole shards.
    """
    Texts.of(settings.style, settings.planner_prompt, settings.critic_prompt)  # a wrong name should not cost a survey
    source = RolloutSet(rollouts)
    shards = {split: source.shards(split) for split in SPLITS}
    if not any(shards.values()):
        raise InputError(f"{rollouts} has no whole shard; make some: itk-embodied train data rollouts --out {rollouts}")
    made_from = {
        "rollouts": asdict(source.settings),
        "shards": shards,
        "settings": asdict(settings),
    }
    name = hashlib.sha256(msgspec.json.encode(made_from)).hexdigest()[:12]
    there = _read(out / RECORD_FILE)
    if there is not None and there.get("made") == name:
        return there
    parts = out / f".parts-{name}"
    rows: dict[str, dict[str, int]] = {}
    chosen: dict[str, Chosen] = {}
    with ray_session(workers) if ray else nullcontext():
        for split, numbers in shards.items():
            if numbers:
                say = _bar(progress, split)
                chosen[split] = _survey(rollouts, numbers, settings, workers, ray, say)
                rows[split] = _rows(rollouts, numbers, settings, chosen[split], parts, workers, ray, say)
                for file in FILE_NAMES:
                    merge_parts(parts, file, numbers, set_file(out, file, split))
    record: dict[str, Any] = {
        "schema_version": 1,
        "made": name,
        **msgspec.to_builtins(made_from),
        "rows": rows,
        "filters": merged(chosen),
    }
    write_card(out, record)
    _write(out / RECORD_FILE, record)
    shutil.rmtree(parts, ignore_errors=True)
    return record


def _survey(
    rollouts: Path, numbers: Sequence[int], settings: SetSettings, workers: int, ray: bool, say: Callable[..., tqdm]
) -> Chosen:
    steps: list[StepScores] = []
    with say("survey", len(numbers)) as bar:
        for done in fan_out(numbers, Survey(str(rollouts.resolve())), workers=workers, ray=ray):
            steps += [msgspec.convert(step, StepScores) for step in msgspec.to_builtins(done["steps"])]
            bar.update()
    return choose(steps, settings.filters)


def _rows(
    rollouts: Path,
    numbers: Sequence[int],
    settings: SetSettings,
    chosen: Chosen,
    parts: Path,
    workers: int,
    ray: bool,
    say: Callable[..., tqdm],
) -> dict[str, int]:
    work = RowMaker(
        str(rollouts.resolve()),
        str(parts.resolve()),
        settings.style,
        settings.planner_prompt,
        settings.critic_prompt,
        settings.seed,
        chosen.rows,
    )
    counts: Counter[str] = Counter()
    with say("rows", len(numbers)) as bar:
        for done in fan_out(numbers, work, workers=workers, ray=ray):
            counts.update({file: int(done[file]) for file in FILE_NAMES})
            bar.update()
    return dict(counts)


def _bar(progress: bool, split: str) -> Callable[..., tqdm]:
    def say(what: str, total: int) -> tqdm:
        return tqdm(total=total, unit="shard", desc=f"{split}: {what}", disable=not progress)

    return say


def print_counts(record: Mapping[str, Any]) -> None:
    """The rows of every file, and what the filters dropped."""
    for split, rows in record["rows"].items():
        print(f"{split}: " + ", ".join(f"{name} {count}" for name, count in rows.items()))
        counts = record["filters"][split]
        for what in ("steps_dropped", "rows_dropped"):
            for reason, count in sorted(counts[what].items()):
                print(f"  {what.replace('_', ' ')}: {count} {reason}")


def _read(path: Path) -> dict[str, Any] | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.MsgspecError):
        return None


def _write(path: Path, record: dict[str, Any]) -> None:
    staging = path.with_suffix(".partial")
    staging.write_bytes(msgspec.json.format(msgspec.json.encode(record)) + b"\n")
    staging.replace(path)
