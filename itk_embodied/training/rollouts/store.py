"""Reading rollouts back: trajectories with their pictures, and the ground truth to judge by."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np

from itk_embodied.errors import InputError
from itk_embodied.training.rollouts.lines import TrajectoryLine
from itk_embodied.training.rollouts.make import LINES_FILE, RolloutSettings, read_settings
from itk_embodied.training.shards import Record, ShardSet, is_held_out, shard_folder
from itk_embodied.types import Image


@dataclass(frozen=True, eq=False)
class Trajectory:
    """A trajectory of a shard. ``image``, ``record``: what its numbers stand for."""

    shard: str
    line: TrajectoryLine
    frame: Image
    _attempts: np.ndarray
    _truth: ShardSet

    @property
    def split(self) -> str:
        return self._truth.split

    def image(self, number: int) -> Image:
        return np.asarray(self._attempts[number])

    def record(self, row: int) -> Record:
        """The ground truth of a judged step."""
        return self._truth.record(self.shard, row)


@dataclass
class RolloutSet:
    """All whole shards under a folder. Raises InputError where there are none of a split that is asked for."""

    folder: Path
    settings: RolloutSettings = field(init=False)
    _truths: dict[str, ShardSet] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder = Path(self.folder)
        self.settings = read_settings(self.folder)

    def shards(self, split: str) -> list[int]:
        """The numbers of a split's shards."""
        if split not in ("train", "held-out"):
            raise InputError(f"split {split!r} is unknown; allowed: train, held-out.")
        numbers = sorted(int(path.name.removeprefix("shard-")) for path in self.folder.glob("shard-*"))
        return [number for number in numbers if is_held_out(number) == (split == "held-out")]

    def shard(self, number: int) -> Iterator[Trajectory]:
        """A shard's trajectories, in order. Raises InputError where it is not there."""
        folder = shard_folder(self.folder, number)
        try:
            lines = (folder / LINES_FILE).read_bytes().splitlines()
        except FileNotFoundError:
            raise InputError(f"{self.folder} has no shard {number}; was data removed?") from None
        frames = np.load(folder / "frames.npy", mmap_mode="r")
        attempts = np.load(folder / "attempts.npy", mmap_mode="r")
        truth = self.truth("held-out" if is_held_out(number) else "train")
        for row, text in enumerate(lines):
            line = msgspec.json.decode(text, type=TrajectoryLine)
            yield Trajectory(folder.name, line, np.asarray(frames[row]), attempts, truth)

    def truth(self, split: str) -> ShardSet:
        """The ground truth of a split: a `ShardSet` like any other."""
        if split not in self._truths:
            self._truths[split] = ShardSet(self.folder, split)
        return self._truths[split]

    def __iter__(self) -> Iterator[Trajectory]:
        for split in ("train", "held-out"):
            for number in self.shards(split):
                yield from self.shard(number)
