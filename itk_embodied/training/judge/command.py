"""What ``itk-embodied train judge`` does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from itk_embodied.training.judge.battery import BATTERY, CONTROLS
from itk_embodied.training.judge.choose import load_judge
from itk_embodied.training.judge.validate import print_table, record_of, validate
from itk_embodied.training.shards import ShardSet


def run_validation(
    data: Path,
    *,
    judge: str = "simulator",
    cases: int = 100,
    split: str = "held-out",
    seed: int = 0,
    sheet: Path | None = None,
    json_file: Path | None = None,
) -> dict[str, Any]:
    """Validate a judge on ``cases`` random pairs of a split; prints the table, returns and writes the record."""
    chosen, shards = load_judge(judge), ShardSet(data, split)
    order = np.random.default_rng([seed, 5]).permutation(len(shards))[:cases]
    records = [shards[int(i)] for i in order]
    with tqdm(total=len(CONTROLS) + len(BATTERY), unit="kind", desc="judging", leave=False) as bar:
        table = validate(chosen, records, seed=seed, sheet=sheet, advance=lambda: bar.update() and None)
    print_table(table, f"judge: {chosen.name}; {len(records)} pairs of {data} ({split})")
    record = {"data": str(data), "split": split, "cases": len(records), **record_of(chosen, table, seed)}
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(record, indent=2) + "\n")
    return record
