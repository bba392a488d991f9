"""A few real pairs from the simulator on disk and a generator of random weights, made once a test session."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

_keep: list[tempfile.TemporaryDirectory[str]] = []


@functools.cache
def pairs_folder() -> Path:
    """Two shards of six pairs: shard 18 is of the training split, shard 19 is held out."""
    from itk_embodied.training.shards import make_shards

    holder = tempfile.TemporaryDirectory(prefix="pairs-")
    _keep.append(holder)
    folder = Path(holder.name)
    make_shards(folder, 12, shard_size=6, first=18, seed=3)
    return folder


@functools.cache
def generator_folder() -> Path:
    """A small generator at the pairs' size, of random weights: it paints nothing right."""
    import torch

    from itk_embodied.training.generator_model import Editor, GeneratorTraining

    holder = tempfile.TemporaryDirectory(prefix="generator-")
    _keep.append(holder)
    torch.manual_seed(0)
    settings = GeneratorTraining(channels=(16, 16, 32), words_width=32)
    Editor(128, settings).pipeline().save_pretrained(holder.name)
    return Path(holder.name)
