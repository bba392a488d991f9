"""The edit verifier's closer look: a small network that sees every pixel of the spots that changed.

The verifier's body looks at patches, as the generator does, and overlooks what that does: a trace where a cube was, a
rounded edge, a shade that is not the cube's. This network sees windows around the spots as the generator's refiner does
(see `itk_embodied.agents.windows`), before and after, beside the spot they belong with, and what was asked for.
"""

# A type checker does not know that modules have a memory format.
# mypy: disable-error-code="call-overload"

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from itk_embodied.agents.windows import SIDE_PX, Spots, WindowNet, where_maps

SEEN = 18
"""Channels: after and before, before at the other spot, this spot, where the window is, after at the other spot, and
what changed."""
DROPPED = 0.1
MEASURES = 4
"""Besides the verdict, what the judge's four scores would be."""


class CloserLook(WindowNet):
    """Is every changed spot of a picture right? Each window is looked at, then what was found is put together.

    Args:
        asked: how many values the slots of a sentence have, together.
        channels, blocks: see `WindowNet.build`.
        width: of what is kept of a window.
    """

    def __init__(self, asked: int, channels: Sequence[int] = (48, 96, 128), blocks: int = 2, width: int = 96) -> None:
        super().__init__()
        fine, middle, coarse = channels
        self.build(SEEN, (fine, middle, coarse), blocks)
        self.asked = nn.Linear(asked, coarse, bias=False)
        self.map = nn.Conv2d(fine, 4, 3, padding=1)
        self.each = nn.Sequential(nn.Linear(2 * (fine + coarse) + 1, width), nn.SiLU(), nn.Dropout(DROPPED))
        self.all = nn.Sequential(
            nn.Linear(2 * width + 1, 64), nn.SiLU(), nn.Dropout(DROPPED), nn.Linear(64, 1 + MEASURES)
        )
        nn.init.zeros_(self.asked.weight)
        self.to(memory_format=torch.channels_last)

    def forward(self, spots: Spots | None, asked: Tensor) -> tuple[Tensor, Tensor]:
        """``spots``: of B pictures; None where none of them has changed. ``asked`` (B, values): the shares of every
        slot's values, one slot after the other.

        Returns for each of the B pictures the log-odds that its edit is right and the judge's scores in 0..1, as
        log-odds (B, 1 + MEASURES), and those of every window's pixel that it is wrong (N, S, S).
        """
        if spots is None:
            nothing = asked.new_zeros(len(asked), self.all[0].in_features)
            return self.all(nothing.to(self.first.weight.dtype)).float(), asked.new_zeros(0, SIDE_PX, SIDE_PX)
        after, before, inside = spots.painted, spots.frame, spots.inside
        seen = [after, before, before[spots.partner], 2 * inside - 1, where_maps(spots.corner)]
        dtype = self.first.weight.dtype
        told = self.asked(asked.to(dtype))[spots.picture]
        fine, coarse = self.features(torch.cat([*seen, after[spots.partner], after - before], 1), told)
        faults = F.pixel_shuffle(self.map(F.silu(fine)), 2).float()[:, 0]
        pooled = _pooled(F.silu(fine).float(), F.avg_pool2d(inside.float(), 2)) + _pooled(F.silu(coarse).float(), None)
        size = inside.float().sum((1, 2, 3))[:, None] / 400
        windows = self.each(torch.cat([*pooled, size], 1).to(dtype)).float()
        count = len(asked)
        numbers = spots.picture[:, None].expand_as(windows)
        sums = windows.new_zeros(count, windows.shape[1]).index_add(0, spots.picture, windows)
        most = torch.zeros_like(sums).scatter_reduce(0, numbers, windows, "amax", include_self=False)
        many = windows.new_zeros(count).index_add(0, spots.picture, torch.ones_like(size[:, 0]))
        return self.all(torch.cat([most, sums, many[:, None]], 1).to(dtype)).float(), faults


def _pooled(features: Tensor, inside: Tensor | None) -> tuple[Tensor, Tensor]:
    """Means and strongest values of features (N, C, H, W) over windows, or over their spots (N, 1, H, W) in 0..1."""
    if inside is None:
        return features.mean((2, 3)), features.amax((2, 3))
    held = features * inside
    return held.sum((2, 3)) / inside.sum((2, 3)).clamp(min=1), held.amax((2, 3))
