"""Before-and-after pairs from the simulator, on disk: one folder a shard, plain arrays and JSON lines.

``shard-00007/`` holds ``before.npy``, ``after.npy`` (uint8 RGB, (N, S, S, 3)), ``before_seg.npy``, ``after_seg.npy``
(uint8 object ids, (N, S, S)) and ``pairs.jsonl`` (step, states, camera). A shard is made in a staging folder and
renamed when it is whole, so a stopped run goes on where it was and a reader never sees half a shard. Shard k of a seed
(and of the same kinds of steps, where only some are asked for) always holds the same pairs, whoever makes it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from tqdm import tqdm

from itk_embodied.errors import InputError
from itk_embodied.training.fanout import fan_out
from itk_embodied.types import Image
from itk_sim.errors import SimError
from itk_sim.symbols import SceneState, Step

if TYPE_CHECKING:
    from itk_sim.pairs import Pair

ARRAYS = ("before", "after", "before_seg", "after_seg")
HELD_OUT_EVERY = 20
"""Every 20th shard is held out: its scenes are never trained on."""


@dataclass(frozen=True, eq=False)
class Record:
    """One pair. Images uint8 RGB (S, S, 3), segmentations uint8 (S, S) with the ids of `Table.segmentation`."""

    before: Image
    after: Image
    before_seg: np.ndarray
    after_seg: np.ndarray
    before_state: SceneState
    after_state: SceneState
    step: Step
    kind: str
    k: np.ndarray
    world_from_camera: np.ndarray

    @classmethod
    def of(cls, pair: Pair) -> Record:
        """A pair of the simulator."""
        return cls(
            before=pair.before,
            after=pair.after,
            before_seg=pair.before_seg,
            after_seg=pair.after_seg,
            before_state=pair.before_state,
            after_state=pair.after_state,
            step=pair.step,
            kind=pair.kind,
            k=np.asarray(pair.camera.K),
            world_from_camera=np.asarray(pair.camera.world_from_camera),
        )


def make_shards(
    out: Path,
    pairs: int,
    *,
    workers: int = 1,
    seed: int = 0,
    shard_size: int = 500,
    size_px: int = 128,
    first: int = 0,
    kinds: Sequence[str] = (),
) -> int:
    """Make what is missing of ``pairs`` pairs under ``out``; returns how many shards were made now.

    ``first`` is the first shard's number, so that several machines can share one data set. ``kinds``: only of these
    (`itk_sim.kinds.kind_of`), all equally often; none: of KINDS, in their shares.
    """
    from itk_sim.kinds import kind_of

    if pairs < 1 or shard_size < 1:
        raise InputError(f"pairs is {pairs} and shard_size {shard_size}; both must be 1 or more.")
    for kind in kinds:
        try:
            kind_of(kind)
        except SimError as error:
            raise InputError(str(error)) from error
    out.mkdir(parents=True, exist_ok=True)
    numbers = range(first, first + -(-pairs // shard_size))
    todo = [n for n in numbers if not shard_folder(out, n).exists()]
    with tqdm(total=len(todo) * shard_size, unit="pair", desc="pairs") as bar:
        for _ in fan_out(todo, PairMaker(str(out.resolve()), seed, shard_size, size_px, tuple(kinds)), workers=workers):
            bar.update(shard_size)
    return len(todo)


def shard_folder(out: Path, number: int) -> Path:
    return out / f"shard-{number:05d}"


@contextmanager
def new_shard(out: Path, number: int) -> Iterator[Path]:
    """A folder that becomes the shard when the block is done; nothing stays of it where it is not.

    Where somebody else has made the same shard meanwhile, theirs stays.
    """
    final = shard_folder(out, number)
    staging = final.with_name(f".{final.name}-{os.getpid()}")
    staging.mkdir()
    try:
        yield staging
        with suppress(OSError) if final.exists() else nullcontext():
            staging.rename(final)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


@dataclass(frozen=True)
class PairMaker:
    """Makes one shard of pairs a call."""

    out: str
    seed: int
    shard_size: int
    size_px: int
    kinds: tuple[str, ...] = ()

    def __call__(self, number: int) -> dict[str, Any]:
        from itk_sim.pairs import sample_pair
        from itk_sim.splits import is_train_step
        from itk_sim.table import Table

        rng = np.random.default_rng([self.seed, number])
        # Held-out combinations of cube, relation and target appear in held-out shards only.
        accept = None if is_held_out(number) else is_train_step
        with new_shard(Path(self.out), number) as staging, Table() as table:
            drawn = [self.kinds[i % len(self.kinds)] if self.kinds else None for i in range(self.shard_size)]
            pairs = [sample_pair(table, rng, self.size_px, kind=kind, accept=accept) for kind in drawn]
            write_records(staging, [Record.of(pair) for pair in pairs], self.size_px)
        return {"shard": number}


def write_records(folder: Path, records: Sequence[Record], size_px: int) -> None:
    """The arrays and lines of a shard of records whose pictures are ``size_px`` wide."""
    for name in ARRAYS:
        shape = (0, size_px, size_px) if name.endswith("seg") else (0, size_px, size_px, 3)
        images = [getattr(record, name) for record in records]
        np.save(folder / f"{name}.npy", np.stack(images) if images else np.zeros(shape, np.uint8))
    lines = [pair_line(r.step, r.kind, r.before_state, r.after_state, r.k, r.world_from_camera) for r in records]
    (folder / "pairs.jsonl").write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))


def pair_line(
    step: Step, kind: str, before: SceneState, after: SceneState, k: np.ndarray, world_from_camera: np.ndarray
) -> dict[str, Any]:
    """A line of ``pairs.jsonl``."""
    return {
        "step": asdict(step),
        "kind": kind,
        "before_state": _plain(before),
        "after_state": _plain(after),
        "k": np.asarray(k).tolist(),
        "world_from_camera": np.asarray(world_from_camera).tolist(),
    }


def is_held_out(shard_number: int) -> bool:
    return shard_number % HELD_OUT_EVERY == HELD_OUT_EVERY - 1


def _plain(state: SceneState) -> dict[str, Any]:
    plain = asdict(state)
    plain["position_m"] = {k: [round(float(x), 5) for x in v] for k, v in state.position_m.items()}
    plain["pixel"] = {k: [round(float(x), 5) for x in v] for k, v in state.pixel.items()}
    plain["visible"] = {k: round(float(v), 4) for k, v in state.visible.items()}
    return plain


class ShardSet:
    """Random access to the records of all whole shards under a folder, memory-mapped.

    Args:
        split: ``train`` or ``held-out``.
    """

    def __init__(self, folder: Path, split: str = "train") -> None:
        if split not in ("train", "held-out"):
            raise InputError(f"split {split!r} is unknown; allowed: train, held-out.")
        self.folder, self.split = Path(folder), split
        self._shards: dict[str, tuple[dict[str, np.ndarray], list[bytes]]] = {}
        self._index: list[tuple[str, int]] = []
        self.refresh()

    def refresh(self) -> int:
        """Take up shards finished since; returns the number of records."""
        for path in sorted(self.folder.glob("shard-*")):
            number = int(path.name.removeprefix("shard-"))
            if path.name in self._shards or is_held_out(number) != (self.split == "held-out"):
                continue
            arrays = {name: np.load(path / f"{name}.npy", mmap_mode="r") for name in ARRAYS}
            lines = (path / "pairs.jsonl").read_bytes().splitlines()
            self._shards[path.name] = arrays, lines
            self._index += [(path.name, i) for i in range(len(lines))]
        return len(self._index)

    @property
    def keys(self) -> list[tuple[str, int]]:
        """Each record's shard and row: names that stay, whatever is added later."""
        return self._index

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, index: int) -> Record:
        return self.record(*self._index[index])

    def record(self, name: str, row: int) -> Record:
        """The record of a shard's name and row, as `keys` has them.

        Raises:
            InputError: this split has no such shard, or the shard no such row.
        """
        if name not in self._shards or not 0 <= row < len(self._shards[name][1]):
            raise InputError(f"{self.folder} has no record {row} of {name} in its {self.split} split; was it removed?")
        arrays, lines = self._shards[name]
        line = msgspec.json.decode(lines[row], type=_Line)
        return Record(
            **{array: np.asarray(arrays[array][row]) for array in ARRAYS},
            before_state=line.before_state,
            after_state=line.after_state,
            step=line.step,
            kind=line.kind,
            k=np.array(line.k),
            world_from_camera=np.array(line.world_from_camera),
        )

    def __iter__(self) -> Iterator[Record]:
        return (self[i] for i in range(len(self)))


class _Line(msgspec.Struct):
    step: Step
    kind: str
    before_state: SceneState
    after_state: SceneState
    k: list[list[float]]
    world_from_camera: list[list[float]]
