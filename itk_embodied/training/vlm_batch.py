"""Packs several questions about one picture (or pair) into one sequence, as if each had been asked alone.

All questions attend to the shared picture and to themselves only, and their positions start anew: the answer to each is
that of a separate forward pass, while the vision tower runs once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from itk_embodied.agents.qwen3vl.tiny import CROP_ROWS, SIDE_PX, TinySize

TOP, BOTTOM = (round(share * SIDE_PX) for share in CROP_ROWS)
IGNORED = -100


@dataclass(frozen=True)
class Question:
    """One question and its answer. ``learn`` marks the parts of the answer to learn: (text, learned?) in order."""

    text: str
    answer: tuple[tuple[str, bool], ...]
    kind: str = ""
    good: bool | None = None


@dataclass(frozen=True, eq=False)
class Example:
    """``first``, ``second``: uint8 RGB (S, S, 3), the two temporal slots; both None where questions are asked without
    a picture, which is all or none of a batch. ``places``, ``damage``: targets of the throw-away head."""

    first: np.ndarray | None
    second: np.ndarray | None
    questions: tuple[Question, ...]
    places: tuple[dict[str, tuple[float, float] | None], ...] = ()
    damage: np.ndarray | None = None
    info: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Packed:
    """What the model takes, labels (B, L) with IGNORED where nothing is learned, and where each question lies."""

    inputs: dict[str, Tensor]
    labels: Tensor
    spans: tuple[tuple[int, int, int, Question], ...]
    examples: tuple[Example, ...]


class Packer:
    """Makes `Packed` batches for one tokenizer."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, size: TinySize | None = None) -> None:
        self.tokenizer, self.size = tokenizer, size or TinySize()
        self._cache: dict[str, list[int]] = {}
        step = self.size.patch_px * self.size.merge
        self.rows, self.columns = (BOTTOM - TOP) // step, SIDE_PX // step
        self.blind_opening = self.ids("<|im_start|>user\n")
        self.opening = self.blind_opening + self.ids("<|vision_start|>")
        self.image_id = int(tokenizer.convert_tokens_to_ids("<|image_pad|>"))  # type: ignore[arg-type]
        self.closing = self.ids("<|vision_end|>")
        self.turn = self.ids("<|im_end|>\n<|im_start|>assistant\n")
        self.end = self.ids("<|im_end|>")

    def ids(self, text: str) -> list[int]:
        if text not in self._cache:
            if len(self._cache) > 200_000:
                self._cache.clear()
            self._cache[text] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return self._cache[text]

    def question_ids(self, question: Question) -> tuple[list[int], list[int]]:
        """Tokens and labels of a question and its answer."""
        tokens = self.ids(question.text) + self.turn
        labels = [IGNORED] * len(tokens)
        for text, learned in question.answer:
            piece = self.ids(text)
            tokens = tokens + piece
            labels += piece if learned else [IGNORED] * len(piece)
        whole = bool(question.answer) and question.answer[-1][1]
        return tokens + self.end, labels + (self.end if whole else [IGNORED] * len(self.end))

    def pack(self, examples: Sequence[Example]) -> Packed:
        count = len(examples)
        pictured = examples[0].first is not None
        prefix, place = self._prefix() if pictured else self._blind_prefix()
        first_free = int(place[0, -1]) + 1

        asked = [[self.question_ids(question) for question in example.questions] for example in examples]
        length = len(prefix) + max(sum(len(tokens) for tokens, _ in parts) for parts in asked)
        length = -(-length // 8) * 8
        ids = np.zeros((count, length), int)
        labels = np.full((count, length), IGNORED)
        block = np.full((count, length), -1)
        position = np.zeros((3, count, length), int)
        spans = []
        for row, parts in enumerate(asked):
            ids[row, : len(prefix)], block[row, : len(prefix)] = prefix, 0
            position[:, row, : len(prefix)] = place
            here = len(prefix)
            for number, (tokens, wanted) in enumerate(parts):
                there = here + len(tokens)
                ids[row, here:there], labels[row, here:there], block[row, here:there] = tokens, wanted, number + 1
                position[:, row, here:there] = first_free + np.arange(len(tokens))
                spans.append((row, here, there, examples[row].questions[number]))
                here = there
        order = np.arange(length)
        sees = (block[:, None, :] == 0) | (block[:, :, None] == block[:, None, :])
        mask = (order[None, :, None] >= order[None, None, :]) & sees | np.eye(length, dtype=bool)[None]
        inputs = {
            "input_ids": torch.from_numpy(ids),
            "attention_mask": torch.from_numpy(mask[:, None]),
            "position_ids": torch.from_numpy(position),
        }
        if pictured:
            inputs["pixel_values"] = self.patches(examples)
            grid = [1, self.rows * self.size.merge, self.columns * self.size.merge]
            inputs["image_grid_thw"] = torch.tensor([grid] * count)
        return Packed(inputs, torch.from_numpy(labels), tuple(spans), tuple(examples))

    def _prefix(self) -> tuple[list[int], np.ndarray]:
        """Tokens before a question about a picture, and their positions (3, length)."""
        cells, start = self.rows * self.columns, len(self.opening)
        prefix = [*self.opening, *[self.image_id] * cells, *self.closing]
        place = np.arange(len(prefix))[None].repeat(3, 0)
        rows, columns = np.meshgrid(np.arange(self.rows), np.arange(self.columns), indexing="ij")
        place[:, start : start + cells] = start + np.stack([np.zeros(cells, int), rows.ravel(), columns.ravel()])
        after = start + max(self.rows, self.columns)
        place[:, start + cells :] = after + np.arange(len(self.closing))
        return prefix, place

    def _blind_prefix(self) -> tuple[list[int], np.ndarray]:
        return self.blind_opening, np.arange(len(self.blind_opening))[None].repeat(3, 0)

    def patches(self, examples: Sequence[Example]) -> Tensor:
        """Patch rows exactly as the processor makes them, with one frame in each temporal slot."""
        frames = np.stack([[e.first[TOP:BOTTOM], e.second[TOP:BOTTOM]] for e in examples])  # type: ignore[index]
        pixels = torch.from_numpy(frames).float().div_(127.5).sub_(1)
        patch, merge = self.size.patch_px, self.size.merge
        split = pixels.permute(0, 1, 4, 2, 3).reshape(
            len(examples), 2, 3, self.rows, merge, patch, self.columns, merge, patch
        )
        return split.permute(0, 3, 6, 4, 7, 2, 1, 5, 8).reshape(-1, 3 * 2 * patch * patch)
