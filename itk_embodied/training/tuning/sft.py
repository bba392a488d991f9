"""Supervised fine-tuning of planner and critic with TRL, for Qwen3-VL of any size, in full or with LoRA."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from itk_embodied.errors import ConfigError
from itk_embodied.training.tuning.models import (
    load_trainable,
    locate,
    lora_config,
    need_trl,
    save_trained,
    trained_folder,
    training_arguments,
)
from itk_embodied.training.tuning.presets import TunedRole, changed, load_preset
from itk_embodied.training.tuning.rows import load_rows, parquet_files
from itk_embodied.training.tuning.runs import claim, is_done, write_curves

CURVES = {
    "loss": "loss",
    "token accuracy": "mean_token_accuracy",
    "entropy": "entropy",
    "gradient": "grad_norm",
    "learning rate": "learning_rate",
}


def fine_tune(
    role: TunedRole,
    model: str,
    data: Sequence[Path],
    out: Path,
    *,
    preset: str,
    lora: bool = False,
    steps: int | None = None,
    changes: Sequence[str] = (),
    seed: int = 0,
    progress: bool = True,
) -> Path:
    """Fine-tune ``model`` on parquet rows; goes on where a killed run stopped. Returns the folder to use in a stack.

    Raises:
        ConfigError, InputError, CheckpointError: settings, rows or checkpoint cannot be used.
    """
    need_trl()
    from trl import SFTConfig, SFTTrainer

    from itk_embodied.training.tuning.bar import show_progress

    settings = changed(load_preset(preset, role), changes, steps=steps, lora=lora)
    rows = load_rows(data, role)
    files = [str(path) for path in parquet_files(data)]
    # Before the model: DeepSpeed's stage 3 must know of it while the weights load.
    arguments = training_arguments(
        SFTConfig,
        settings,
        out,
        seed,
        max_length=None,  # cutting a row could cut a picture in two
    )
    whole = {"model": model, "lora": lora, "seed": seed, "data": files, "rows": len(rows), "preset": settings.arguments}
    resume = claim(out, whole | {"freeze": settings.freeze})
    if is_done(out, arguments.max_steps):
        return trained_folder(out, lora=lora)
    checkpoint = locate(model)
    network, processor = load_trainable(checkpoint, settings, lora=lora)
    try:
        trainer: Any = SFTTrainer(
            model=network,
            args=arguments,
            train_dataset=rows,
            processing_class=processor,
            peft_config=lora_config(settings.lora) if lora else None,
        )
    except ValueError as error:
        raise ConfigError(f"TRL does not take these settings: {error}") from error
    show_progress(trainer, f"{role} SFT", {"loss": "loss", "right": "mean_token_accuracy"}, progress)
    trainer.train(resume_from_checkpoint=str(resume) if resume else None)
    if trainer.accelerator.is_main_process:
        write_curves(out, trainer.state.log_history, CURVES)
    return save_trained(trainer, processor, checkpoint, out, lora=lora)
