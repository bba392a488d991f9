"""The mean of trained weights: runs that part from one checkpoint lie in one valley, and between them it is deeper.

After *model soups* (Wortsman et al., 2022) and WiSE-FT (Wortsman et al., 2022), where the weights before a run are one
of the parts. Most of what is shipped was made so.
"""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from itk_embodied.agents.checkpoints import find_checkpoint
from itk_embodied.agents.settings import CheckpointSettings
from itk_embodied.errors import ConfigError

TOKENS = "tokenizer.json"
"""What must be the same in every part: other numbers for words would be other models."""


@dataclass(frozen=True)
class Part:
    """A checkpoint's folder and its share of the mean, more than 0; shares are of their sum."""

    folder: Path
    share: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.share < math.inf:
            raise ConfigError(f"{self.folder} has the share {self.share}; it must be a number more than 0.")
        if not any(self.folder.rglob("*.safetensors")):
            raise ConfigError(f"{self.folder} holds no *.safetensors; give the folder of a checkpoint or a pipeline.")

    @classmethod
    def parse(cls, text: str) -> Part:
        """``DIR`` or ``DIR=SHARE``; one of the package is named as in stacks, ``package:checkpoints/planner``."""
        folder, _, share = text.partition("=")
        try:
            number = float(share) if share else 1.0
        except ValueError:
            raise ConfigError(f"{text} was given; behind = stands the share, a number such as 0.4.") from None
        return cls(Path(find_checkpoint(CheckpointSettings(checkpoint=folder)).location), number)


def mean_of(parts: Sequence[Part], out: Path) -> Path:
    """Write the first part's folder to ``out`` with every tensor the weighted mean of all parts'; returns ``out``.

    Means are taken in float32 and written in the first part's type; tensors of whole numbers must be equal.

    Raises:
        ConfigError: fewer than two parts, ``out`` is there already, or the parts are not the same kind of model.
    """
    if len(parts) < 2:
        raise ConfigError(f"{len(parts)} checkpoint was given; a mean takes two or more.")
    if out.exists():
        raise ConfigError(f"{out} is there already; give another --out, or remove it.")
    first = parts[0].folder
    for other in parts[1:]:
        if _tokens(first) != _tokens(other.folder):
            raise ConfigError(f"{other.folder} and {first} have different {TOKENS}; their words have other numbers.")
    files = sorted(path.relative_to(first) for path in first.rglob("*.safetensors"))
    staging = out.with_name(f".{out.name}-{os.getpid()}")
    try:
        shutil.copytree(first, staging)
        for file in files:
            _write_mean(parts, file, staging)
        staging.rename(out)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return out


def _write_mean(parts: Sequence[Part], file: Path, staging: Path) -> None:
    import torch
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    total = sum(part.share for part in parts)
    for part in parts:
        if not (part.folder / file).is_file():
            raise ConfigError(f"{part.folder} has no {file}, which {parts[0].folder} has; give the same kind of model.")
    with safe_open(parts[0].folder / file, framework="pt") as opened:
        about = opened.metadata()
    loaded = [load_file(part.folder / file) for part in parts]
    for part, other in zip(parts, loaded, strict=True):
        if unlike := {(name, tuple(one.shape)) for name, one in loaded[0].items()} ^ {
            (name, tuple(one.shape)) for name, one in other.items()
        }:
            name, shape = min(unlike)
            raise ConfigError(
                f"{part.folder} is not the same kind of model as {parts[0].folder}: one has no {name} of shape {shape}."
            )
    mean: dict[str, torch.Tensor] = {}
    for name, tensor in loaded[0].items():
        if tensor.is_floating_point():
            weighted = [part.share / total * other[name].float() for part, other in zip(parts, loaded, strict=True)]
            mean[name] = torch.stack(weighted).sum(0).to(tensor.dtype).contiguous()
        elif all(torch.equal(tensor, other[name]) for other in loaded):
            mean[name] = tensor
        else:
            raise ConfigError(f"{name} holds whole numbers that differ; give the same kind of model.")
    save_file(mean, staging / file, metadata=about)


def _tokens(folder: Path) -> bytes | None:
    path = folder / TOKENS
    return path.read_bytes() if path.is_file() else None
