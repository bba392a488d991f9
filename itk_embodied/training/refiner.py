"""Training of the generator's second look (`itk_embodied.agents.generators.refiner`) on what it painted.

The loss is the judge's measure: how far a pixel is beyond all that the truth has next to its place. Plain differences
are mostly edges half a pixel off, which nobody can know better and which hide what is wrong. What is between may be
blurred, so how much fine detail there is counts, too.
"""

# diffusers mixes its methods in in ways that a type checker cannot follow.
# mypy: disable-error-code="attr-defined,operator,arg-type"

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from itk_embodied.agents.generators.composite_flow import CompositeFlowEditPipeline
from itk_embodied.agents.generators.refiner import Refiner
from itk_embodied.agents.generators.words import RASTER
from itk_embodied.agents.windows import SIDE_PX
from itk_embodied.errors import ConfigError
from itk_embodied.training.course import Course, follow
from itk_embodied.training.critic_generated import Gallery
from itk_embodied.training.feed import feed
from itk_embodied.training.journal import Journal
from itk_embodied.training.judge.appearance import ODD
from itk_embodied.training.learner import Learner
from itk_embodied.training.refiner_windows import CORE, STORED_PX, Windows, cut_windows
from itk_embodied.training.shards import ShardSet

WRONG_SHARE = 0.4
"""Of the windows, those of paintings that are wrong: what is right needs little."""
FAR, PLAIN, FINE, EXACT = 8.0, 0.1, 2.0, 1.0
"""Beside what is beyond: how much more what is far beyond counts, how much the plain difference, how much it counts if
fine detail is lost or added, and how much the plain difference counts where every pixel has one right value."""
FINE_PX = 7
"""Detail is compared in squares of this side, whichever pixels have it."""
MIRRORED = 0.3
RECOLOURED = 0.3
"""Of the windows, those whose colour channels change places: what is amiss is so in any colour."""
MEASURED = 512
"""Held-out windows of right and of wrong paintings that the errors are measured on."""


@dataclass(frozen=True)
class RefinerTraining:
    """Settings of a run.

    Attributes:
        generator: pipeline folder of the generator whose paintings it learns from, and with which it is exported.
        init: pipeline folder with a refiner to start from; None for random weights.
        data, generated, rollouts, walks: pairs, and where the generator's judged paintings are; the last two may be
            missing.
        samples: windows to see. minutes: stop after this much wall time, over all resumed parts; None for no limit.
            The learning rate falls by whichever is further on.
        channels, blocks: see `Refiner`.
    """

    generator: Path = Path("itk_embodied/checkpoints/generator")
    init: Path | None = None
    data: Path = Path("data/pairs")
    generated: Path = Path("data/generated")
    rollouts: Path | None = Path("data/rollouts")
    walks: Path | None = Path("data/walks")
    out: Path = Path("runs/refiner")
    channels: tuple[int, int, int] = (48, 96, 128)
    blocks: int = 2
    samples: int = 600_000
    minutes: float | None = None
    batch: int = 16
    lr: float = 5e-4
    seed: int = 0
    threads: int = 1
    workers: int = 0
    save_every_s: float = 180.0

    def __post_init__(self) -> None:
        if self.samples < 1 or self.batch < 1:
            raise ConfigError(f"samples is {self.samples} and batch {self.batch}; both must be 1 or more.")
        for folder in (self.generator, self.init):
            if folder is not None and not (folder / "model_index.json").is_file():
                raise ConfigError(f"{folder} holds no pipeline; give the pipeline folder of a trained generator.")


def train_refiner(config: RefinerTraining, *, progress: bool = True) -> Path:
    """Train to the end, or go on where a run in ``config.out`` stopped. Returns the folder of the generator's pipeline
    with the refiner in it."""
    torch.set_num_threads(config.threads)
    return _Run(config, progress).go()


@dataclass(frozen=True)
class RefinerBatch:
    """``frame``, ``painted``, ``truth``, ``other``: float32 (B, 3, S, S) in -1..1; ``spot``, ``loose``, ``weight``:
    float32 (B, 1, S, S); ``corner``: float32 (B, 2), see `Refiner.forward`."""

    frame: Tensor
    painted: Tensor
    truth: Tensor
    other: Tensor
    spot: Tensor
    loose: Tensor
    weight: Tensor
    corner: Tensor


def make_refiner_batch(
    windows: Sequence[tuple[Windows, int]], side: int, rng: np.random.Generator | None = None
) -> RefinerBatch:
    """Windows of pictures ``side`` px wide; ``rng`` moves, mirrors and lights them anew, without it: their middle."""
    room = STORED_PX - SIDE_PX
    parts, others, corners = [], [], []
    for chunk, number in windows:
        down, right, *elsewhere = rng.integers(room + 1, size=4) if rng is not None else (room // 2,) * 4
        where = slice(down, down + SIDE_PX), slice(right, right + SIDE_PX)
        row, left, belongs, _ = chunk.about[number]
        parts.append([array[number][where] for array in _arrays(chunk)])
        down, left_out = elsewhere
        others.append(chunk.frame[belongs][down : down + SIDE_PX, left_out : left_out + SIDE_PX])
        corners.append([(left + where[1].start) / side, (row + where[0].start) / side])
    frame, painted, truth = (_pictures([part[i] for part in parts]) for i in range(3))
    spot, loose, weight = (torch.from_numpy(np.stack([part[i] for part in parts])).float()[:, None] for i in (3, 4, 5))
    batch = RefinerBatch(frame, painted, truth, _pictures(others), spot, loose, weight, torch.tensor(corners).float())
    return batch if rng is None else _varied(batch, side, rng)


def _arrays(chunk: Windows) -> tuple[np.ndarray, ...]:
    return chunk.frame, chunk.painted, chunk.truth, chunk.spot, chunk.loose, chunk.weight


def _pictures(images: Sequence[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 127.5 - 1


def _varied(batch: RefinerBatch, side: int, rng: np.random.Generator) -> RefinerBatch:
    count = len(batch.frame)
    gain = rng.uniform(0.85, 1.15, (count, 1)) * rng.uniform(0.95, 1.05, (count, 3))
    gains = torch.from_numpy(gain).float()[:, :, None, None]
    orders = [rng.permutation(3) if rng.random() < RECOLOURED else np.arange(3) for _ in range(count)]
    order = torch.from_numpy(np.stack(orders))[:, :, None, None]
    mirrored = torch.from_numpy(rng.random(count) < MIRRORED)
    flip = mirrored[:, None, None, None]
    images = (batch.frame, batch.painted, batch.truth, batch.other)
    dyed = [image.gather(1, order.expand_as(image)) for image in images]
    lit = [((image + 1) * gains - 1).clamp(max=1) for image in dyed]
    turned = [torch.where(flip, image.flip(-1), image) for image in (*lit, batch.spot, batch.loose, batch.weight)]
    # A mirrored window lies at the mirrored place of a picture whose columns go from 0 to 1.
    across = torch.where(mirrored, 1 - batch.corner[:, 0] - SIDE_PX / side, batch.corner[:, 0])
    frame, painted, truth, other, spot, loose, weight = turned
    corner = torch.stack([across, batch.corner[:, 1]], 1)
    return RefinerBatch(frame, painted, truth, other, spot, loose, weight, corner)


def beyond(made: Tensor, truth: Tensor) -> Tensor:
    """How far each pixel is beyond all that the truth has in the 3 by 3 pixels around its place, 0 or more."""
    high, low = F.max_pool2d(truth, 3, 1, 1), -F.max_pool2d(-truth, 3, 1, 1)
    return (low - made).clamp(min=0) + (made - high).clamp(min=0)


def refine_loss(made: Tensor, batch: RefinerBatch) -> Tensor:
    """Per pixel of the spots: where the truth is loose, what is beyond it, and the detail lost or added; elsewhere the
    plain difference. What is far beyond counts more than in proportion everywhere.

    Told to keep detail where every pixel has one right value, it paints stripes of the right strength."""
    far, off = beyond(made, batch.truth), (made - batch.truth).abs()
    grain = (detail(made) - detail(batch.truth)).abs()
    cost = FAR * far**2 + torch.where(batch.loose > 0, far + PLAIN * off + FINE * grain, EXACT * off)
    weight = batch.spot * batch.weight
    return (cost * weight).sum() / (3 * weight.sum().clamp(min=1))


def detail(images: Tensor) -> Tensor:
    """How strong the fine detail around each pixel is, (B, 3, H, W), 0 or more; shifts of a pixel hardly change it."""
    return F.avg_pool2d((images - _blurred(images)).abs(), FINE_PX, 1, FINE_PX // 2, count_include_pad=False)


def _blurred(images: Tensor) -> Tensor:
    kernel = torch.tensor([0.06, 0.24, 0.4, 0.24, 0.06], device=images.device)  # of a sigma of a pixel
    for padding, shape in (((2, 2, 0, 0), (1, 1, 1, 5)), ((0, 0, 2, 2), (1, 1, 5, 1))):
        padded = F.pad(images, padding, mode="replicate")
        images = F.conv2d(padded, kernel.view(shape).expand(3, *shape[1:]), groups=3)
    return images


class _Pool:
    """Windows of one split, those of right and of wrong paintings apart."""

    def __init__(self, chunks: Sequence[Windows]) -> None:
        self.chunks = chunks
        right = np.concatenate([np.asarray(chunk.about[:, 3]) for chunk in chunks]) > 0
        self.starts = np.cumsum([0] + [len(chunk.about) for chunk in chunks])
        self.right, self.wrong = np.nonzero(right)[0], np.nonzero(~right)[0]

    def __len__(self) -> int:
        return int(self.starts[-1])

    def __getitem__(self, index: int) -> tuple[Windows, int]:
        chunk = int(np.searchsorted(self.starts, index, "right")) - 1
        return self.chunks[chunk], int(index - self.starts[chunk])

    def draw(self, rng: np.random.Generator) -> tuple[Windows, int]:
        wrong = len(self.wrong) and rng.random() < WRONG_SHARE
        return self[int(rng.choice(self.wrong))] if wrong else self[int(rng.integers(len(self)))]


class _Run:
    def __init__(self, config: RefinerTraining, progress: bool) -> None:
        self.config, self.progress = config, progress
        self.journal = Journal(config.out)
        self.journal.log(config={name: str(value) for name, value in asdict(config).items()})
        # In half precision, as pipelines are exported.
        self.pipeline = CompositeFlowEditPipeline.from_pretrained(config.generator, torch_dtype=torch.float16)
        self.side = RASTER * self.pipeline.config.patch
        self.train, self.held_out = (self._pool(split) for split in ("train", "held-out"))
        if self.train is None:
            how = "python -m itk_embodied.training.critic_generated"
            raise ConfigError(f"{config.generated} has no paintings of {config.data}; run: {how}")
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        torch.manual_seed(config.seed)
        new = config.init is None
        self.model = Refiner(config.channels, config.blocks) if new else load_refiner(config.init)
        self.model.to(self.device)
        # A type checker does not see that diffusers' models are modules.
        self.learner = Learner(self.model, config.lr, weight_decay=0.01)  # type: ignore[type-var]
        self.course = Course(config.samples, config.minutes)
        saved = self.journal.load_state()
        if saved is not None:
            tensors, counters = saved
            self.course.take_up(counters)
            self.learner.restore(tensors)

    def _pool(self, split: str) -> _Pool | None:
        config = self.config
        shards = ShardSet(config.data, split)
        gallery = Gallery(shards, config.generated, config.rollouts, config.walks, doubtful=0.0)
        if not len(gallery):
            return None
        band = tuple(self.pipeline.config.band)
        return _Pool(cut_windows(gallery, config.out / "windows" / split, band, progress=self.progress))

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
            unit="window",
            progress=self.progress,
        )
        self.journal.curve(["loss", "beyond", "odd", "fine"])
        return config.out / "pipeline"

    def _save(self) -> None:
        self.journal.save_state(self.learner.tensors(), self.course.counters())
        half = copy.deepcopy(self.learner.average).to(torch.float16)
        self.pipeline.register_modules(refiner=half)
        self.pipeline.save_pretrained(self.config.out / "pipeline")
        if self.held_out is not None:
            self.journal.log(step=self.course.seen, **held_out_errors(self.learner.average, self.held_out, self.side))

    def _log(self, means: Mapping[str, float]) -> Mapping[str, object]:
        rate = self.course.rate(self.config.lr)
        self.journal.log(step=self.course.seen, **means, lr=rate, windows=len(self.train or ()))
        return {"loss": f"{means['loss']:.4f}"}

    def _batch(self, seen: int) -> RefinerBatch:
        """Its randomness comes from the seed and the samples seen, so a resumed run is the same."""
        assert self.train is not None
        rng = np.random.default_rng([self.config.seed, 89, seen])
        return make_refiner_batch([self.train.draw(rng) for _ in range(self.config.batch)], self.side, rng)

    def _step(self, batch: RefinerBatch) -> dict[str, float]:
        batch = _on(batch, self.device)
        with torch.autocast(self.device, dtype=torch.bfloat16):
            added = self.model(batch.frame, batch.painted, batch.spot, batch.other, batch.corner)
        loss = refine_loss(batch.painted + added.float(), batch)
        self.learner.step(loss, self.course)
        self.course.seen += len(batch.frame)
        return {"loss": float(loss.detach())}


@torch.no_grad()
def held_out_errors(model: Refiner, windows: _Pool, side: int) -> dict[str, float]:
    """What is left of the errors of wrong paintings where a thing moved, 1 for all of it: ``beyond``, the mean, and
    ``odd``, the pixels that the judge finds odd, and ``fine``, the strength of fine detail, 1 for the truth's;
    ``beyond_right`` and so on: of right ones."""
    rng = np.random.default_rng(0)
    left: dict[str, float] = {}
    for name, numbers in (("", windows.wrong), ("_right", windows.right)):
        sums = np.zeros((3, 3))
        chosen = rng.permutation(numbers)[:MEASURED]
        for start in range(0, len(chosen), 32):
            batch = make_refiner_batch([windows[int(i)] for i in chosen[start : start + 32]], side)
            batch = _on(batch, next(model.parameters()).device.type)
            made = batch.painted + model(batch.frame, batch.painted, batch.spot, batch.other, batch.corner)
            core = batch.spot * (batch.weight == CORE)
            for row, image in enumerate((batch.painted, made, batch.truth)):
                far = beyond(image, batch.truth) * core
                fine = detail(image) * core
                sums[row] += float(far.sum()), float((far.amax(1) > ODD / 127.5).sum()), float(fine.sum())
        if (sums[0] > 0).all():
            told = sums[1] / (sums[0, 0], sums[0, 1], sums[2, 2])
            left |= {f"{kind}{name}": float(value) for kind, value in zip(("beyond", "odd", "fine"), told, strict=True)}
    return left


def _on(batch: RefinerBatch, device: str) -> RefinerBatch:
    return RefinerBatch(**{name: value.to(device) for name, value in vars(batch).items()})


def load_refiner(folder: Path) -> Refiner:
    """The refiner of a generator's pipeline, in full precision. Raises ConfigError where it has none."""
    refiner = CompositeFlowEditPipeline.from_pretrained(folder).refiner
    if refiner is None:
        raise ConfigError(f"the generator in {folder} has no refiner; leave init out to start from random weights.")
    made: Refiner = refiner.float()
    return made
