"""The data card (README.md, as model hubs read it) and the picture sheet of a folder of sets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from itk_embodied.training.sets.schema import SET_NAMES, load_set, set_file
from itk_embodied.training.sets.write import FILE_NAMES
from itk_embodied.training.sheets import Cell, write_sheet

SHEET_FILE, SHOWN = "sheet.png", 8


def write_card(out: Path, record: Mapping[str, Any]) -> Path:
    """Write ``README.md`` and ``sheet.png``."""
    splits = list(record["rows"])
    write_set_sheet(out, splits[0], record["rows"][splits[0]])
    made, filters = record["rollouts"], record["filters"]
    rows = "\n".join(
        f"| {name} | " + " | ".join(str(record["rows"][split][name]) for split in splits) + " |" for name in FILE_NAMES
    )
    lines = [
        _front_matter(record["rows"]),
        "# Training sets for planner and critic of visual subgoals",
        "",
        "Made by this package from trajectories in its simulator: planner, generator and critic try a task; a judge "
        "scores every picture (semantics, quality, overall; 0 to 10).",
        "",
        f"- Trajectories: stack `{made['stack']}`, judge `{made['judge']}`, {made['attempts']} pictures a step, "
        f"{made['misled']:.0%} of the steps begun with a wrong prompt on purpose, {made['image_px']} px, "
        f"seed {made['seed']}.",
        f"- Texts: style `{record['settings']['style']}`. Made from {_shards(record['shards'])}.",
        "- The held-out split has other scenes and other wordings than the training split.",
        "",
        "| rows | " + " | ".join(splits) + " |",
        "| --- |" + " ---: |" * len(splits),
        rows,
        "",
        "## What the filters did",
        "",
        *_filters(filters),
        "",
        _limits(record["settings"]["filters"]),
        "",
        "## Use",
        "",
        "```python",
        "from datasets import load_dataset",
        f'rows = load_dataset("parquet", data_files="{set_file(Path("."), "critic_sft", splits[0])}")["train"]',
        "```",
        "",
        "Columns: `itk_embodied.training.sets.schema`. `critic_rl` has `prompt` without an answer; `shard` and `row` "
        "name the ground truth of a step in the rollouts, so that another judge can score again.",
        "",
        f"![samples]({SHEET_FILE})",
        "",
    ]
    path = out / "README.md"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def _front_matter(rows: Mapping[str, Mapping[str, int]]) -> str:
    splits = list(rows)
    lines = ["---", "license: apache-2.0", "task_categories: [image-text-to-text]", "configs:"]
    for name in FILE_NAMES:
        filled = [split for split in splits if rows[split][name]]
        lines += [f"- config_name: {name}", "  data_files:"] if filled else []
        for split in filled:
            file = set_file(Path("."), name, split)
            lines.append(f"  - {{split: {split.replace('-', '_')}, path: {file}}}")
    return "\n".join([*lines, "---", ""])


def _shards(shards: Mapping[str, Any]) -> str:
    return " and ".join(f"{len(numbers)} shards ({split})" for split, numbers in shards.items() if numbers)


def _filters(filters: Mapping[str, Any]) -> list[str]:
    lines = []
    for split, counts in filters.items():
        lines.append(f"{split}: {counts['steps']} steps.")
        lines.append("")
        for what in ("steps_dropped", "steps_kept", "rows_dropped", "rows", "true"):
            told = ", ".join(f"{name} {n}" for name, n in sorted(counts[what].items())) or "none"
            lines.append(f"- {what.replace('_', ' ')}: {told}")
        lines.append("")
    return lines[:-1]


def _limits(settings: Mapping[str, Any]) -> str:
    """What the filters were set to."""
    filtered, numbers = settings["filtered"], {k: v for k, v in settings.items() if k != "filtered"}
    if not filtered:  # what is not heeded is not told
        numbers = {name: numbers[name] for name in ("ratio", "true_share", "seed")}
    told = ", ".join(f"{name} {value:g}" for name, value in numbers.items())
    planner = "Planner rows are not filtered; each is cut at a random step."
    if filtered:
        return f"{planner} Limits: {told}."
    how = "**The critic's rows are not filtered either**: steps of every trend, level and variance are in them, split "
    return f"{planner} {how}by lot between supervised and reinforcement. Balanced by: {told}."


def write_set_sheet(out: Path, split: str, counts: Mapping[str, int]) -> Path | None:
    """Some samples of every set; None where all are empty."""
    rows: list[tuple[str, list[Cell]]] = []
    for name in (name for name in SET_NAMES if counts[name]):
        data = load_set(out, name, split)
        cells: list[Cell] = []
        step = max(1, len(data) // SHOWN)
        for row in data.select(range(0, len(data), step)).select(range(min(SHOWN, -(-len(data) // step)))):
            pictures = [np.asarray(picture.convert("RGB")) for picture in row["images"]]
            if name == "planner_sft":
                cells.append((pictures[-1], f"{row['steps']} to go: {row['task']}"))
            else:
                verdict = "right" if row["success"] else "wrong"
                cells += [(pictures[0], row["instruction"]), (pictures[1], f"{verdict} {row['overall']:.1f}")]
        rows.append((f"{name}, {len(data)} rows", cells))
    return write_sheet(out / SHEET_FILE, rows) if rows else None
