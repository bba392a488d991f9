"""LoRA fine-tuning of the large edit models on before-and-after pairs, with PEFT and accelerate."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta

from itk_embodied.agents.checkpoints import find_checkpoint
from itk_embodied.agents.generators.diffusers_specs import SPECS
from itk_embodied.agents.registry import convert_table
from itk_embodied.agents.settings import DiffusersSettings
from itk_embodied.errors import CheckpointError, ConfigError, InputError, did_you_mean
from itk_embodied.training.shards import Record, ShardSet
from itk_embodied.training.tuning.models import need_trl
from itk_embodied.training.tuning.presets import LoraSettings, Positive, Share, load_preset, parse_change
from itk_embodied.training.tuning.runs import claim, write_curves
from itk_sim.language import grounded, instruction, word_step
from itk_sim.symbols import GRID

KINDS = {spec.class_name: kind for kind, spec in SPECS.items() if kind != "composite-flow"}
NOTHING_ELSE = "; keep everything else unchanged"
FILE = "pytorch_lora_weights.safetensors"


class GeneratorPreset(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings of a LoRA run on an edit model. ``batch``: pairs a step and process, one after another. Steps are
    optimiser steps; ``warmup`` of them raise the learning rate, then it falls along a cosine."""

    description: str
    role: str
    lora: LoraSettings
    steps: Positive = 2000
    batch: Positive = 8
    learning_rate: Annotated[float, Meta(gt=0)] = 1e-4
    warmup: Annotated[int, Meta(ge=0)] = 50
    max_grad_norm: Annotated[float, Meta(gt=0)] = 1.0
    weight_decay: Share = 0.01
    save_every: Positive = 100
    gradient_checkpointing: bool = True
    device: str = "auto"
    call: dict[str, Any] = {}


def kind_of(model: str, preset: GeneratorPreset, resolution_px: int | None) -> tuple[str, DiffusersSettings]:
    """Which of our kinds a checkpoint is, by the class that its ``model_index.json`` names, and how to load it.

    Raises:
        CheckpointError: it is not there or no diffusers pipeline. ConfigError: a pipeline that cannot be tuned here.
    """
    from diffusers import DiffusionPipeline

    settings = DiffusersSettings(
        checkpoint=model,
        allow_download=True,
        device=preset.device,
        steps=1,
        resolution_px=resolution_px,
        call=preset.call,
    )
    checkpoint = find_checkpoint(settings)
    with checkpoint.loading():
        index: Any = DiffusionPipeline.load_config(checkpoint.location, local_files_only=checkpoint.local_only)
    name = index.get("_class_name") if isinstance(index, dict) else None
    if name is None:
        raise CheckpointError(f"{model} is no diffusers pipeline: its model_index.json names no class.")
    if name not in KINDS:
        raise ConfigError(
            f"{model} is a {name}; LoRA tuning knows {', '.join(KINDS)}. "
            "(The embedded generator is trained whole: itk-embodied train generator.)"
        )
    return KINDS[name], settings


def changed_preset(preset: GeneratorPreset, changes: Sequence[str], steps: int | None) -> GeneratorPreset:
    """The preset with ``name=value`` changes; ``lora.r=8`` reaches into the table."""
    table = msgspec.to_builtins(preset)
    for change in changes:
        name, value = parse_change(change)
        where, _, inner = name.rpartition(".")
        inside = table[where] if where == "lora" else table
        if (where and where != "lora") or inner not in inside:
            known = [*table, *(f"lora.{key}" for key in table["lora"])]
            raise ConfigError(f"the preset has no {name!r}; {did_you_mean(name, known)}")
        inside[inner] = value
    if steps is not None:
        table["steps"] = steps
    return convert_table(table, GeneratorPreset, "the preset")


def tune_generator(
    model: str,
    data: Path,
    out: Path,
    *,
    preset: str = "generator-lora",
    resolution_px: int | None = None,
    steps: int | None = None,
    changes: Sequence[str] = (),
    seed: int = 0,
    progress: bool = True,
) -> Path:
    """Train a LoRA adapter; goes on where a killed run stopped. Returns ``out/adapter``, for a stack's ``lora``.

    Raises:
        ConfigError, CheckpointError, InputError: settings, checkpoint or pairs cannot be used.
    """
    need_trl()
    from itk_embodied.training.tuning.generator_loop import LoraRun

    settings = changed_preset(load_preset(preset, "generator", GeneratorPreset), changes, steps)
    shards = ShardSet(data)
    if not len(shards):
        raise InputError(f"{data} has no pairs; make some: itk-embodied train data pairs --out {data}")
    kind, generator = kind_of(model, settings, resolution_px)
    about = {"model": model, "data": str(data), "seed": seed, "resolution_px": resolution_px}
    claim(out, about | {"preset": msgspec.to_builtins(settings)})
    run = LoraRun(kind, generator, settings, out, seed)
    history = run.train(lambda index: _pair(shards, seed, index), progress=progress)
    if run.is_main:
        write_curves(out, history, {"loss": "loss", "gradient": "grad_norm", "learning rate": "learning_rate"})
    return out / "adapter"


def _pair(shards: ShardSet, seed: int, index: int) -> tuple[np.ndarray, np.ndarray, str]:
    """Pair number ``index`` of the run: pictures before and after, and a sentence in one of its forms."""
    rng = np.random.default_rng([seed, 71, index])
    record = shards[int(rng.integers(len(shards)))]
    draw = rng.random()
    if draw < 0.4:
        said = instruction(record.step) + NOTHING_ELSE
    elif draw < 0.7:
        said = word_step(record.step, rng)
    else:
        said = _in_words(record)
    return record.before, record.after, said


def _in_words(record: Record) -> str:
    """The refined form; its place names are words of the embedded generator only, so the others get percentages."""

    def share(match: re.Match[str]) -> str:
        across, down = (round(100 * (int(match[i]) + 0.5) / GRID) for i in (1, 2))
        return f"({across}% from the left, {down}% from the top)"

    return re.sub(r"<x(\d\d)> ?<y(\d\d)>", share, grounded(record.step, record.before_state))
