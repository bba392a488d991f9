"""The loop of a LoRA run: one pair at a time, accumulated; saved in one move, resumed where it was."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from itk_embodied.agents.generators.diffusers_generator import DiffusersGenerator
from itk_embodied.agents.settings import DiffusersSettings
from itk_embodied.errors import ConfigError
from itk_embodied.training.journal import Journal, optimiser_tensors, restore_optimiser
from itk_embodied.training.tuning.denoising import Denoiser
from itk_embodied.training.tuning.generator_lora import GeneratorPreset

Pair = tuple[np.ndarray, np.ndarray, str]


class LoraRun:
    """Loads the pipeline, adds the adapter, restores what an earlier process left in ``out``."""

    def __init__(
        self, kind: str, generator: DiffusersSettings, settings: GeneratorPreset, out: Path, seed: int
    ) -> None:
        from accelerate import Accelerator
        from accelerate.utils import set_seed
        from peft import LoraConfig

        self.settings, self.out, self.seed = settings, out, seed
        self.accelerator = Accelerator(cpu=not torch.cuda.is_available())
        self.denoiser = Denoiser(DiffusersGenerator.from_settings(kind, generator))
        set_seed(seed)  # the adapter starts from random weights
        module: Any = self.denoiser.module
        module.requires_grad_(False)
        self.lora = LoraConfig(
            r=settings.lora.r,
            lora_alpha=settings.lora.alpha,  # type: ignore[arg-type]
            lora_dropout=settings.lora.dropout,
            target_modules=list(settings.lora.targets),
        )
        try:
            module.add_adapter(self.lora)
        except ValueError as error:
            raise ConfigError(f"lora.targets fit no layer of {type(module).__name__}: {error}") from error
        if settings.gradient_checkpointing:
            module.enable_gradient_checkpointing()
        self.weights = {name: p for name, p in module.named_parameters() if p.requires_grad}
        for parameter in self.weights.values():
            parameter.data = parameter.data.float()  # what learns is float32, whatever the frozen rest is
        self.optimiser = torch.optim.AdamW(
            self.weights.values(), settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.journal = Journal(out)
        self.step = 0
        saved = self.journal.load_state()
        if saved is not None:
            tensors, counters = saved
            self.step = int(counters["step"])
            with torch.no_grad():
                for name, parameter in self.weights.items():
                    parameter.copy_(tensors[f"lora.{name}"])
            restore_optimiser(self.optimiser, tensors)
        self.module = self.accelerator.prepare(module)
        self.optimiser = self.accelerator.prepare(self.optimiser)

    @property
    def is_main(self) -> bool:
        return self.accelerator.is_main_process

    def train(self, pair: Callable[[int], Pair], *, progress: bool = True) -> list[dict[str, float]]:
        """To the end. Returns the log so far, one line a step."""
        settings = self.settings
        history = [line for line in self._lines() if line["step"] <= self.step]
        bar = tqdm(
            total=settings.steps, initial=self.step, unit="step", desc="lora", disable=not (progress and self.is_main)
        )
        self.module.train()
        while self.step < settings.steps:
            line = self._step(pair)
            history.append(line)
            bar.update()
            bar.set_postfix(loss=f"{line['loss']:.4f}")
            if self.step % settings.save_every == 0 or self.step == settings.steps:
                self.save(history)
        bar.close()
        return history

    def _step(self, pair: Callable[[int], Pair]) -> dict[str, float]:
        settings, accelerator = self.settings, self.accelerator
        rate = settings.learning_rate * self._share()
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        losses = []
        for number in range(settings.batch):
            index = (self.step * settings.batch + number) * accelerator.num_processes + accelerator.process_index
            prepared = self.denoiser.prepare(*pair(index))
            random = torch.Generator("cpu").manual_seed((self.seed << 40) + index)
            last = number + 1 == settings.batch
            with contextlib.nullcontext() if last else accelerator.no_sync(self.module):
                # Under bfloat16 weights the float32 adapter needs autocast.
                kind: Any = self.denoiser.module.dtype
                half = torch.autocast(accelerator.device.type, dtype=kind, enabled=kind != torch.float32)
                with half:
                    loss = self.denoiser.loss(self.module, prepared, random)
                accelerator.backward(loss / settings.batch)
            losses.append(float(loss.detach()))
        norm = accelerator.clip_grad_norm_(self.weights.values(), settings.max_grad_norm)
        self.optimiser.step()
        self.optimiser.zero_grad()
        self.step += 1
        mean = float(accelerator.reduce(torch.tensor(np.mean(losses), device=accelerator.device), "mean"))
        if not math.isfinite(mean):
            raise ConfigError(f"the loss is {mean} at step {self.step}; lower learning_rate and start again.")
        return {"step": self.step, "loss": mean, "grad_norm": float(norm), "learning_rate": rate}

    def _share(self) -> float:
        """The learning rate's share: a linear warm-up, then a cosine down to nothing."""
        warm = min(1.0, (self.step + 1) / (self.settings.warmup + 1))
        return warm * 0.5 * (1 + math.cos(math.pi * min(1.0, self.step / self.settings.steps)))

    def save(self, history: Iterable[dict[str, float]]) -> None:
        """The state to go on from, and the adapter as diffusers loads it."""
        if not self.is_main:
            return
        from diffusers.training_utils import _collate_lora_metadata
        from peft import get_peft_model_state_dict

        module: Any = self.denoiser.module
        name = self.denoiser.adapter_name
        options = {
            f"{name}_lora_layers": get_peft_model_state_dict(module),
            **_collate_lora_metadata({name: module}),
        }
        type(self.denoiser.pipeline).save_lora_weights(self.out / "adapter", **options)
        staging = self.out / "log.partial"
        staging.write_text("".join(json.dumps(line) + "\n" for line in history))
        staging.replace(self.out / "log.jsonl")
        tensors = {f"lora.{key}": value for key, value in self.weights.items()}
        inner: Any = getattr(self.optimiser, "optimizer", self.optimiser)
        self.journal.save_state(tensors | optimiser_tensors(inner), {"step": self.step})

    def _lines(self) -> list[dict[str, float]]:
        return self.journal.lines()
