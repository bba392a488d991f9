"""A Qwen3-VL to train: loaded as the adapter loads it, frozen in parts, with LoRA where asked; saved as it loads."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from itk_embodied.agents.checkpoints import Checkpoint, find_checkpoint
from itk_embodied.agents.qwen3vl.adapter import NOTES_FILE
from itk_embodied.agents.qwen3vl.processor import ImageOnlyQwen3VLProcessor
from itk_embodied.agents.settings import CheckpointSettings
from itk_embodied.errors import ConfigError, MissingDependencyError
from itk_embodied.training.tuning.presets import LoraSettings, Preset
from itk_embodied.training.tuning.runs import note_done

LANGUAGE_LAYERS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def need_trl() -> None:
    """Raise MissingDependencyError, with the line that installs them, where TRL or PEFT are absent."""
    try:
        import datasets
        import peft
        import trl  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(
            f'{error.name} is not installed; fine-tuning needs: pip install "itk-embodied[train]"'
        ) from error
    del datasets, peft


def locate(model: str) -> Checkpoint:
    """A folder, ``package:folder`` or a hub id, which is fetched where it is not on this machine."""
    return find_checkpoint(CheckpointSettings(checkpoint=model, allow_download=True))


def load_trainable(checkpoint: Checkpoint, preset: Preset, *, lora: bool) -> tuple[Any, Any]:
    """Model and processor. Weights that learn are float32; under LoRA the frozen base of a bf16 run is bfloat16."""
    import torch
    from transformers import Qwen3VLForConditionalGeneration

    half = lora and bool(preset.arguments.get("bf16"))
    options: dict[str, Any] = {"local_files_only": checkpoint.local_only}
    with checkpoint.loading():
        model: Any = Qwen3VLForConditionalGeneration.from_pretrained(
            checkpoint.location, dtype=torch.bfloat16 if half else torch.float32, use_safetensors=True, **options
        )
        processor = ImageOnlyQwen3VLProcessor.from_pretrained(checkpoint.location, **options)
    freeze(model, preset.freeze)
    return model, processor


def freeze(model: Any, parts: tuple[str, ...]) -> None:
    """Stop ``vision`` (the tower without its mergers) or ``projector`` (the mergers) from learning."""
    visual = model.model.visual
    mergers = [*visual.merger.parameters(), *visual.deepstack_merger_list.parameters()]
    bridge = {id(parameter) for parameter in mergers}
    for parameter in visual.parameters():
        if ("projector" if id(parameter) in bridge else "vision") in parts:
            parameter.requires_grad_(False)


def lora_config(settings: LoraSettings) -> Any:
    """PEFT's configuration: adapters in the language model only, so the eyes stay as they are."""
    from peft import LoraConfig

    layers = "|".join(settings.targets or LANGUAGE_LAYERS)
    return LoraConfig(
        r=settings.r,
        lora_alpha=settings.alpha,  # type: ignore[arg-type]
        lora_dropout=settings.dropout,
        target_modules=rf".*language_model.*\.({layers})",
        task_type="CAUSAL_LM",
    )


def trained_folder(out: Path, *, lora: bool) -> Path:
    """Where a run's outcome is saved: ``adapter`` (LoRA, safetensors) or ``model``, as a stack's ``lora`` or
    ``checkpoint`` takes it."""
    return out / ("adapter" if lora else "model")


def save_trained(trainer: Any, processor: Any, checkpoint: Checkpoint, out: Path, *, lora: bool) -> Path:
    """Save the outcome in its `trained_folder`, and note that the run is done."""
    folder = trained_folder(out, lora=lora)
    trainer.save_model(str(folder))
    if trainer.accelerator.is_main_process:
        processor.save_pretrained(folder)
        if checkpoint.folder and (checkpoint.folder / NOTES_FILE).is_file():
            shutil.copyfile(checkpoint.folder / NOTES_FILE, folder / NOTES_FILE)
        (folder / "training_args.bin").unlink(missing_ok=True)  # a pickle, of no use to who loads the model
        if not lora:
            _halve(folder)
        note_done(out, trainer.state.global_step)
    trainer.accelerator.wait_for_everyone()
    return folder


def _halve(folder: Path) -> None:
    """Store in bfloat16 what learned in float32: it is used so, and autocast made it so all along."""
    import torch
    from safetensors.torch import load_file, save_file

    for path in folder.glob("*.safetensors"):
        halves = {k: v.bfloat16() if v.dtype == torch.float32 else v for k, v in load_file(path).items()}
        staging = path.with_suffix(".partial")
        save_file(halves, staging, {"format": "pt"})
        staging.chmod(path.stat().st_mode)
        staging.replace(path)
    config = json.loads((folder / "config.json").read_text())
    config["dtype"] = "bfloat16"
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def training_arguments(kind: type, preset: Preset, out: Path, seed: int, **ours: Any) -> Any:
    """``kind`` (SFTConfig, GRPOConfig) of a preset. Raises ConfigError: it has no such argument, or values clash."""
    from dataclasses import fields

    import torch

    from itk_embodied.errors import did_you_mean

    known = {field.name for field in fields(kind)}
    for name in preset.arguments:
        if name not in known or name in ("output_dir", "seed"):
            raise ConfigError(f"trl.{kind.__name__} takes no {name!r} here; {did_you_mean(name, known)}")
    defaults = {"save_total_limit": 2, "report_to": "none", "use_cpu": not torch.cuda.is_available()}
    try:
        return kind(**(defaults | ours | dict(preset.arguments)), output_dir=str(out), seed=seed)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"the settings do not fit trl.{kind.__name__}: {error}") from error
