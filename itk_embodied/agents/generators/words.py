"""A sentence as vectors: the small text encoder of the embedded generator. Words, no sub-words; places are words."""

# diffusers mixes these in in ways that a type checker cannot follow.
# mypy: disable-error-code="attr-defined,operator"

from __future__ import annotations

import math
import re
import zlib

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

PLACES = tuple(f"<{axis}{i:02d}>" for axis in "xy" for i in range(32))
_WORD = re.compile(r"<[xy]\d\d>|[a-z]+")
PAD, UNKNOWN = 0, 1


def split_words(text: str) -> list[str]:
    """``Put the red cube at <x03> <y07>!`` as lower-case words and places; everything else is dropped."""
    return _WORD.findall(text.lower())


class WordEncoder(ModelMixin, ConfigMixin):
    """Word embeddings and a small transformer.

    Args:
        vocabulary: the known words.
        width: size of a word's vector.
        max_words: longer texts are cut.
        buckets: unknown words share this many vectors, by a hash of their letters; with 0, one.
    """

    @register_to_config
    def __init__(
        self, vocabulary: list[str], width: int = 96, layers: int = 2, max_words: int = 40, buckets: int = 0
    ) -> None:
        super().__init__()
        self.lookup = {word: i + 2 for i, word in enumerate(vocabulary)}
        self.embed = nn.Embedding(len(vocabulary) + 2 + buckets, width)
        self.position = nn.Parameter(torch.randn(max_words, width) * 0.02)
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, 0.0, batch_first=True, norm_first=True)
        self.transformer = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        nn.init.normal_(self.embed.weight, std=0.5)
        self._place_waves()

    @torch.no_grad()
    def _place_waves(self) -> None:
        """Places start as waves of their number, so that neighbouring places start alike."""
        width = self.embed.embedding_dim
        frequency = torch.exp(-torch.arange(width // 4) / (width // 4) * math.log(100.0))
        for axis, offset in (("x", 0), ("y", width // 2)):
            for i in range(32):
                row = self.lookup.get(f"<{axis}{i:02d}>")
                if row is not None:
                    waves = torch.cat([torch.sin(2 * i * frequency), torch.cos(2 * i * frequency)])
                    self.embed.weight[row, offset : offset + len(waves)] = waves

    def tokens(self, texts: list[str]) -> Tensor:
        """Word numbers, int64 (B, max_words); 0 pads."""
        rows = []
        for text in texts:
            row = [self._number(word) for word in split_words(text)][: self.config.max_words]
            rows.append(row + [PAD] * (self.config.max_words - len(row)))
        return torch.tensor(rows, device=self.position.device)

    def _number(self, word: str) -> int:
        known = self.lookup.get(word)
        if known is not None or self.config.buckets == 0:
            return UNKNOWN if known is None else known
        return len(self.lookup) + 2 + zlib.crc32(word.encode()) % self.config.buckets

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, max_words) word numbers to (B, max_words, width) vectors."""
        return self.transformer(self.embed(tokens) + self.position)
