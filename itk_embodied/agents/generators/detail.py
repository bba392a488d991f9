"""A second look at fine detail: a few convolutions over patches, beside a U-Net.

The embedded U-Nets take a patch of both pictures in through few channels, so fine edges and noise hardly come through:
what is painted comes out soft, and what is looked at seems clean. This head sees the patches themselves beside what the
U-Net made of them, and corrects it.
"""

# diffusers mixes these in in ways that a type checker cannot follow.
# mypy: disable-error-code="attr-defined,arg-type"

from __future__ import annotations

import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

_GROUPS = 8


class DetailHead(ModelMixin, ConfigMixin):
    """Adds to the U-Net's output; nothing at all before it is trained.

    Args:
        made, seen: channels of the U-Net's output and input.
        width: channels inside, a multiple of 8.
        layers: residual convolutions between the first and the last.
    """

    @register_to_config
    def __init__(self, made: int, seen: int, width: int = 128, layers: int = 2) -> None:
        super().__init__()
        self.first = nn.Conv2d(made + seen + 1, width, 3, padding=1)
        self.between = nn.ModuleList(
            nn.Sequential(nn.GroupNorm(_GROUPS, width), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1))
            for _ in range(layers)
        )
        self.norm = nn.GroupNorm(_GROUPS, width)
        self.last = nn.Conv2d(width, made, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)
        self.to(memory_format=torch.channels_last)

    def forward(self, made: Tensor, seen: Tensor, time: Tensor) -> Tensor:
        """``made`` (B, made, rows, columns) and ``seen`` (B, seen, rows, columns), patches in rows and columns;
        ``time`` (B,) in 0..1. Returns ``made``, corrected."""
        when = time.to(made.dtype)[:, None, None, None].expand(-1, 1, *made.shape[-2:])
        inside = self.first(torch.cat([made, seen, when], 1))
        for layer in self.between:
            inside = inside + layer(inside)
        correction: Tensor = self.last(F.silu(self.norm(inside)))
        return made + correction
