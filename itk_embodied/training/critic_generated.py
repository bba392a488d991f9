"""Pictures that the embedded generator really paints, right and wrong: what the critic sees at run time.

``python -m itk_embodied.training.critic_generated --count 2000`` paints steps of the simulator's pairs, checks each
picture against the ground truth (`judge.edit.check_edit`) and keeps it under ``data/generated``. Few denoising
steps and a single candidate make more mistakes, so their numbers vary.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
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
from itk_embodied.training.judge.edit import EditCheck, check_edit
from itk_embodied.training.shards import Record, ShardSet
from itk_embodied.training.vlm_batch import Example
from itk_embodied.types import Image
from itk_sim.language import grounded, instruction

BATCH = 16
DENOISING_STEPS, CANDIDATES = (2, 4, 8, 8), (1, 1, 3)
CLEARLY_RIGHT, CLEARLY_WRONG = 0.6, 0.45
"""A picture right by a hair is not taught as right, nor one wrong by a hair as wrong."""


@dataclass(frozen=True, eq=False)
class Painting:
    """A generator's picture (uint8 RGB, as large as the record's) for a record's step, and what it is worth."""

    record: Record
    image: Image
    check: EditCheck


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
        checks = [asdict(check_edit(image, record)) for image, record in zip(images, records, strict=True)]
        keys = [list(shards.keys[i]) for i in chosen]
        staging = path.with_suffix(".partial")
        with staging.open("wb") as file:
            np.savez_compressed(file, images=np.stack(images), about=np.array(json.dumps([keys, checks])))
        staging.replace(path)
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


class Gallery:
    """Random access to the paintings of a split. ``right``, ``wrong``: the numbers of those that are so clearly."""

    def __init__(self, shards: ShardSet, folder: Path) -> None:
        self.shards, self.folder = shards, Path(folder)
        self._items: list[tuple[int, Image, EditCheck]] = []
        self._read: set[str] = set()
        self.refresh()

    def refresh(self) -> int:
        """Take up what was painted since; returns the number of paintings."""
        row = {key: i for i, key in enumerate(self.shards.keys)}
        for path in sorted(self.folder.glob(f"{self.shards.split}-*.npz")):
            if path.name in self._read:
                continue
            with np.load(path, allow_pickle=False) as file:
                keys, checks = json.loads(str(file["about"]))
                for key, image, check in zip(keys, file["images"], checks, strict=True):
                    if tuple(key) in row:
                        item = row[tuple(key)], image, msgspec.convert(check, EditCheck)
                        self._items.append(item)
            self._read.add(path.name)
        checks = [check for _, _, check in self._items]
        self.right = [i for i, check in enumerate(checks) if check.ok and check.score >= CLEARLY_RIGHT]
        self.wrong = [i for i, check in enumerate(checks) if not check.ok and check.score <= CLEARLY_WRONG]
        return len(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: int) -> Painting:
        row, image, check = self._items[index]
        return Painting(self.shards[row], image, check)

    def draw(self, rng: np.random.Generator, right: bool) -> Painting:
        """A random right or wrong painting. Raises InputError where there is none."""
        among = self.right if right else self.wrong
        if not among:
            raise InputError(f"{self.folder} holds no {'right' if right else 'wrong'} paintings; paint more.")
        return self[among[int(rng.integers(len(among)))]]


def painting_example(painting: Painting, rng: np.random.Generator) -> Example:
    """A painting, its own step, and where it is right another instruction. What a wrong painting shows is not known
    for sure, so its thought is not learnt."""
    record, check = painting.record, painting.check
    moved = {} if record.step.obj is None else {record.step.obj: check.place_px}
    kind = "painted right" if check.ok else "painted wrong"
    if check.ok:
        questions = [ask(seen_record(painting), record.step, True, None, rng, kind)]
        other = wrong_step(record, rng)
        if other is not None:
            questions.append(ask(seen_record(painting), other, False, None, rng, "painted, wrong instruction"))
    else:
        spoilt = Corrupted(painting.image, "painted", moved, damage=damage_of(painting))
        questions = [ask(record, record.step, False, spoilt, rng, kind, sure=False)]
    first, second = shade(rng, record.before, painting.image)
    places = visible_places(seen_record(painting), None)
    if not check.ok and record.step.obj is not None:
        places[1].pop(record.step.obj, None)
    damage = np.zeros(record.before.shape[:2], bool) if check.ok else damage_of(painting)
    return Example(first, second, tuple(questions), places, damage)


def seen_record(painting: Painting) -> Record:
    """The record with the moved cube where the painting has it."""
    record, place = painting.record, painting.check.place_px
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
    """Where a wrong painting looks like neither the picture before nor the right one after, bool (S, S)."""
    record, image = painting.record, painting.image.astype(int)
    apart = [np.abs(image - other).max(-1) for other in (record.before, record.after)]
    return np.minimum(*apart) > 40


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
    right = sum(painting.check.ok for painting in (gallery[i] for i in range(len(gallery))))
    print(f"{new} new paintings; {args.out} has {len(gallery)} of this split, {right} of them right")


if __name__ == "__main__":
    main()
