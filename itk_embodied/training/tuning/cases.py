"""What the critic is trained on by reinforcement: single refinement steps, each with a painting that was really made.

Whole trajectories are cut into such steps, so training needs no long roll-outs. They come from the pictures that the
generator painted over the simulator's pairs (see `itk_embodied.training.critic_generated`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from itk_embodied.errors import InputError
from itk_embodied.training.critic_generated import read_kept
from itk_embodied.training.rollouts.lines import JudgeLine
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
    _files: dict[str, tuple[list[tuple[str, int]], list[JudgeLine], np.ndarray]] = field(default_factory=dict)
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
            names, judged, _ = cases._read(path.name)
            for number, (name, one) in enumerate(zip(names, judged, strict=True)):
                if name in cases._rows:
                    by_truth[one.success].append(f"{path.name}:{number}")
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
        names, judged, images = self._read(name)
        row = self._rows.get(names[int(number)])
        if row is None:
            raise InputError(f"the pair of painting {key} is not in {self.shards.folder}; was data removed?")
        record = self.shards[row]
        said = instruction(record.step)
        return Case(key, record.before, images[int(number)], said, said, judged[int(number)].success, record)

    def _read(self, name: str) -> tuple[list[tuple[str, int]], list[JudgeLine], np.ndarray]:
        if name not in self._files:
            try:
                self._files[name] = read_kept(self.folder / name)
            except FileNotFoundError:
                raise InputError(f"the paintings {self.folder / name} are there no more; was data removed?") from None
        return self._files[name]
