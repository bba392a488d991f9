"""Many plans at once from a tiny planner, greedy and unconstrained: for evaluation.

The adapter in `itk_embodied.agents.qwen3vl` asks once and lets only well-formed answers through; here a malformed
answer stays malformed and counts as wrong, so a rate measured here is, if anything, too low.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from tqdm import tqdm
from transformers import PreTrainedTokenizerFast, Qwen3VLForConditionalGeneration

from itk_embodied.agents.qwen3vl.tiny import TinySize
from itk_embodied.training.vlm_batch import Example, Packer

MAX_PLAN_TOKENS = 420


class BatchPlanner:
    """Asks a tiny planner about many pictures."""

    def __init__(self, model: Qwen3VLForConditionalGeneration, tokenizer: PreTrainedTokenizerFast) -> None:
        self.model: Any = model
        self.tokenizer = tokenizer
        self.packer = Packer(tokenizer, TinySize())

    @torch.inference_mode()
    def __call__(self, images: Sequence[np.ndarray], texts: Sequence[str], batch: int = 32) -> list[str]:
        """uint8 RGB (128, 128, 3) pictures and a task for each; the raw answers."""
        was_training = self.model.training
        self.model.eval()
        answers = []
        for start in tqdm(range(0, len(images), batch), desc="plans", unit="batch"):
            answers += self._batch(images[start : start + batch], texts[start : start + batch])
        self.model.train(was_training)
        return answers

    def _batch(self, images: Sequence[np.ndarray], texts: Sequence[str]) -> list[str]:
        packer, pad = self.packer, int(self.tokenizer.pad_token_id)
        cells = packer.rows * packer.columns
        prefix = [*packer.opening, *[packer.image_id] * cells, *packer.closing]
        rows = [prefix + packer.ids(text) + packer.turn for text in texts]
        length = max(map(len, rows))
        ids = torch.tensor([[pad] * (length - len(row)) + row for row in rows])
        merge = packer.size.merge
        written = self.model.generate(
            input_ids=ids,
            attention_mask=torch.tensor([[0] * (length - len(row)) + [1] * len(row) for row in rows]),
            mm_token_type_ids=torch.eq(ids, packer.image_id).long(),
            pixel_values=packer.patches([Example(image, image, ()) for image in images]),
            image_grid_thw=torch.tensor([[1, packer.rows * merge, packer.columns * merge]] * len(rows)),
            max_new_tokens=MAX_PLAN_TOKENS,
            do_sample=False,
            pad_token_id=pad,
        )[:, length:]
        ends = {pad, int(self.tokenizer.eos_token_id)}
        tokens = [[token for token in row if token not in ends] for row in written.tolist()]
        return [
            str(self.tokenizer.decode(row, skip_special_tokens=False, clean_up_tokenization_spaces=False))
            for row in tokens
        ]
