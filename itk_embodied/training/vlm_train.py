"""One trainer for the tiny Qwen3-VL models; what they learn is decided by the examples it is given."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm
from transformers import PreTrainedTokenizerFast, Qwen3VLForConditionalGeneration

from itk_embodied.agents.qwen3vl.tiny import (
    TinySize,
    build_model,
    build_processor,
    build_tokenizer,
    deepened,
    notes,
)
from itk_embodied.training.feed import feed
from itk_embodied.training.journal import Journal, optimiser_tensors, restore_optimiser
from itk_embodied.training.vlm_batch import IGNORED, Example, Packed, Packer
from itk_embodied.training.vlm_fast import speed_up
from itk_embodied.training.vlm_loss import DenseHead, LanguageLoss
from itk_embodied.training.vlm_text import corpus

BLIND_TIMES = 4
"""A batch without pictures has so many times the examples of one with pictures: they cost less."""
BLIND_ROWS, PICTURE_ROWS = 16, 8
"""Rows that go through a CPU at a time: what stays in its cache. A GPU takes a whole batch."""
ADAM_RATE = 0.625
"""AdamW's rate over Muon's."""
REFRESH_STEPS = 500
"""After so many steps the data are looked through for what is new."""

ExampleSource = Callable[[np.random.Generator, bool], Example]
"""Draws an example; asked for a blind one, it has no picture."""


@dataclass(frozen=True)
class TinyTraining:
    """Settings of one stage.

    Attributes:
        start: a checkpoint folder of an earlier stage to start from; None for random weights and a new tokenizer.
        examples: pictures to see in all; the learning rate falls to nothing over its second half.
        lr: highest rate of Muon, for matrices (Jordan et al., 2024); embeddings, norms and the dense head have AdamW,
            at `ADAM_RATE` of it.
        text_layers: how many layers the text part shall have; where ``start`` has fewer, new ones that do nothing yet
            are added on top. blind_share: how many batches have no pictures.
        dense_weight: weight of the dense head's loss. verdict_weight: of the critic's boolean.
        compiled: compile the layers, which takes a minute or two and then trains about 1.5 times as fast.
        workers: processes that draw examples ahead: for a GPU, as many as there are cores to spare.
    """

    out: Path
    examples: int
    start: Path | None = None
    pair_frames: bool = True
    batch: int = 32
    lr: float = 1.6e-3
    text_layers: int | None = None
    blind_share: float = 0.0
    dense_weight: float = 1.0
    verdict_weight: float = 1.0
    true_weight: float = 1.0
    seed: int = 0
    threads: int = 1
    save_every_s: float = 180.0
    compiled: bool = False
    workers: int = 0
    extra_notes: dict[str, float] = field(default_factory=dict)


class TinyTrainer:
    """Trains, saves, resumes. ``refresh`` is called now and then, for data that grows meanwhile."""

    def __init__(
        self, config: TinyTraining, source: ExampleSource, refresh: Callable[[], object] = lambda: None
    ) -> None:
        self.config, self.source, self.refresh = config, source, refresh
        torch.set_num_threads(config.threads)
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.journal = Journal(config.out)
        checkpoint = config.out / "checkpoint"
        self.tokenizer = load_or_build_tokenizer(checkpoint if checkpoint.exists() else config.start)
        self.packer = Packer(self.tokenizer, TinySize())
        if config.start is None:
            self.model = build_model(self.tokenizer, seed=config.seed)
        else:
            self.model = Qwen3VLForConditionalGeneration.from_pretrained(config.start, dtype=torch.float32)
            if config.text_layers is not None:
                self.model = deepened(self.model, config.text_layers)
        self.model.to(self.device)  # type: ignore[arg-type]  # transformers wraps it in a way that hides its arguments
        speed_up(self.model, compiled=config.compiled)
        self.features: Tensor | None = None
        self.model.model.visual.merger.register_forward_hook(self._keep_features)
        text: Any = self.model.config.text_config
        self.dense = DenseHead(text.hidden_size, self.packer)
        if config.start is not None and (config.start.parent / "dense.safetensors").exists():
            from safetensors.torch import load_file

            self.dense.load_state_dict(load_file(config.start.parent / "dense.safetensors"))
        self.dense.to(self.device)
        vocabulary = self.model.get_output_embeddings().weight.shape[0]
        self.language_loss = LanguageLoss(self.tokenizer, vocabulary, config.true_weight, self.device)
        self.optimisers = self._optimisers()
        self.seen = 0
        saved = self.journal.load_state()
        if saved is not None:
            tensors, counters = saved
            self.seen = int(counters["seen"])
            for name, module in (("model", self.model), ("dense", self.dense)):
                own = {k.removeprefix(name + "."): v for k, v in tensors.items() if k.startswith(name + ".")}
                module.load_state_dict(own, strict=False)  # tied weights are stored once
            for number, optimiser in enumerate(self.optimisers):
                restore_optimiser(optimiser, tensors, f"opt{number}")

    def _keep_features(self, module: nn.Module, inputs: object, output: Tensor) -> None:
        self.features = output

    def _optimisers(self) -> list[torch.optim.Optimizer]:
        matrices: list[nn.Parameter] = []
        others = list(self.dense.parameters())
        for name, parameter in self.model.named_parameters():
            plain = parameter.ndim == 2 and "embed" not in name and "lm_head" not in name
            (matrices if plain else others).append(parameter)
        adam = torch.optim.AdamW(others, ADAM_RATE * self.config.lr, betas=(0.9, 0.98), weight_decay=0.01)
        muon = torch.optim.Muon(
            matrices, lr=self.config.lr, weight_decay=0.01, momentum=0.95, adjust_lr_fn="match_rms_adamw"
        )
        return [adam, muon]

    def train(self, *, progress: bool = True, label: str = "training") -> Path:
        """To the end, or on from where it stopped. Returns the checkpoint's folder."""
        config = self.config
        self.model.train()
        bar = tqdm(
            total=config.examples, initial=self.seen, unit="pair", desc=label, disable=not progress, mininterval=5
        )
        saved_s, sums = time.monotonic(), []
        try:
            for parts in feed(self._parts, range(self.seen, config.examples, config.batch), config.workers):
                sums.append(self._step(parts))
                bar.update(config.batch)
                if len(sums) == 25:
                    loss, verdict, dense = np.mean(sums, 0)
                    self.journal.log(step=self.seen, loss=float(loss), verdict=float(verdict), dense=float(dense))
                    bar.set_postfix(loss=f"{loss:.3f}", verdict=f"{verdict:.3f}", dense=f"{dense:.3f}")
                    sums.clear()
                if time.monotonic() - saved_s > config.save_every_s:
                    self.save()
                    saved_s = time.monotonic()
        finally:
            bar.close()
            self.save()
        self.journal.curve(["loss", "verdict", "dense"])
        return config.out / "checkpoint"

    def _parts(self, seen: int) -> list[Packed]:
        """What the step after ``seen`` examples learns from."""
        config = self.config
        if seen // config.batch % REFRESH_STEPS == 0:
            self.refresh()
        rng = np.random.default_rng([config.seed, 11, seen])
        blind = bool(rng.random() < config.blind_share)
        examples = [self.source(rng, blind) for _ in range(config.batch * (BLIND_TIMES if blind else 1))]
        return [self.packer.pack(chunk) for chunk in self._chunks(examples, blind)]

    def _step(self, parts: list[Packed]) -> tuple[float, float, float]:
        config = self.config
        for optimiser in self.optimisers:
            optimiser.zero_grad()
        learned = [int((part.labels[:, 1:] != IGNORED).sum()) for part in parts]
        sums = np.zeros(3)
        for part, count in zip(parts, learned, strict=True):
            sums += np.array(self._learn(part, count / sum(learned))) * (count / sum(learned))
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self._schedule()
        for optimiser in self.optimisers:
            optimiser.step()
        self.seen += config.batch
        return float(sums[0]), float(sums[1]), float(sums[2])

    def _chunks(self, examples: list[Example], blind: bool) -> list[list[Example]]:
        """A few rows at a time, of about one length: that stays in the cache and pads little."""
        rows = len(examples) if self.device == "cuda" else BLIND_ROWS if blind else PICTURE_ROWS
        ordered = sorted(examples, key=lambda e: sum(len(self.packer.question_ids(q)[0]) for q in e.questions))
        return [ordered[i : i + rows] for i in range(0, len(ordered), rows)]

    def _learn(self, packed: Packed, share: float) -> tuple[float, float, float]:
        """Gradients of one chunk, which has ``share`` of the batch. Its loss, the verdict's part of it, the head's."""
        inputs = {name: value.to(self.device) for name, value in packed.inputs.items()}
        inputs["attention_mask"] = torch.where(inputs["attention_mask"], 0.0, -1e4).to(torch.bfloat16)
        with torch.autocast(self.device, dtype=torch.bfloat16):
            hidden = self.model.model(**inputs).last_hidden_state
            labels = packed.labels.to(self.device)[:, 1:]
            learned = labels != IGNORED
            logits = self.model.lm_head(hidden[:, :-1][learned])
        loss, verdict = self.language_loss(logits, labels[learned], self.config.verdict_weight)
        dense = torch.zeros((), device=self.device)
        if self.config.dense_weight and "pixel_values" in inputs:
            assert self.features is not None
            dense = self.dense(self.features, packed.examples)
        ((loss + self.config.dense_weight * dense) * share).backward()
        return float(loss.detach()), verdict, float(dense.detach())

    def _schedule(self) -> None:
        done = self.seen / self.config.examples
        warm = min(1.0, (self.seen / self.config.batch + 1) / 60)
        scale = warm * (1.0 if done < 0.5 else max(0.02, 1 - (done - 0.5) / 0.5))
        for optimiser, lr in zip(self.optimisers, (ADAM_RATE * self.config.lr, self.config.lr), strict=True):
            for group in optimiser.param_groups:
                group["lr"] = lr * scale

    def save(self) -> None:
        """The state to go on from, and a checkpoint that `from_pretrained` loads."""
        tensors = {f"model.{k}": v for k, v in self.model.state_dict().items() if k != "lm_head.weight"}
        tensors |= {f"dense.{k}": v for k, v in self.dense.state_dict().items()}
        for number, optimiser in enumerate(self.optimisers):
            tensors |= optimiser_tensors(optimiser, f"opt{number}")
        self.journal.save_state(tensors, {"seen": self.seen})
        from safetensors.torch import save_file

        save_file(self.dense.state_dict(), self.config.out / "dense.safetensors")
        save_checkpoint(
            self.model, self.tokenizer, self.config.out / "checkpoint", self.config.pair_frames, self.config.extra_notes
        )


def save_checkpoint(
    model: Qwen3VLForConditionalGeneration,
    tokenizer: PreTrainedTokenizerFast,
    folder: Path,
    pair_frames: bool,
    found: dict[str, float],
) -> None:
    """Weights in bfloat16, tokenizer, processor and notes, as the adapter loads them."""
    half = Qwen3VLForConditionalGeneration(model.config)
    half.load_state_dict(model.state_dict())
    half.generation_config = model.generation_config
    half.bfloat16().save_pretrained(folder)
    build_processor(tokenizer, pair_frames=pair_frames).save_pretrained(folder)
    (folder / "itk.json").write_text(notes(**found))


def load_or_build_tokenizer(folder: Path | None) -> PreTrainedTokenizerFast:
    """The tokenizer of a checkpoint, or a new one trained on our own corpus."""
    if folder is not None:
        return PreTrainedTokenizerFast.from_pretrained(folder)
    return build_tokenizer(corpus())
