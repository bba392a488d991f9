"""Pictures that the embedded generator really paints, right and wrong: what the critic sees at run time.

``python -m itk_embodied.training.critic_generated --count 2000`` paints steps of the simulator's pairs, has the
simulator judge each picture and keeps it under ``data/generated``. Few denoising steps and a single candidate make
more mistakes, so their numbers vary. Rollouts (`itk_embodied.training.rollouts`) and walks
(`itk_embodied.training.walks`) hold such pictures too, painted over painted ones.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import PIL.Image
import torch
import torch.nn.functional as F
from tqdm import tqdm

from itk_embodied.errors import InputError
from itk_embodied.training.corruptions import SEGMENT_ID, Corrupted
from itk_embodied.training.critic_data import ask, shade, visible_places, wrong_step
from itk_embodied.training.generator_text import slot_values
from itk_embodied.training.judge.base import PASS, Subject
from itk_embodied.training.judge.edit import seen_place
from itk_embodied.training.judge.simulator import SimulatorJudge
from itk_embodied.training.pixels import disc
from itk_embodied.training.rollouts.lines import JudgeLine
from itk_embodied.training.rollouts.store import RolloutSet
from itk_embodied.training.shards import Record, ShardSet
from itk_embodied.training.vlm_batch import Example
from itk_embodied.types import Image
from itk_sim.language import grounded, instruction

BATCH = 16
DENOISING_STEPS, CANDIDATES = (2, 4, 8, 8), (1, 1, 3)
PAINTINGS_FILE = "paintings.npz"
"""The paintings of a shard of walks, beside its records."""
LEAST_POINTS = 3.0
"""Of a painting's semantics: with fewer, it may show another thing than is asked for."""
DOUBTFUL = 0.5
"""A picture that the judge passes or fails by less than so many points is neither right nor wrong to a critic that can
only say yes or no."""


@dataclass(frozen=True, eq=False)
class Painting:
    """A generator's picture (uint8 RGB, as large as the record's) for a record's step, and the judge's word on it."""

    record: Record
    image: Image
    judged: JudgeLine

    @cached_property
    def place_px(self) -> tuple[float, float] | None:
        """Where the moved cube is seen in it, (u, v); None if nowhere."""
        return seen_place(self.image, self.record)

    @property
    def has_a_truth(self) -> bool:
        """Whether it shows so much of what is asked for that one can say how every pixel should be. Of the drawer one
        always can: there is one way to open or close it."""
        if self.record.step.obj is None:
            return True
        return self.place_px is not None and self.judged.semantics >= LEAST_POINTS

    @classmethod
    def of(cls, record: Record, image: Image) -> Painting:
        """Judged by the simulator."""
        return cls(record, image, JudgeLine.of(SimulatorJudge().judge(Subject.of(record), image)))


def paint(shards: ShardSet, checkpoint: Path, out: Path, count: int, seed: int = 0) -> int:
    """Paint until ``out`` has ``count`` pictures; returns how many are new. Every batch is a file of its own."""
    from itk_embodied.agents.generators.composite_flow import CompositeFlowEditPipeline

    pipeline = CompositeFlowEditPipeline.from_pretrained(checkpoint)
    pipeline.set_progress_bar_config(disable=True)
    out.mkdir(parents=True, exist_ok=True)
    new = 0
    for number in tqdm(range(-(-count // BATCH)), unit="batch", desc="painting"):
        path = out / f"{shards.split}-{seed:03d}-{number:05d}.npz"
        if path.exists():
            continue
        rng = np.random.default_rng([seed, 41, number])
        chosen = [int(i) for i in rng.integers(len(shards), size=BATCH)]
        records = [shards[i] for i in chosen]
        generators = [torch.Generator().manual_seed(int(rng.integers(2**31))) for _ in records]
        frames = [PIL.Image.fromarray(record.before) for record in records]
        texts = [_prompt(record, rng) for record in records]
        steps, candidates = int(rng.choice(DENOISING_STEPS)), int(rng.choice(CANDIDATES))
        _tell(pipeline, records)
        (images,) = pipeline(
            frames, texts, steps, generators, output_type="np", return_dict=False, candidates=candidates
        )
        keep(path, [shards.keys[i] for i in chosen], [Painting.of(*pair) for pair in zip(records, images, strict=True)])
        new += len(images)
    return new


def _tell(pipeline: Any, records: Sequence[Record]) -> None:
    """Give the painter what its sentences mean: painting is looked at here, not reading, which is trained apart."""
    encoder = pipeline.text_encoder
    slots = torch.tensor([slot_values(record.step) for record in records])
    shares = [F.one_hot(slots[:, i], len(table.weight)).float() for i, table in enumerate(encoder.tables)]
    vectors = encoder.vectors(shares).detach()
    encoder.forward = lambda tokens: vectors.repeat_interleave(len(tokens) // len(vectors), 0)


def _prompt(record: Record, rng: np.random.Generator) -> str:
    """What a generator is told at run time: the plan's sentence, or the critic's own with places."""
    return instruction(record.step) if rng.random() < 0.6 else grounded(record.step, record.before_state)


def keep(path: Path, keys: Sequence[tuple[str, int]], paintings: Sequence[Painting]) -> None:
    """Write a file of paintings, whole or not at all; ``keys`` name their records in the shards."""
    about = msgspec.json.encode([keys, [painting.judged for painting in paintings]]).decode()
    staging = path.with_suffix(".partial")
    with staging.open("wb") as file:
        np.savez_compressed(file, images=np.stack([one.image for one in paintings]), about=np.array(about))
    staging.replace(path)


def read_kept(path: Path) -> tuple[list[tuple[str, int]], list[JudgeLine], np.ndarray]:
    """Keys, the judge's words, and pictures uint8 (N, S, S, 3). Raises InputError where the file is of another kind."""
    with np.load(path, allow_pickle=False) as file:
        about, images = str(file["about"]), file["images"]
    try:
        keys, judged = msgspec.json.decode(about, type=tuple[list[tuple[str, int]], list[JudgeLine]])
    except msgspec.MsgspecError as error:
        raise InputError(f"{path} holds no judged paintings ({error}); remove it and paint again.") from error
    return keys, judged, images


class Gallery:
    """Random access to the paintings of a split, and to those of rollouts and walks where there are some: a folder
    that is missing has none.

    ``right``, ``wrong``: the numbers of those that are so by at least ``doubtful`` points.
    """

    def __init__(
        self,
        shards: ShardSet,
        folder: Path,
        rollouts: Path | None = None,
        walks: Path | None = None,
        doubtful: float = DOUBTFUL,
    ) -> None:
        self.shards, self.folder, self.rollouts, self.doubtful = shards, Path(folder), rollouts, doubtful
        self.walks = ShardSet(walks, shards.split) if walks is not None else None
        self._items: list[tuple[ShardSet, tuple[str, int], Image, JudgeLine]] = []
        self._read: set[str] = set()
        self.refresh()

    def refresh(self) -> int:
        """Take up what was painted since; returns the number of paintings."""
        self._take(self.shards, self.folder.glob(f"{self.shards.split}-*.npz"))
        if self.walks is not None:
            self.walks.refresh()
            self._take(self.walks, self.walks.folder.glob(f"shard-*/{PAINTINGS_FILE}"))
        if self.rollouts is not None and any(self.rollouts.glob("shard-*")):
            self._take_rollouts(RolloutSet(self.rollouts))
        least = [min(judged.semantics, judged.quality) for *_, judged in self._items]
        self.right = [i for i, points in enumerate(least) if points >= PASS + self.doubtful]
        self.wrong = [i for i, points in enumerate(least) if points < PASS and points <= PASS - self.doubtful]
        alone = [truth is self.shards for truth, *_ in self._items]
        self._drawn = {
            right: [some for wanted in (True, False) if (some := [i for i in among if alone[i] == wanted])]
            for right, among in ((True, self.right), (False, self.wrong))
        }
        return len(self._items)

    def _take(self, truth: ShardSet, paths: Iterable[Path]) -> None:
        known = set(truth.keys)
        for path in sorted(paths):
            if str(path) in self._read:
                continue
            for key, judged, image in zip(*read_kept(path), strict=True):
                if path.name == PAINTINGS_FILE and key[0] != path.parent.name:
                    raise InputError(f"{path} holds paintings of {key[0]}: the shard was renamed; undo that.")
                if key in known:
                    self._items.append((truth, key, image, judged))
            self._read.add(str(path))

    def _take_rollouts(self, rollouts: RolloutSet) -> None:
        for number in rollouts.shards(self.shards.split):
            name = f"rollouts {number}"
            if name in self._read:
                continue
            for trajectory in rollouts.shard(number):
                for step in trajectory.line.steps:
                    for attempt in step.attempts:
                        if step.row is not None and attempt.image is not None and attempt.judged is not None:
                            image = trajectory.image(attempt.image)
                            truth = rollouts.truth(self.shards.split)
                            self._items.append((truth, (trajectory.shard, step.row), image, attempt.judged))
            self._read.add(name)

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: int) -> Painting:
        truth, key, image, judged = self._items[index]
        return Painting(truth.record(*key), image, judged)

    def draw(self, rng: np.random.Generator, right: bool) -> Painting:
        """A random right or wrong painting, as often one of a sequence as one of a pair, where there are both.

        Raises InputError where there is none.
        """
        groups = self._drawn[right]
        if not groups:
            raise InputError(f"{self.folder} holds no {'right' if right else 'wrong'} paintings; paint more.")
        among = groups[int(rng.integers(len(groups)))]
        return self[among[int(rng.integers(len(among)))]]


def painting_example(painting: Painting, rng: np.random.Generator) -> Example:
    """A painting, its own step, and where it is right another instruction.

    What a painting of the wrong thing shows is not known for sure, so its thought is not learnt. One of the right thing
    that only looks bad is known: the thought says where it is damaged.
    """
    record, judged = painting.record, painting.judged
    what_is_asked = judged.success or judged.semantics >= PASS
    seen = seen_record(painting) if what_is_asked else record
    damage = np.zeros(record.before.shape[:2], bool) if judged.success else damage_of(painting)
    if judged.success:
        questions = [ask(seen, record.step, True, None, rng, "painted right")]
        other = wrong_step(record, rng)
        if other is not None:
            questions.append(ask(seen, other, False, None, rng, "painted, wrong instruction"))
    elif what_is_asked:
        spoilt = Corrupted(painting.image, "painted badly", {}, damage=damage)
        questions = [ask(seen, record.step, False, spoilt, rng, "painted badly")]
    else:
        moved = {} if record.step.obj is None else {record.step.obj: painting.place_px}
        spoilt = Corrupted(painting.image, "painted", moved, damage=damage)
        questions = [ask(record, record.step, False, spoilt, rng, "painted wrong", sure=False)]
    first, second = shade(rng, record.before, painting.image)
    places = visible_places(seen, None)
    if not what_is_asked and record.step.obj is not None:
        places[1].pop(record.step.obj, None)
    return Example(first, second, tuple(questions), places, damage)


def seen_record(painting: Painting) -> Record:
    """The record with the moved cube where the painting has it."""
    record, place = painting.record, painting.place_px
    if record.step.obj is None or place is None:
        return record
    side = record.before.shape[0]
    truth = np.argwhere(record.after_seg == SEGMENT_ID[record.step.obj]).mean(0)[::-1] + 0.5
    u, v = record.after_state.pixel[record.step.obj]
    # The middle of the visible faces is not where the cube's centre projects to: the shift is that of the truth.
    shift = np.clip(np.array([u, v]) * side - truth, -2, 2)
    u, v = (np.array(place) + shift) / side
    pixel = (float(u), float(v))
    pixels = dict(record.after_state.pixel) | {record.step.obj: pixel}
    return replace(record, after_state=replace(record.after_state, pixel=pixels))


def damage_of(painting: Painting) -> np.ndarray:
    """Where a wrong painting looks like neither the picture before nor the right one after, bool (S, S); of one that
    is asked for but badly painted, the moved cube at least."""
    record, image = painting.record, painting.image.astype(int)
    apart = [np.abs(image - other).max(-1) for other in (record.before, record.after)]
    odd = np.minimum(*apart) > 40
    if painting.judged.semantics >= PASS and painting.place_px is not None and not odd.any():
        odd = disc(len(odd), painting.place_px, 6 * len(odd) / 128)
    return odd


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Paint goal images for the critic to learn from.")
    parser.add_argument("--data", type=Path, default=Path("data/pairs"))
    parser.add_argument("--checkpoint", type=Path, default=Path("itk_embodied/checkpoints/generator"))
    parser.add_argument("--out", type=Path, default=Path("data/generated"))
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--split", choices=("train", "held-out"), default="train")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    shards = ShardSet(args.data, args.split)
    new = paint(shards, args.checkpoint, args.out, args.count, args.seed)
    gallery = Gallery(shards, args.out)
    right = sum(painting.judged.success for painting in (gallery[i] for i in range(len(gallery))))
    print(f"{new} new paintings; {args.out} has {len(gallery)} of this split, {right} of them right")


if __name__ == "__main__":
    main()
