"""What the critic is trained on by reinforcement: single refinement steps, each with a painting that was really made.

Whole trajectories are cut into such steps, so training needs no long roll-outs. They come from the pictures that the
generator painted over the simulator's pairs (see `itk_embodied.training.critic_generated`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np

from itk_embodied.errors import InputError
from itk_embodied.training.judge.edit import EditCheck
from itk_embodied.training.shards import Record, ShardSet
from itk_embodied.training.tuning.rewards import Scores
from itk_embodied.types import Image
from itk_sim.language import instruction


@dataclass(frozen=True, eq=False)
class Case:
    """One step of a trajectory.

    Attributes:
        key: its name, the same in every run.
        before, after: uint8 RGB (H, W, 3): the picture it started from, and what was painted.
        instruction, prompt: what was asked for; what the generator was told.
        success: whether the painting is right: J.
        record: the simulator's ground truth, where there is one.
        scores: a judge's word on ``after``, where it was asked before.
        messages: how the critic is asked, where that is settled: ``{"role", "content"}`` each.
    """

    key: str
    before: Image
    after: Image
    instruction: str
    prompt: str
    success: bool
    record: Record | None = None
    scores: Scores | None = None
    messages: tuple[dict[str, str], ...] = ()


@dataclass
class PaintedCases:
    """Cases from shards and paintings, read when they are asked for; ``keys`` are ``file:number``."""

    shards: ShardSet
    folder: Path
    keys: list[str]
    _files: dict[str, tuple[list[list[object]], list[EditCheck], np.ndarray]] = field(default_factory=dict)
    _rows: dict[tuple[str, int], int] = field(default_factory=dict)

    @classmethod
    def choose(cls, data: Path, folder: Path, count: int | None, true_share: float, seed: int) -> PaintedCases:
        """Draw ``count`` cases (None: as many as there are), ``true_share`` of them right, in an order fixed by seed.

        Raises:
            InputError: there are no paintings, or none right or wrong where the share asks for them.
        """
        cases = cls(ShardSet(data), folder, [])
        if not len(cases.shards):
            raise InputError(f"{data} has no pairs; make some: itk-embodied train data pairs --out {data}")
        by_truth: dict[bool, list[str]] = {True: [], False: []}
        for path in sorted(folder.glob(f"{cases.shards.split}-*.npz")):
            names, checks, _ = cases._read(path.name)
            for number, (name, check) in enumerate(zip(names, checks, strict=True)):
                if tuple(name) in cases._rows:
                    by_truth[check.ok].append(f"{path.name}:{number}")
        rng = np.random.default_rng([seed, 61])
        shares = {True: true_share, False: 1 - true_share}
        for truth, share in shares.items():
            if share and not by_truth[truth]:
                raise InputError(
                    f"{folder} holds no paintings that are {'right' if truth else 'wrong'}; paint some: "
                    f"python -m itk_embodied.training.critic_generated --data {data} --out {folder}"
                )
        most = min(int(len(by_truth[truth]) / share) for truth, share in shares.items() if share)
        total = most if count is None else min(count, most)
        wanted = {True: round(total * true_share)}
        wanted[False] = total - wanted[True]
        chosen = [str(key) for truth in shares for key in rng.permutation(by_truth[truth])[: wanted[truth]]]
        return cls.of(data, folder, [str(key) for key in rng.permutation(chosen)])

    @classmethod
    def of(cls, data: Path, folder: Path, keys: Sequence[str]) -> PaintedCases:
        """The cases of these names."""
        return cls(ShardSet(data), folder, list(keys))

    def __post_init__(self) -> None:
        self._rows = {key: row for row, key in enumerate(self.shards.keys)}

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, index: int) -> Case:
        """Raises InputError: the painting or its pair is there no more."""
        key = self.keys[index]
        name, _, number = key.partition(":")
        names, checks, images = self._read(name)
        where = names[int(number)]
        row = self._rows.get((str(where[0]), int(str(where[1]))))
        if row is None:
            raise InputError(f"the pair of painting {key} is not in {self.shards.folder}; was data removed?")
        record = self.shards[row]
        said = instruction(record.step)
        return Case(key, record.before, images[int(number)], said, said, checks[int(number)].ok, record)

    def _read(self, name: str) -> tuple[list[list[object]], list[EditCheck], np.ndarray]:
        if name not in self._files:
            try:
                with np.load(self.folder / name, allow_pickle=False) as file:
                    names, checks = json.loads(str(file["about"]))
                    self._files[name] = names, msgspec.convert(checks, list[EditCheck]), file["images"]
            except FileNotFoundError:
                raise InputError(f"the paintings {self.folder / name} are there no more; was data removed?") from None
        return self._files[name]
