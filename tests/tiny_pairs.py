"""A few real pairs from the simulator on disk, made once a test session."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path


@functools.cache
def pairs_folder() -> Path:
    """Two shards of six pairs: shard 18 is of the training split, shard 19 is held out."""
    from itk_embodied.training.shards import make_shards

    holder = tempfile.TemporaryDirectory(prefix="pairs-")
    _keep.append(holder)
    folder = Path(holder.name)
    make_shards(folder, 12, shard_size=6, first=18, seed=3)
    return folder


_keep: list[tempfile.TemporaryDirectory[str]] = []
