"""The losses of the tiny models: language with soft places, the verdict apart, and a throw-away dense head."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast

from itk_embodied.agents.qwen3vl.tiny import GRID
from itk_embodied.training.vlm_batch import BOTTOM, TOP, Example, Packer
from itk_embodied.training.vlm_text import NAMES


class LanguageLoss:
    """Cross-entropy where a place next to the right one is nearly right, and the verdict's boolean counts apart."""

    def __init__(
        self, tokenizer: PreTrainedTokenizerFast, vocab_size: int, true_weight: float = 1.0, device: str = "cpu"
    ) -> None:
        token = tokenizer.convert_tokens_to_ids
        self.soft = torch.eye(vocab_size)
        for axis in "xy":
            ids = [token(f"<{axis}{i:02d}>") for i in range(GRID)]
            for i, row in enumerate(ids):
                near = torch.exp(-0.5 * ((torch.arange(GRID) - i) / 0.6) ** 2)
                self.soft[row] = 0
                self.soft[row, ids] = near / near.sum()
        self.soft = self.soft.to(device)
        [self.true_id], [self.false_id] = (
            tokenizer(word, add_special_tokens=False)["input_ids"] for word in ("true", "false")
        )
        self.true_weight = true_weight

    def __call__(self, scores: Tensor, wanted: Tensor, verdict_weight: float = 1.0) -> tuple[Tensor, float]:
        """``scores`` (N, vocabulary) and ``wanted`` (N,) of the learnt tokens. Loss, and the verdict's part of it."""
        scores = scores.float()
        each = -(self.soft[wanted] * F.log_softmax(scores, -1)).sum(-1)
        true, false = wanted == self.true_id, wanted == self.false_id
        verdict = true | false
        rest = each[~verdict].mean() if (~verdict).any() else scores.new_zeros(())
        if not verdict.any():
            return rest, 0.0
        weight = torch.where(true, self.true_weight, 1.0)[verdict]
        judged = (each[verdict] * weight).sum() / weight.sum()
        return rest + verdict_weight * judged, float(judged.detach())


class DenseHead(nn.Module):
    """From every merged patch: is a thing here, and where in the patch? And: is the second frame damaged here?

    It makes the vision tower look; it is thrown away after training.
    """

    def __init__(self, width: int, packer: Packer) -> None:
        super().__init__()
        self.rows, self.columns = packer.rows, packer.columns
        self.cell_px = packer.size.patch_px * packer.size.merge
        self.things = nn.Linear(width, 2 * len(NAMES) * 3)
        self.damage = nn.Linear(width, 1)

    def forward(self, features: Tensor, examples: Sequence[Example]) -> Tensor:
        count, cells = len(examples), self.rows * self.columns
        out = self.things(features.float()).reshape(count, cells, 2, len(NAMES), 3)
        there = torch.zeros(count, cells, 2, len(NAMES))
        offset = torch.zeros(count, cells, 2, len(NAMES), 2)
        known = torch.zeros(count, 1, 2, len(NAMES))
        hurt = torch.zeros(count, cells)
        for row, example in enumerate(examples):
            for slot, places in enumerate(example.places):
                for name, pixel in places.items():
                    number = NAMES.index(name)
                    known[row, 0, slot, number] = 1
                    if pixel is None:
                        continue
                    x = min(max(pixel[0] / self.cell_px, 0.0), self.columns - 0.01)
                    y = min(max((pixel[1] - TOP) / self.cell_px, 0.0), self.rows - 0.01)
                    cell = int(y) * self.columns + int(x)
                    there[row, cell, slot, number] = 1
                    offset[row, cell, slot, number] = torch.tensor([x % 1, y % 1])
            if example.damage is not None:
                band = torch.from_numpy(example.damage[TOP:BOTTOM].astype("float32"))
                share = band.reshape(self.rows, self.cell_px, self.columns, self.cell_px).mean((1, 3))
                hurt[row] = (share > 0.02).float().reshape(-1)
        there, offset, known, hurt = (target.to(out.device) for target in (there, offset, known, hurt))
        presence = F.binary_cross_entropy_with_logits(
            out[..., 0], there, reduction="none", pos_weight=torch.tensor(8.0, device=out.device)
        )
        where = F.smooth_l1_loss(out[..., 1:], offset, reduction="none", beta=0.1).sum(-1) * there
        damage = F.binary_cross_entropy_with_logits(
            self.damage(features.float()).reshape(count, cells), hurt, pos_weight=torch.tensor(4.0, device=out.device)
        )
        return 4 * (presence * known).mean() + where.sum() / there.sum().clamp(min=1) + damage
