"""Many verdicts at once: the tiny critic's own thought, then P(true). For evaluation, and to train on its own thoughts.

The adapter in `itk_embodied.agents.qwen3vl` asks once and constrains every token; this asks in batches, unconstrained,
for speed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedTokenizerFast, Qwen3VLForConditionalGeneration

from itk_embodied.agents.qwen3vl.tiny import TinySize
from itk_embodied.training.vlm_batch import Example, Packer

KEY = '{"previous_step_success":'
MAX_THOUGHT_TOKENS = 56


@dataclass(frozen=True)
class Judged:
    """``true_probability`` in 0..1; 0 where the model never came to a verdict. ``thought``: everything before it."""

    true_probability: float
    thought: str


class BatchJudge:
    """Asks a tiny critic about many pairs."""

    def __init__(self, model: Qwen3VLForConditionalGeneration, tokenizer: PreTrainedTokenizerFast) -> None:
        self.model: Any = model
        self.tokenizer = tokenizer
        self.packer = Packer(tokenizer, TinySize())
        self.key = tokenizer.convert_tokens_to_ids(KEY)
        [self.true_id], [self.false_id] = (self.packer.ids(word) for word in ("true", "false"))

    @torch.inference_mode()
    def __call__(
        self, pairs: Sequence[tuple[np.ndarray, np.ndarray]], texts: Sequence[str], batch: int = 32
    ) -> list[Judged]:
        """Pairs of uint8 RGB (128, 128, 3) pictures, and the user's text for each."""
        was_training = self.model.training
        self.model.eval()
        judged = []
        for start in range(0, len(pairs), batch):
            judged += self._batch(pairs[start : start + batch], texts[start : start + batch])
        self.model.train(was_training)
        return judged

    def _batch(self, pairs: Sequence[tuple[np.ndarray, np.ndarray]], texts: Sequence[str]) -> list[Judged]:
        packer = self.packer
        cells = packer.rows * packer.columns
        prefix = [*packer.opening, *[packer.image_id] * cells, *packer.closing]
        rows = [prefix + packer.ids(text) + packer.turn for text in texts]
        length = max(map(len, rows))
        pad = int(self.tokenizer.pad_token_id)
        ids = torch.tensor([[pad] * (length - len(row)) + row for row in rows])
        mask = torch.tensor([[0] * (length - len(row)) + [1] * len(row) for row in rows])
        merge = packer.size.merge
        out: Any = self.model.generate(
            input_ids=ids,
            attention_mask=mask,
            mm_token_type_ids=torch.eq(ids, packer.image_id).long(),
            pixel_values=packer.patches([Example(before, after, ()) for before, after in pairs]),
            image_grid_thw=torch.tensor([[1, packer.rows * merge, packer.columns * merge]] * len(rows)),
            max_new_tokens=MAX_THOUGHT_TOKENS,
            do_sample=False,
            output_logits=True,
            return_dict_in_generate=True,
            # Nothing behind the verdict is of interest here.
            eos_token_id=[self.true_id, self.false_id, self.tokenizer.eos_token_id],
            pad_token_id=pad,
        )
        written = out.sequences[:, length:]
        judged = []
        for row in range(len(rows)):
            tokens = written[row].tolist()
            if self.key not in tokens[:-1]:
                judged.append(Judged(0.0, str(self.tokenizer.decode(tokens))))
                continue
            at = tokens.index(self.key) + 1
            logits = out.logits[at][row].float()
            probability = torch.sigmoid(logits[self.true_id] - logits[self.false_id])
            judged.append(Judged(float(probability), str(self.tokenizer.decode(tokens[:at]))))
        return judged
