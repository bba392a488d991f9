"""Training of the embedded generator (`itk_embodied.agents.generators.composite_flow`) on pairs from the simulator.

Flow matching from frame-plus-noise to the edited frame, predicting the edited frame; the loss weighs changed pixels
more, and the change mask is supervised besides. Resolution grows 64 -> 96 -> 128 px while the U-Net's inside stays
32 x 32, so that only its first and last layer are new at each stage.
"""

from __future__ import annotations

import argparse
import copy
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor, nn
from tqdm import tqdm

from itk_embodied.agents.generators.composite_flow import CompositeFlowEditPipeline, predict
from itk_embodied.agents.generators.words import WordEncoder
from itk_embodied.errors import ConfigError
from itk_embodied.training.generator_text import sentence, vocabulary
from itk_embodied.training.journal import Journal, follow_average, optimiser_tensors, restore_optimiser
from itk_embodied.training.shards import ShardSet

INSIDE = 32
"""Side of the U-Net's own raster."""


@dataclass(frozen=True)
class GeneratorTraining:
    """Settings of a run. ``stages``: (size in px, share of the samples); ``samples`` counts training pairs seen."""

    data: Path = Path("data/pairs")
    out: Path = Path("runs/generator")
    samples: int = 150_000
    stages: tuple[tuple[int, float], ...] = ((64, 0.3), (96, 0.3), (128, 0.4))
    batch: int = 16
    lr: float = 8e-4
    sigma: float = 0.5
    channels: tuple[int, ...] = (48, 96, 160)
    words_width: int = 96
    changed_weight: float = 20.0
    mask_weight: float = 0.05
    seed: int = 0
    threads: int = 1
    save_every_s: float = 180.0

    def __post_init__(self) -> None:
        if abs(sum(share for _, share in self.stages) - 1) > 1e-6:
            raise ConfigError(f"stages {self.stages} must have shares that add up to 1.")
        if any(size % INSIDE for size, _ in self.stages):
            raise ConfigError(f"stages {self.stages} must have sizes that are multiples of {INSIDE} px.")


class Editor(nn.Module):
    """U-Net and text encoder together, as they are trained."""

    def __init__(self, words: list[str], patch: int, config: GeneratorTraining) -> None:
        super().__init__()
        self.patch = patch
        self.text_encoder = WordEncoder(words, config.words_width)
        self.unet = build_unet(patch, config.channels, config.words_width)

    def forward(self, noisy: Tensor, frame: Tensor, time: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        content, mask = predict(self.unet, self.patch, noisy, frame, time, self.text_encoder(tokens))
        return frame + mask * (content - frame), mask

    def pipeline(self, sigma: float) -> CompositeFlowEditPipeline:
        return CompositeFlowEditPipeline(
            unet=self.unet, text_encoder=self.text_encoder, size=self.patch * INSIDE, patch=self.patch, sigma=sigma
        )


def build_unet(patch: int, channels: Sequence[int], words_width: int) -> UNet2DConditionModel:
    """The U-Net: attention at its coarsest level only, text by cross-attention and by scale and shift."""
    attends = [False] * (len(channels) - 1) + [True]
    unet = UNet2DConditionModel(
        sample_size=INSIDE,
        in_channels=6 * patch * patch + 2,
        out_channels=4 * patch * patch,
        block_out_channels=tuple(channels),
        layers_per_block=1,
        down_block_types=tuple("CrossAttnDownBlock2D" if a else "DownBlock2D" for a in attends),
        up_block_types=tuple("CrossAttnUpBlock2D" if a else "UpBlock2D" for a in reversed(attends)),
        mid_block_type="UNetMidBlock2DCrossAttn",
        cross_attention_dim=words_width,
        attention_head_dim=tuple(max(1, c // 32) for c in channels),
        norm_num_groups=8,
        addition_embed_type="text",
        addition_embed_type_num_heads=4,
        resnet_time_scale_shift="scale_shift",
    )
    nn.init.zeros_(unet.conv_out.weight)
    nn.init.zeros_(unet.conv_out.bias)
    # Twice as fast as fused attention at this size on a CPU.
    unet.set_attn_processor(AttnProcessor())
    return unet.to(memory_format=torch.channels_last)


def train_generator(config: GeneratorTraining, *, progress: bool = True) -> Path:
    """Train to the end, or go on where a run in ``config.out`` stopped. Returns the pipeline's folder."""
    torch.set_num_threads(config.threads)
    return _Run(config, progress).go()


class _Run:
    def __init__(self, config: GeneratorTraining, progress: bool) -> None:
        self.config, self.progress = config, progress
        self.journal = Journal(config.out)
        self.shards = ShardSet(config.data)
        if len(self.shards) < config.batch:
            raise ConfigError(f"{config.data} has {len(self.shards)} pairs; run: itk-embodied train data")
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.words = vocabulary()
        torch.manual_seed(config.seed)
        self.seen, self.stage = 0, 0
        self._build(None)
        saved = self.journal.load_state()
        if saved is not None:
            self._resume(*saved)

    def _build(self, previous: Editor | None) -> None:
        """The model of this stage; all but the first and last layer carry over from the previous one."""
        size = self.config.stages[self.stage][0]
        self.size = size
        self.model = Editor(self.words, size // INSIDE, self.config)
        if previous is not None:
            own = self.model.state_dict()
            kept = {k: v for k, v in previous.state_dict().items() if v.shape == own[k].shape}
            self.model.load_state_dict(kept, strict=False)
        self.model.to(self.device)
        self.average = copy.deepcopy(self.model).eval().requires_grad_(False)
        self.optimiser = torch.optim.AdamW(
            self.model.parameters(), self.config.lr, betas=(0.9, 0.98), weight_decay=0.01, foreach=True
        )
        self.stage_steps = 0

    def _resume(self, tensors: dict[str, Tensor], counters: dict[str, float]) -> None:
        self.seen, self.stage = int(counters["seen"]), int(counters["stage"])
        self._build(None)
        self.stage_steps = int(counters["stage_steps"])
        for name, module in (("model", self.model), ("average", self.average)):
            own = {k.removeprefix(name + "."): v for k, v in tensors.items() if k.startswith(name + ".")}
            module.load_state_dict(own)
        restore_optimiser(self.optimiser, tensors)

    def _save(self) -> None:
        tensors = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in self.average.state_dict().items()}
        counters = {"seen": self.seen, "stage": self.stage, "stage_steps": self.stage_steps}
        self.journal.save_state(tensors | optimiser_tensors(self.optimiser), counters)
        export(self.average, self.config.sigma, self.config.out / "pipeline")

    def go(self) -> Path:
        config = self.config
        ends = np.cumsum([share for _, share in config.stages]) * config.samples
        saved_s, losses = time.monotonic(), []
        bar = tqdm(total=config.samples, initial=self.seen, unit="pair", disable=not self.progress, mininterval=5)
        try:
            while self.seen < config.samples:
                if self.seen >= ends[self.stage] - 0.5 and self.stage + 1 < len(config.stages):
                    self.stage += 1
                    self._build(self.average)
                losses.append(self._step())
                bar.update(config.batch)
                if len(losses) == 50:
                    entry = {"step": self.seen, "loss": float(np.mean(losses)), "size": self.size}
                    self.journal.log(**entry, pairs=len(self.shards))
                    bar.set_postfix(loss=f"{entry['loss']:.4f}", size=self.size)
                    losses.clear()
                if time.monotonic() - saved_s > config.save_every_s:
                    self._save()
                    self.shards.refresh()
                    saved_s = time.monotonic()
        finally:
            bar.close()
            self._save()
        self.journal.curve(["loss"])
        return config.out / "pipeline"

    def _batch(self, rng: np.random.Generator) -> tuple[Tensor, Tensor, list[str]]:
        records = [self.shards[int(i)] for i in rng.integers(len(self.shards), size=self.config.batch)]
        texts = [sentence(record, rng) for record in records]
        # Light and colour vary alike in both pictures; nothing else does, since left must stay left.
        gain = rng.uniform(0.85, 1.15, (len(records), 1)) * rng.uniform(0.95, 1.05, (len(records), 3))
        gains = torch.from_numpy(gain).float()[:, :, None, None]
        frame, edited = (
            self._shrink(np.stack([getattr(record, name) for record in records]), gains) for name in ("before", "after")
        )
        return frame, edited, texts

    def _shrink(self, images: np.ndarray, gains: Tensor) -> Tensor:
        pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() * gains
        if pixels.shape[-1] != self.size:
            pixels = F.interpolate(pixels, size=(self.size, self.size), mode="area")
        return (pixels.clamp(0, 255) / 127.5 - 1).to(self.device)

    def _step(self) -> float:
        """One optimiser step. Its randomness comes from the seed and the samples seen, so a resumed run is the same."""
        config = self.config
        rng = np.random.default_rng([config.seed, self.seen])
        noise_source = torch.Generator().manual_seed(config.seed * 1_000_003 + self.seen)
        frame, edited, texts = self._batch(rng)
        changed = ((edited - frame).abs().amax(1, keepdim=True) > 0.1).float()
        weight = 1 + config.changed_weight * F.max_pool2d(changed, 3, 1, 1)
        instant = torch.rand(len(frame), generator=noise_source).to(self.device) ** 1.5
        noise = torch.randn(frame.shape, generator=noise_source).to(self.device)
        start = frame + config.sigma * noise
        noisy = start + instant[:, None, None, None] * (edited - start)
        with torch.autocast(self.device, dtype=torch.bfloat16):
            made, mask = self.model(noisy, frame, instant, self.model.text_encoder.tokens(texts))
        loss = 4 * (weight * (made.float() - edited) ** 2).mean()
        mask = mask.float().clamp(1e-5, 1 - 1e-5)
        loss = loss + config.mask_weight * F.binary_cross_entropy(mask, changed, weight=1 + 10 * changed)
        self.optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.stage_steps += 1
        lr = config.lr * min(1.0, self.stage_steps / 60) * self._decay()
        for group in self.optimiser.param_groups:
            group["lr"] = lr
        self.optimiser.step()
        follow_average(self.average, self.model, min(0.999, self.stage_steps / (self.stage_steps + 20)))
        self.seen += len(frame)
        return float(loss.detach())

    def _decay(self) -> float:
        return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, self.seen / self.config.samples)))


def export(editor: Editor, sigma: float, folder: Path) -> None:
    """The averaged weights as a pipeline that `from_pretrained` loads, in half precision."""
    half = copy.deepcopy(editor).to(torch.float16)
    half.pipeline(sigma).save_pretrained(folder)


def main(argv: Sequence[str] | None = None) -> None:
    defaults = GeneratorTraining()
    parser = argparse.ArgumentParser(description="Train the embedded generator; goes on where it stopped.")
    parser.add_argument("--data", type=Path, default=defaults.data)
    parser.add_argument("--out", type=Path, default=defaults.out)
    parser.add_argument("--samples", type=int, default=defaults.samples)
    parser.add_argument("--seed", type=int, default=defaults.seed)
    parser.add_argument("--threads", type=int, default=defaults.threads)
    args = parser.parse_args(argv)
    config = GeneratorTraining(**vars(args))
    Journal(config.out).log(config={k: str(v) for k, v in asdict(config).items()})
    print(train_generator(config))


if __name__ == "__main__":
    main()
