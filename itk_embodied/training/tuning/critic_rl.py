"""Reinforcement of the critic with TRL's GRPO: one step of a trajectory a sample, groups of answers, single turn."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import PIL.Image

from itk_embodied.agents.base import Generator
from itk_embodied.agents.prompts import CRITIC_PLACEHOLDERS, PromptTemplate, load_prompt
from itk_embodied.errors import ConfigError
from itk_embodied.training.judge.base import Judge
from itk_embodied.training.tuning.critic_reward import Cases, CriticReward
from itk_embodied.training.tuning.models import (
    load_trainable,
    locate,
    lora_config,
    need_trl,
    save_trained,
    trained_folder,
    training_arguments,
)
from itk_embodied.training.tuning.presets import Preset
from itk_embodied.training.tuning.refinement import Refinery
from itk_embodied.training.tuning.runs import claim, is_done, write_curves

LOG = logging.getLogger(__name__)
CURVES = {
    "reward": "reward",
    "spread in a group": "reward_std",
    "readable": "readable",
    "accuracy": "accuracy",
    "false accepts": "false_accepts",
    "false rejects": "false_rejects",
    "step gain": "step_gain",
    "length, tokens": "completions/mean_length",
    "KL": "kl",
    "painted again": "regenerated",
    "generator failures": "generator_failures",
    "scorer failures": "scorer_failures",
}
SHOWN = {"reward": "reward", "right": "accuracy", "gain": "step_gain", "kl": "kl", "judge failed": "scorer_failures"}


def reinforce(
    model: str,
    cases: Cases,
    generator: Generator,
    judge: Judge,
    out: Path,
    preset: Preset,
    *,
    about: dict[str, Any],
    lora: bool = False,
    seed: int = 0,
    progress: bool = True,
) -> Path:
    """Train; goes on where a killed run stopped. Returns the folder to use in a stack.

    Args:
        about: what else fixes the run (data, judge, generator): a run in ``out`` with another is refused.

    Raises:
        ConfigError, CheckpointError: settings or checkpoint cannot be used.
        ItkError: generator or judge failed so often that rewards would mean nothing.
    """
    need_trl()
    from trl import GRPOConfig

    from itk_embodied.training.tuning.bar import show_progress

    template = load_prompt(preset.prompt or "critic", CRITIC_PLACEHOLDERS)
    arguments = training_arguments(GRPOConfig, preset, out, seed)
    settings = {"model": model, "lora": lora, "seed": seed, "preset": preset.arguments, "freeze": preset.freeze}
    settings["reward"] = msgspec.structs.asdict(preset.reward)
    resume = claim(out, settings | about)
    if is_done(out, arguments.max_steps):
        return trained_folder(out, lora=lora)
    checkpoint = locate(model)
    network, processor = load_trainable(checkpoint, preset, lora=lora)
    side, processor.tokenizer.padding_side = processor.tokenizer.padding_side, "left"  # answers follow their prompts
    refinery = Refinery(generator, judge, seed)
    trainer = _trainer_class()(
        model=network,
        args=arguments,
        reward_funcs=[CriticReward(cases, refinery, preset.reward)],
        train_dataset=conversations(cases, template),
        processing_class=processor,
        peft_config=lora_config(preset.lora) if lora else None,
        callbacks=[_curves(out)],
    )
    show_progress(trainer, "critic RL", SHOWN, progress)
    trainer.train(resume_from_checkpoint=str(resume) if resume else None)
    if trainer.accelerator.is_main_process:
        write_curves(out, trainer.state.log_history, CURVES)
        _summarise(out, trainer.state.log_history, refinery)
    processor.tokenizer.padding_side = side
    return save_trained(trainer, processor, checkpoint, out, lora=lora)


def conversations(cases: Cases, template: PromptTemplate) -> Any:
    """A `datasets.Dataset` that asks about every case as the critic's adapter does; pictures are read when needed."""
    from datasets import Dataset

    from itk_embodied.agents.qwen3vl.adapter import defuse

    def asked(batch: dict[str, list[int]]) -> dict[str, list[Any]]:
        rows: dict[str, list[Any]] = {"case": batch["case"], "images": [], "prompt": []}
        for number in batch["case"]:
            case = cases[number]
            if case.messages:
                rows["prompt"].append([dict(turn) for turn in case.messages])
            else:
                filled = template.fill(instruction=case.instruction, prompt=case.prompt)
                turns = zip(("system", "user"), map(defuse, filled), strict=True)
                rows["prompt"].append([{"role": role, "content": text} for role, text in turns if text])
            rows["images"].append([PIL.Image.fromarray(picture) for picture in (case.before, case.after)])
        return rows

    return Dataset.from_dict({"case": list(range(len(cases)))}).with_transform(asked)


def _trainer_class() -> Any:
    from trl import GRPOTrainer

    class CriticTrainer(GRPOTrainer):
        """TRL counts pictures by the message; where a pair shares one place it must count pairs."""

        def _tokenize_prompts(self, prompts: list[Any]) -> Any:
            ids, images, fields = super()._tokenize_prompts(prompts)
            if images is not None and getattr(self.processing_class, "pair_frames", False):
                images = [None if pictures is None else [tuple(pictures)] for pictures in images]
            return ids, images, fields

    return CriticTrainer


def _curves(out: Path) -> Any:
    from transformers import TrainerCallback

    class Curves(TrainerCallback):
        """Writes the curves whenever a checkpoint is written, so that a running or killed run can be looked at."""

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **ignored: Any) -> None:
            failed = (logs or {}).get("scorer_failures", 0) + (logs or {}).get("generator_failures", 0)
            if failed and state.is_world_process_zero:
                LOG.warning("step %d: %g neutral rewards, for generator or scorer failed", state.global_step, failed)

        def on_save(self, args: Any, state: Any, control: Any, **ignored: Any) -> None:
            if state.is_world_process_zero:
                write_curves(out, state.log_history, CURVES)

    return Curves()


def _summarise(out: Path, history: Sequence[dict[str, Any]], refinery: Refinery) -> None:
    """``summary.json``: means of the first and last fifth of the steps, and every failure of the whole run."""
    lines = [line for line in history if "reward" in line]
    if not lines:
        raise ConfigError(f"{out} has no logged steps; set logging_steps=1.")
    fifth = max(1, len(lines) // 5)

    def mean(part: Sequence[dict[str, Any]], key: str) -> float | None:
        values = [float(line[key]) for line in part if key in line]
        return sum(values) / len(values) if values else None

    keys = ("reward", "readable", "accuracy", "false_accepts", "false_rejects", "step_gain", "kl")
    record = {
        "steps": len(lines),
        "first_fifth": {key: mean(lines[:fifth], key) for key in keys},
        "last_fifth": {key: mean(lines[-fifth:], key) for key in keys},
        "regenerated": sum(line.get("regenerated", 0) for line in lines),
        "generator_failures": sum(line.get("generator_failures", 0) for line in lines),
        "scorer_failures": sum(line.get("scorer_failures", 0) for line in lines),
        "last_error": refinery.tally.last_error,
    }
    (out / "summary.json").write_text(json.dumps(record, indent=2) + "\n")
