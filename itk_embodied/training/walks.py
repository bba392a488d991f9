"""Walks for the generator: the steps of a task one after another, each from the picture that was painted before.

Pairs start from clean frames and seldom show a bowl with three cubes in it or a tower half built. A sequence of
subgoals does, in the generator's own hand. The simulator's table follows the pictures, so every step has its truth:
the picture before, with what the step changes taken from the simulator, and what earlier steps left behind on the
table's surface. So the generator learns to mend its traces, which else add up over a long plan. A walk on which the
generator was wrong goes on from that truth; many walks go on with single steps when their task is done. As at run
time, pictures are held to the camera frame.

Shards are those of `itk_embodied.training.shards`, made by ``itk-embodied train data walks``; ``paintings.npz`` beside
them holds what was painted and the judge's word on it, for critic and verifier.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
import PIL.Image
import torch
from tqdm import tqdm

from itk_embodied.anchoring import anchored
from itk_embodied.errors import InputError
from itk_embodied.mesa import load_triton_first
from itk_embodied.training.critic_generated import PAINTINGS_FILE, Painting, keep
from itk_embodied.training.fanout import fan_out
from itk_embodied.training.pixels import grow
from itk_embodied.training.rollouts.draw import draw_task
from itk_embodied.training.rollouts.truth import Truth
from itk_embodied.training.shards import Record, is_held_out, new_shard, shard_folder, write_records
from itk_embodied.types import Image
from itk_sim.kinds import candidates
from itk_sim.language import instruction
from itk_sim.splits import is_train_step
from itk_sim.symbols import CUBES, Step
from itk_sim.table import Table

FRAME_PX, SIZE_PX, SHARD_WALKS = 256, 128, 50
"""Pictures are painted on frames as large as at run time and kept as small as pairs are."""
PAINTED = 0.75
"""Share of the steps after which the walk goes on from what the generator painted; else from the truth."""
DENOISING_STEPS, CANDIDATES = 8, (1, 1, 3)
PICTURES = 2
"""A painted step is painted so often: of one step, critics see right pictures and wrong ones."""
CHANGED = 6
"""Pixels that differ by more than this in any channel belong to the change, with four pixels around."""
TRACE = 24
"""What differs by more than this from the simulator's picture, away from cubes, is a trace; the truth is without."""
MORE_SHARE, MOST_MORE = 0.4, 12
"""Share of the walks that go on when their task is done, and by how many single steps at most, unless told."""
MORE_KINDS = ("in bowl", "on mat", "stack", "unstack", "unstack", "at", "at", "in drawer", "out of drawer")
_LEAST_STEPS = 2
LEAST_SEEN = 0.1
"""Steps are left out where less than this share of the moved cube would be seen, before or after."""
CUBE_IDS = tuple(range(1, len(CUBES) + 1))
"""Of `Table.segmentation`."""


@dataclass(frozen=True)
class WalkKind:
    """What walks are made.

    Args:
        more_share, most_more: share of the walks that go on when their task is done, 0..1, and by how many single steps
            at most.
        rough: keep what the generator paints before its refiner, once for each step, for that refiner's training. The
            walk goes on from refined pictures all the same.
    """

    more_share: float = MORE_SHARE
    most_more: int = MOST_MORE
    rough: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.more_share <= 1:
            raise InputError(f"more_share is {self.more_share}; a share lies between 0 and 1.")
        if self.most_more < 1:
            raise InputError(f"most_more is {self.most_more}; it must be 1 or more (more_share 0 goes on with none).")


def make_walks(
    out: Path,
    walks: int,
    checkpoint: Path,
    *,
    kind: WalkKind | None = None,
    workers: int = 1,
    seed: int = 0,
    first: int = 0,
) -> int:
    """Make what is missing of ``walks`` walks under ``out``; returns how many shards were made now.

    Args:
        checkpoint: the generator's pipeline folder; those who paint may change from shard to shard.
        first: the first shard's number; every 20th is held out.
    """
    kind = kind or WalkKind()
    if walks < 1:
        raise InputError(f"walks is {walks}; it must be 1 or more.")
    if not checkpoint.is_dir():
        raise InputError(f"{checkpoint} is no folder; give the pipeline folder of a trained generator.")
    if kind.rough and not (checkpoint / "refiner").is_dir():
        raise InputError(f"the generator in {checkpoint} has no refiner: all that it paints is rough; leave that out.")
    out.mkdir(parents=True, exist_ok=True)
    numbers = range(first, first + -(-walks // SHARD_WALKS))
    todo = [number for number in numbers if not shard_folder(out, number).exists()]
    work = WalkMaker(str(out.resolve()), str(checkpoint.resolve()), seed, kind)
    with tqdm(total=len(todo) * SHARD_WALKS, unit="walk", desc="walks") as bar:
        total = Counter[str]()
        for done in fan_out(todo, work, workers=workers):
            total.update({name: done[name] for name in ("steps", "painted", "right")})
            bar.set_postfix_str("{steps} steps, {right}/{painted} pictures right".format(**total))
            bar.update(SHARD_WALKS)
    return len(todo)


@dataclass
class WalkMaker:
    """Makes one shard a call; loads the generator and opens the table at the first."""

    out: str
    checkpoint: str
    seed: int
    kind: WalkKind
    _walker: Any = field(default=None, repr=False)

    def __call__(self, number: int) -> dict[str, Any]:
        if self._walker is None:
            load_triton_first()
            rough = load_painter(self.checkpoint, refined=False) if self.kind.rough else None
            self._walker = Walker(Table(), load_painter(self.checkpoint), self.kind, rough)
        walker: Walker = self._walker
        walked = [
            one
            for index in range(SHARD_WALKS)
            for one in walker.walk(np.random.default_rng([self.seed, 97, number, index]), is_held_out(number))
        ]
        name = shard_folder(Path(self.out), number).name
        paintings = [((name, row), one) for row, (_, painted) in enumerate(walked) for one in painted]
        with new_shard(Path(self.out), number) as staging:
            write_records(staging, [record for record, _ in walked], SIZE_PX)
            keep(staging / PAINTINGS_FILE, [key for key, _ in paintings], [one for _, one in paintings])
        right = sum(one.judged.success for _, one in paintings)
        return {"steps": len(walked), "painted": len(paintings), "right": right}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_walker": None}


Painter: TypeAlias = Callable[[Image, Step, np.random.Generator], Image]
"""Paints a step over a picture, uint8 RGB; the result is as large."""


@dataclass
class Walker:
    """Walks on one table, with one painter. ``rough``: paints the same without a refiner; what it paints is kept."""

    table: Table
    paint: Painter
    kind: WalkKind = WalkKind()
    rough: Painter | None = None

    def walk(self, rng: np.random.Generator, held_out: bool) -> Iterator[tuple[Record, tuple[Painting, ...]]]:
        """The steps of one task, each with the picture it starts from and the truth it should come to, and what was
        painted, if it was. The walk goes on from the first of these, where it is right."""
        truth = Truth(self.table, rng, SIZE_PX)
        _, _, task = draw_task(self.table, rng, held_out=held_out, least_steps=_LEAST_STEPS)
        picture = frame = self.table.render("front", FRAME_PX)
        for step, kind in chain(((step, task.family) for step in task.steps), self._more(rng, held_out)):
            clean, here = self.table.render("front", FRAME_PX), self.table.snapshot()
            record = truth.reach(step, small(picture), kind)
            if record is None or _seen(record) < LEAST_SEEN:
                self.table.restore(here)  # another step can still be done
                continue
            reached = self.table.render("front", FRAME_PX)
            goal = _without_traces(picture, clean, reached, record)
            record = replace(record, after=small(goal))
            paintings: tuple[Painting, ...] = ()
            if rng.random() < PAINTED:
                images, painted = self._painted(picture, step, rng)
                paintings = tuple(Painting.of(record, small(image)) for image in images)
                if truth.follow(record, small(painted)):
                    goal = anchored(painted, frame)
            yield record, paintings
            picture = goal

    def _painted(self, picture: Image, step: Step, rng: np.random.Generator) -> tuple[list[Image], Image]:
        """The pictures that are kept, and the one that the walk goes on from."""
        if self.rough is not None:
            again = copy.deepcopy(rng)  # the same picture, before and after the refiner
            return [self.rough(picture, step, again)], self.paint(picture, step, rng)
        images = [self.paint(picture, step, rng) for _ in range(PICTURES)]
        return images, images[0]

    def _more(self, rng: np.random.Generator, held_out: bool) -> Iterator[tuple[Step, str]]:
        """Single steps that can be done as the table stands, drawn by lot."""
        if rng.random() >= self.kind.more_share:
            return
        for _ in range(int(rng.integers(1, self.kind.most_more + 1))):
            state = self.table.state()
            drawn = [(step, kind) for kind in MORE_KINDS for step in candidates(rng, state, kind)]
            drawn = [(step, kind) for step, kind in drawn if held_out or is_train_step(step)]
            drawn = [(step, kind) for step, kind in drawn if state.visible[str(step.obj)] >= LEAST_SEEN]
            if not drawn:
                return
            kinds = sorted({kind for _, kind in drawn})
            wanted = kinds[int(rng.integers(len(kinds)))]
            among = [one for one in drawn if one[1] == wanted]
            yield among[int(rng.integers(len(among)))]


def load_painter(checkpoint: str, *, refined: bool = True) -> Painter:
    """A generator's pipeline that is told the plan's sentences. ``refined``: with its refiner, if it has one."""
    from itk_embodied.agents.generators.composite_flow import CompositeFlowEditPipeline

    torch.set_num_threads(1)
    pipeline = CompositeFlowEditPipeline.from_pretrained(checkpoint)
    pipeline.set_progress_bar_config(disable=True)
    if not refined:
        pipeline.register_modules(refiner=None)

    def paint(picture: Image, step: Step, rng: np.random.Generator) -> Image:
        (images,) = pipeline(
            [PIL.Image.fromarray(picture)],
            [instruction(step)],
            DENOISING_STEPS,
            [torch.Generator().manual_seed(int(rng.integers(2**31)))],
            output_type="np",
            return_dict=False,
            candidates=int(rng.choice(CANDIDATES)),
        )
        return np.asarray(images[0])

    return paint


def _seen(record: Record) -> float:
    """How much of the moved cube is seen, before or after, whichever is less."""
    name = record.step.obj
    return 1.0 if name is None else min(state.visible[name] for state in (record.before_state, record.after_state))


def small(picture: Image) -> Image:
    """A frame as the models see it and as it is kept."""
    return np.asarray(cv2.resize(picture, (SIZE_PX, SIZE_PX), interpolation=cv2.INTER_AREA), np.uint8)


def _without_traces(picture: Image, clean: Image, reached: Image, record: Record) -> Image:
    """``picture``, painted as it is, with what the step changes as the simulator shows it, from ``clean`` to
    ``reached``, and without what earlier pictures left behind. Cubes stay as they were painted: the truth has them a
    hair beside."""
    changed = np.abs(clean.astype(np.int16) - reached).max(-1) > CHANGED
    scale = FRAME_PX // SIZE_PX
    moved = (record.before_seg != record.after_seg).repeat(scale, 0).repeat(scale, 1)
    cubes = np.isin(record.before_seg, CUBE_IDS) | np.isin(record.after_seg, CUBE_IDS)
    traces = np.abs(clean.astype(np.int16) - picture).max(-1) > TRACE
    traces &= ~grow(cubes.repeat(scale, 0).repeat(scale, 1), 2 * scale)
    return np.where(grow(changed | moved, 4)[..., None] | grow(traces, 2)[..., None], reached, picture)
