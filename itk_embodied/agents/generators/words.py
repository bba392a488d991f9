"""What a sentence asks for, as vectors: the small text encoder of the embedded generator.

A transformer over words reads a sentence into slots (what to do, which thing, where to); each slot becomes one vector.
Places like ``<x03> <y17>`` are also drawn as maps, so that a place in the sentence is a place in the picture.
"""

# diffusers mixes these in in ways that a type checker cannot follow.
# mypy: disable-error-code="attr-defined,operator"

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

RASTER = 32
"""Places are cells of a RASTER x RASTER raster over the frame: the <x..> <y..> words."""
PLACES = tuple(f"<{axis}{i:02d}>" for axis in "xy" for i in range(RASTER))
_WORD = re.compile(r"<[xy]\d\d>|[a-z]+")
_PLACE = re.compile(r"<x(\d\d)>\s*<y(\d\d)>", re.IGNORECASE)
PAD, UNKNOWN = 0, 1
NONE = "none"
"""First entry of every slot: the sentence does not say."""


def split_words(text: str) -> list[str]:
    """``Put the red cube at <x03> <y07>!`` as lower-case words and places; everything else is dropped."""
    return _WORD.findall(text.lower())


def places(text: str) -> list[tuple[int, int]]:
    """The (column, row) cells that a text names, in order."""
    return [(int(x), int(y)) for x, y in _PLACE.findall(text) if int(x) < RASTER and int(y) < RASTER]


def place_maps(cells: Sequence[Sequence[tuple[int, int]]], rows: tuple[int, int]) -> Tensor:
    """A soft spot where the first and one where the last place of each text is, float32 (B, 2, rows, RASTER).

    All zero where there is none. ``rows``: first row and row after the last of the raster that is wanted.
    """
    across = torch.arange(RASTER, dtype=torch.float32)
    down = torch.arange(*rows, dtype=torch.float32)[:, None]
    maps = torch.zeros(len(cells), 2, rows[1] - rows[0], RASTER)
    for index, named in enumerate(cells):
        for channel, (x, y) in enumerate([named[0], named[-1]] if named else []):
            maps[index, channel] = torch.exp(-((across - x) ** 2 + (down - y) ** 2) / 2)
    return maps


class StepReader(ModelMixin, ConfigMixin):
    """Reads a sentence into slots.

    Args:
        vocabulary: the known words; the others share ``buckets`` vectors, by a hash of their letters.
        slots: the values that each slot can take, the first of which is NONE.
        width: size of a word's and of a slot's vector.
        max_words: longer texts are cut.
    """

    @register_to_config
    def __init__(
        self,
        vocabulary: list[str],
        slots: list[list[str]],
        width: int = 96,
        layers: int = 2,
        max_words: int = 40,
        buckets: int = 96,
    ) -> None:
        super().__init__()
        self.lookup = {word: i + 2 for i, word in enumerate(vocabulary)}
        self.embed = nn.Embedding(len(vocabulary) + 2 + buckets, width)
        self.position = nn.Parameter(torch.randn(max_words, width) * 0.02)
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, 0.0, batch_first=True, norm_first=True)
        self.transformer = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.queries = nn.Parameter(torch.randn(len(slots), width) * 0.2)
        self.heads = nn.ModuleList(nn.Linear(width, len(values)) for values in slots)
        self.tables = nn.ModuleList(nn.Embedding(len(values), width) for values in slots)
        for table in (self.embed, *self.tables):
            nn.init.normal_(table.weight, std=0.5)

    def tokens(self, texts: Sequence[str]) -> Tensor:
        """Word numbers, int64 (B, max_words); 0 pads."""
        size = self.config.max_words
        rows = [[self._number(word) for word in split_words(text)][:size] for text in texts]
        return torch.tensor([row + [PAD] * (size - len(row)) for row in rows], device=self.position.device)

    def _number(self, word: str) -> int:
        known = self.lookup.get(word)
        if known is not None or self.config.buckets == 0:
            return UNKNOWN if known is None else known
        return len(self.lookup) + 2 + zlib.crc32(word.encode()) % self.config.buckets

    def read(self, tokens: Tensor) -> list[Tensor]:
        """Scores of each slot's values: (B, values) for each slot, before the softmax."""
        asked = self.queries.expand(len(tokens), -1, -1)
        words = torch.cat([asked, self.embed(tokens) + self.position], 1)
        unseen = torch.cat([tokens.new_zeros(len(tokens), len(self.heads)), tokens == PAD], 1).bool()
        read = self.transformer(words, src_key_padding_mask=unseen)
        return [head(read[:, i]) for i, head in enumerate(self.heads)]

    def vectors(self, shares: Sequence[Tensor]) -> Tensor:
        """Probabilities (B, values) of each slot to one vector a slot, (B, slots, width)."""
        return torch.stack([share @ table.weight for share, table in zip(shares, self.tables, strict=True)], 1)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, max_words) word numbers to (B, slots, width) vectors."""
        return self.vectors([scores.softmax(-1) for scores in self.read(tokens)])
