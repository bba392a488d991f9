"""Training of the embedded generator (`itk_embodied.agents.generators.composite_flow`) on pairs from the simulator.

Flow matching from frame-plus-noise to the edited frame, predicting the edited frame; the loss weighs changed pixels
more, and the change mask is supervised besides. Resolution grows by stages while the U-Net's inside stays
32 patches wide, so that only its first and last layer are new at each stage.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from itk_embodied.errors import ConfigError
from itk_embodied.training.course import Course, follow
from itk_embodied.training.feed import feed
from itk_embodied.training.generator_batches import Batch, make_batch
from itk_embodied.training.generator_model import Editor, GeneratorTraining, export, initial_tensors
from itk_embodied.training.generator_reader import read_sentences
from itk_embodied.training.generator_text import SLOTS
from itk_embodied.training.journal import Journal
from itk_embodied.training.learner import Learner
from itk_embodied.training.shards import Record, ShardSet
from itk_sim.kinds import RARE
from itk_sim.symbols import DRAWER

REFRESH_STEPS = 500
"""After so many steps the data are looked through for what is new."""

AROUND_PX = 4
"""So far around what changes the content is to be right by itself."""

USUAL_SHARE = 0.6
SHARE_KEPT = {"left_of": 0.55, "right_of": 0.55, "in_front_of": 0.55, "behind": 0.55, "at": 0.3}
"""Of the steps that have nothing to do with the drawer so many are trained on; of those that are easy, fewer."""


def share_kept(record: Record) -> float:
    """How often a record that was drawn is trained on: always where the drawer has to do with it, a large thing that
    seldom moves, and where cubes crowd a bowl."""
    step = record.step
    if record.kind in RARE:
        return 1.0
    if DRAWER in (step.obj, step.target, record.before_state.support.get(step.obj or "")) or step.verb != "place":
        return 1.0
    return SHARE_KEPT.get(record.kind, USUAL_SHARE)


def edit_loss(
    content: Tensor, mask: Tensor, frame: Tensor, edited: Tensor, changed: Tensor, config: GeneratorTraining
) -> Tensor:
    """What an edit costs: the pixels of what comes out, those of the content in and around the change, and the mask.

    ``content``, ``frame`` (before) and ``edited`` (after): (B, 3, H, W) in -1..1; ``mask`` in 0..1 and ``changed``,
    0 or 1: (B, 1, H, W).
    """

    def cost(error: Tensor) -> Tensor:
        return 4 * (error**2 + config.crispness * error.abs())

    mask = mask.clamp(1e-5, 1 - 1e-5)
    weight = 1 + config.changed_weight * F.max_pool2d(changed, 3, 1, 1)
    around = F.max_pool2d(changed, 2 * AROUND_PX + 1, 1, AROUND_PX)
    whole = (weight * cost(frame + mask * (content - frame) - edited)).mean()
    alone = config.content_weight * (1 + config.changed_weight) * cost(around * (content - edited)).mean()
    return whole + alone + config.mask_weight * F.binary_cross_entropy(mask, changed, weight=1 + 10 * changed)


def train_generator(config: GeneratorTraining, *, progress: bool = True) -> Path:
    """Train to the end, or go on where a run in ``config.out`` stopped. Returns the pipeline's folder."""
    torch.set_num_threads(config.threads)
    return _Run(config, progress).go()


class _Run:
    def __init__(self, config: GeneratorTraining, progress: bool) -> None:
        self.config, self.progress = config, progress
        self.journal = Journal(config.out)
        self.journal.log(config={name: str(value) for name, value in asdict(config).items()})
        self.shards = ShardSet(config.data)
        if len(self.shards) < config.batch:
            raise ConfigError(f"{config.data} has {len(self.shards)} pairs; run: itk-embodied train data pairs")
        self.walks = ShardSet(config.walks) if config.walks is not None else None
        if self.walks is not None and not len(self.walks):
            raise ConfigError(f"{config.walks} has no walks; run: itk-embodied train data walks --out {config.walks}")
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.course, self.stage = Course(config.samples, config.minutes), 0
        self.reader = read_sentences(config)
        saved = self.journal.load_state()
        if saved is not None:
            self._resume(*saved)
        else:
            self._build(None)
            if config.init is not None:
                self.model.take_over(initial_tensors(config.init) | self.reader)
                self.learner.average.load_state_dict(self.model.state_dict())

    def _build(self, previous: Editor | None) -> None:
        """The model of this stage; all but the first and last layer carry over from the previous one."""
        torch.manual_seed(self.config.seed + self.stage)
        self.model = Editor(self.config.stages[self.stage][0], self.config)
        self.model.take_over(self.reader)
        if previous is not None:
            self.model.take_over(previous.state_dict())
        self.model.to(self.device)
        self.learner = Learner(self.model, self.config.lr, weight_decay=0.01)
        self.course.steps = 0

    def _resume(self, tensors: dict[str, Tensor], counters: dict[str, float]) -> None:
        self.stage = int(counters["stage"])
        self._build(None)
        self.course.take_up(counters)
        self.learner.restore(tensors, fixed=self.reader)

    def _save(self) -> None:
        self.journal.save_state(self.learner.tensors(), self.course.counters() | {"stage": self.stage})
        export(self.learner.average, self.config.out / "pipeline")

    def go(self) -> Path:
        self.batches = self._feed()
        follow(
            self.course,
            self._next,
            log=self._log,
            save=self._save,
            save_every_s=self.config.save_every_s,
            unit="pair",
            progress=self.progress,
        )
        self.journal.curve(["loss"])
        return self.config.out / "pipeline"

    def _next(self) -> dict[str, float]:
        """One step, of the next stage where its turn has come."""
        ends = np.cumsum([share for _, share in self.config.stages])
        while self.stage + 1 < len(self.config.stages) and self.course.done >= ends[self.stage] - 1e-9:
            self.stage += 1
            self._build(self.learner.average)
            self.batches = self._feed()
        return {"loss": self._step(next(self.batches))}

    def _log(self, means: Mapping[str, float]) -> Mapping[str, object]:
        course, size = self.course, self.model.size
        rate = course.rate(self.config.lr)
        self.journal.log(step=course.seen, **means, size=size, done=course.done, pairs=len(self.shards), lr=rate)
        return {"loss": f"{means['loss']:.4f}", "size": size}

    def _draw(self, rng: np.random.Generator) -> list[Record]:
        records: list[Record] = []
        while len(records) < self.config.batch:
            source = self.shards
            if self.walks is not None and rng.random() < self.config.walk_share:
                source = self.walks
            record = source[int(rng.integers(len(source)))]
            if rng.random() < share_kept(record):
                records.append(record)
        return records

    def _feed(self) -> Iterator[Batch]:
        """The batches from here on, for this stage."""
        config = self.config
        return feed(self._batch, range(self.course.seen, config.samples + config.batch, config.batch), config.workers)

    def _batch(self, seen: int) -> Batch:
        """Its randomness comes from the seed and the samples seen, so a resumed run is the same."""
        config = self.config
        if seen // config.batch % REFRESH_STEPS == 0:
            self.shards.refresh()
            if self.walks is not None:
                self.walks.refresh()
        rng = np.random.default_rng([config.seed, seen])
        last = self.stage + 1 == len(config.stages)
        return make_batch(self._draw(rng), rng, self.model.size, config.band, config.soften if last else 0.0)

    def _step(self, batch: Batch) -> float:
        config = self.config
        noise_source = torch.Generator().manual_seed(config.seed * 1_000_003 + self.course.seen)
        frame, edited, changed = (t.to(self.device) for t in (batch.frame, batch.edited, batch.changed))
        instant = torch.rand(len(frame), generator=noise_source).to(self.device) ** 1.5
        start = frame + config.sigma * torch.randn(frame.shape, generator=noise_source).to(self.device)
        noisy = start + instant[:, None, None, None] * (edited - start)
        slots = [F.one_hot(batch.slots[:, i], len(values)).float() for i, values in enumerate(SLOTS)]
        maps = batch.maps.to(self.device)
        with torch.autocast(self.device, dtype=torch.bfloat16):
            content, mask = self.model(noisy, frame, maps, instant, [slot.to(self.device) for slot in slots])
        loss = edit_loss(content.float(), mask.float(), frame, edited, changed, config)
        self.learner.step(loss, self.course)
        self.course.seen += len(frame)
        return float(loss.detach())
