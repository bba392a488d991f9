"""Training of the edit verifier (`itk_embodied.agents.verifier`), from the weights of a trained generator."""

# diffusers mixes its methods in in ways that a type checker cannot follow.
# mypy: disable-error-code="attr-defined,operator,arg-type"

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from itk_embodied.agents.generators.composite_flow import CompositeFlowEditPipeline
from itk_embodied.agents.generators.words import RASTER
from itk_embodied.agents.verifier.model import EditVerifier
from itk_embodied.errors import ConfigError
from itk_embodied.training.course import Course, follow
from itk_embodied.training.critic_generated import Gallery
from itk_embodied.training.feed import feed
from itk_embodied.training.generator_text import SLOTS
from itk_embodied.training.journal import Journal
from itk_embodied.training.learner import Learner
from itk_embodied.training.shards import ShardSet
from itk_embodied.training.verifier_closer import CloserBatch, closer_loss, make_closer_batch, start_from
from itk_embodied.training.verifier_data import VerifierBatch, draw, make_verifier_batch

REFRESH_STEPS = 500
CURVES, CLOSER_CURVES = ["loss", "fault_loss", "accuracy"], ["closer_loss", "closer_accuracy"]
Part: TypeAlias = Literal["both", "whole", "closer"]


@dataclass(frozen=True)
class VerifierTraining:
    """Settings of a run.

    Attributes:
        generator: pipeline folder of the generator whose weights it starts from; a new closer look starts from its
            refiner, where it has one.
        init: checkpoint of a verifier to start from instead of the generator.
        data, generated, rollouts, walks: pairs, and where the generator's judged paintings are; the last two may be
            missing.
        samples: pictures to see. minutes: stop after this much wall time, over all resumed parts; None for no limit.
            The learning rate falls by whichever is further on.
        part: what learns: the look at the whole, the closer look, or both.
        fault_weight: of the loss of the map of faults.
    """

    generator: Path = Path("itk_embodied/checkpoints/generator")
    init: Path | None = None
    data: Path = Path("data/pairs")
    generated: Path = Path("data/generated")
    rollouts: Path | None = Path("data/rollouts")
    walks: Path | None = Path("data/walks")
    out: Path = Path("runs/verifier")
    part: Part = "both"
    samples: int = 200_000
    minutes: float | None = None
    batch: int = 32
    lr: float = 5e-4
    fault_weight: float = 1.0
    seed: int = 0
    threads: int = 1
    workers: int = 0
    save_every_s: float = 180.0

    def __post_init__(self) -> None:
        if self.samples < 1 or self.batch < 1:
            raise ConfigError(f"samples is {self.samples} and batch {self.batch}; both must be 1 or more.")
        if self.part not in get_args(Part):
            raise ConfigError(f"part is {self.part!r}; allowed: {', '.join(get_args(Part))}.")
        if self.init is not None and not (self.init / "config.json").is_file():
            raise ConfigError(f"{self.init} holds no verifier; give the checkpoint folder of a trained one.")
        if (self.init is None or self.part != "whole") and not (self.generator / "model_index.json").is_file():
            raise ConfigError(f"{self.generator} holds no pipeline; give the pipeline folder of a trained generator.")


def train_verifier(config: VerifierTraining, *, progress: bool = True) -> Path:
    """Train to the end, or go on where a run in ``config.out`` stopped. Returns the checkpoint's folder."""
    torch.set_num_threads(config.threads)
    return _Run(config, progress).go()


def new_verifier(generator: Path) -> EditVerifier:
    """A verifier with a generator's weights, all but the last layer, and the generator's reader."""
    pipeline = CompositeFlowEditPipeline.from_pretrained(generator)
    made = EditVerifier(
        body=_plain(pipeline.unet.config),
        words=_plain(pipeline.text_encoder.config),
        patch=pipeline.config.patch,
        band=tuple(pipeline.config.band),
    )
    kept = {name: value for name, value in pipeline.unet.state_dict().items() if not name.startswith("conv_out.")}
    made.unet.load_state_dict({name: value.float() for name, value in kept.items()}, strict=False)
    made.text_encoder.load_state_dict({k: v.float() for k, v in pipeline.text_encoder.state_dict().items()})
    return made


def load_verifier(folder: Path) -> EditVerifier:
    made: EditVerifier = EditVerifier.from_pretrained(folder)
    return made


def _plain(config: Any) -> dict[str, Any]:
    return {name: value for name, value in config.items() if not name.startswith("_")}


class _Run:
    def __init__(self, config: VerifierTraining, progress: bool) -> None:
        self.config, self.progress = config, progress
        self.journal = Journal(config.out)
        self.journal.log(config={name: str(value) for name, value in asdict(config).items()})
        self.shards = ShardSet(config.data)
        if not len(self.shards):
            raise ConfigError(f"{config.data} has no pairs; run: itk-embodied train data pairs --out {config.data}")
        self.gallery = Gallery(self.shards, config.generated, config.rollouts, config.walks, doubtful=0.0)
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        torch.manual_seed(config.seed)
        self.model = new_verifier(config.generator) if config.init is None else load_verifier(config.init)
        if config.part != "whole" and self.model.closer is None:
            self.model.add_closer()
            refiner = CompositeFlowEditPipeline.from_pretrained(config.generator).refiner
            if refiner is not None:
                start_from(self.model.closer, refiner)
        learns = config.part != "closer"
        self.model.requires_grad_(learns)
        self.model.text_encoder.requires_grad_(False)
        self.model.text_encoder.tables.requires_grad_(learns)
        if self.model.closer is not None:
            self.model.closer.requires_grad_(config.part != "whole")
        self.model.to(self.device).train()
        # A type checker does not see that diffusers' models are modules.
        self.learner = Learner(self.model, config.lr, weight_decay=0.02)  # type: ignore[type-var]
        self.course = Course(config.samples, config.minutes)
        saved = self.journal.load_state()
        if saved is not None:
            tensors, counters = saved
            self.course.take_up(counters)
            self.learner.restore(tensors)

    def _save(self) -> None:
        self.journal.save_state(self.learner.tensors(), self.course.counters())
        half = copy.deepcopy(self.learner.average)
        for parameter in half.parameters():
            parameter.data = parameter.data.to(torch.float16)
        half.save_pretrained(self.config.out / "checkpoint")

    def go(self) -> Path:
        config = self.config
        seen = range(self.course.seen, config.samples + config.batch, config.batch)
        batches = feed(self._batch, seen, config.workers)
        follow(
            self.course,
            lambda: self._step(next(batches)),
            log=self._log,
            save=self._save,
            save_every_s=config.save_every_s,
            unit="sample",
            progress=self.progress,
        )
        names = {"closer": [], "whole": CURVES, "both": CURVES}[config.part]
        self.journal.curve([*names, *(CLOSER_CURVES if config.part != "whole" else [])])
        return config.out / "checkpoint"

    def _log(self, means: Mapping[str, float]) -> Mapping[str, object]:
        rate = self.course.rate(self.config.lr)
        self.journal.log(step=self.course.seen, **means, lr=rate, paintings=len(self.gallery))
        return {name: f"{value:.3f}" for name, value in means.items() if not name.startswith("fault")}

    def _batch(self, seen: int) -> tuple[VerifierBatch, CloserBatch | None]:
        """Its randomness comes from the seed and the samples seen, so a resumed run is the same."""
        if seen // self.config.batch % REFRESH_STEPS == 0:
            self.gallery.refresh()
        rng = np.random.default_rng([self.config.seed, 83, seen])
        samples = [draw(self.shards, self.gallery, rng) for _ in range(self.config.batch)]
        settings = self.model.config
        batch = make_verifier_batch(samples, rng, tuple(settings.band), settings.patch)
        if self.config.part == "whole":
            return batch, None
        slots = [len(values) for values in SLOTS]
        return batch, make_closer_batch(batch, slots, self.model.top_px, RASTER * settings.patch, rng)

    def _step(self, batches: tuple[VerifierBatch, CloserBatch | None]) -> dict[str, float]:
        """Losses, and the share of verdicts that were right; those of the closer look where it alone learns."""
        whole, closer = batches
        # Dropping out is part of what comes from the seed.
        torch.manual_seed(self.config.seed * 1_000_003 + self.course.seen)
        loss, measured = torch.zeros((), device=self.device), dict[str, float]()
        if self.config.part != "closer":
            loss, measured = self._whole(whole)
        if closer is not None:
            with torch.autocast(self.device, dtype=torch.bfloat16):
                closely, right = closer_loss(self.model.closer, closer.to(self.device))
            loss = loss + closely
            measured = {"closer_loss": float(closely.detach()), "closer_accuracy": float(right)} | measured
        self.learner.step(loss, self.course)
        self.course.seen += len(whole.good)
        return measured

    def _whole(self, batch: VerifierBatch) -> tuple[Tensor, dict[str, float]]:
        device = self.device
        shares = [F.one_hot(batch.slots[:, i], len(values)).float().to(device) for i, values in enumerate(SLOTS)]
        before, after, maps, good = (t.to(device) for t in (batch.before, batch.after, batch.maps, batch.good))
        fault, known = batch.fault.to(device), batch.known.to(device)
        with torch.autocast(device, dtype=torch.bfloat16):
            verdict, heat = self.model.whole(before, after, maps, shares)
        loss = F.binary_cross_entropy_with_logits(verdict, good)
        each = F.binary_cross_entropy_with_logits(heat, fault, reduction="none")
        # Faults are few patches of many.
        weight = known * (1 + 7 * fault)
        fault_loss = (each * weight).sum() / weight.sum().clamp(min=1)
        right = ((verdict > 0) == (good > 0.5)).float().mean()
        told = {"loss": float(loss.detach()), "fault_loss": float(fault_loss.detach()), "accuracy": float(right)}
        return loss + self.config.fault_weight * fault_loss, told
