"""Training rows on disk, as the data stage writes them, about nothing in particular."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import PIL.Image

ANSWER = '<think>same</think><answer>{"previous_step_success":true,"refine_prompt":"put the red cube"}</answer>'


def png(seed: int, side_px: int = 64) -> bytes:
    stream = io.BytesIO()
    noise = np.random.default_rng(seed).integers(0, 255, (side_px, side_px, 3), dtype=np.uint8)
    PIL.Image.fromarray(noise).save(stream, "PNG")
    return stream.getvalue()


def save_rows(path: Path, count: int = 12, pictures: int = 2, answer: str = ANSWER) -> Path:
    """Prompt and completion, with encoded pictures."""
    from datasets import Dataset, Image, List

    rows = [
        {
            "images": [{"bytes": png(10 * i + k), "path": None} for k in range(pictures)],
            "prompt": [{"role": "user", "content": f"put the red cube | number {i}"}],
            "completion": [{"role": "assistant", "content": answer}],
        }
        for i in range(count)
    ]
    Dataset.from_list(rows).cast_column("images", List(Image())).to_parquet(str(path))
    return path
