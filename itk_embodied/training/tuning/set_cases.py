"""Cases from the ``critic_rl`` training set: trajectories already cut into steps, filtered and judged."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from itk_embodied.errors import InputError
from itk_embodied.training.sets.schema import load_set
from itk_embodied.training.shards import ShardSet
from itk_embodied.training.tuning.cases import Case
from itk_embodied.training.tuning.rewards import Scores
from itk_embodied.types import as_image


@dataclass
class SetCases:
    """Random access to a set's rows. ``truth``: the shards that its rows name, for a judge that needs ground truth."""

    rows: Any
    truth: ShardSet | None

    @classmethod
    def load(cls, folder: Path, truth: Path | None, count: int | None, seed: int) -> SetCases:
        """The first ``count`` of the rows in an order fixed by seed. Raises InputError: no such set, or no rows."""
        rows = load_set(folder, "critic_rl")
        if not len(rows):
            raise InputError(f"{folder} has a critic_rl set without rows; make more: itk-embodied train data sets")
        order = np.random.default_rng([seed, 67]).permutation(len(rows))[:count]
        return cls(rows.select(order), ShardSet(truth) if truth is not None else None)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Case:
        """Raises InputError: ``truth`` lacks the row's ground truth."""
        row = self.rows[int(index)]
        before, after = (as_image(np.asarray(picture.convert("RGB"))) for picture in row["images"][-2:])
        return Case(
            key=f"{row['shard']}:{row['row']}:{row['attempt']}:{row['seed']}",
            before=before,
            after=after,
            instruction=row["instruction"],
            prompt=row["generator_prompt"],
            success=row["success"],
            record=None if self.truth is None else self.truth.record(row["shard"], row["row"]),
            scores=Scores(row["semantics"], row["quality"]),
            messages=tuple({"role": turn["role"], "content": turn["content"]} for turn in row["prompt"]),
        )
