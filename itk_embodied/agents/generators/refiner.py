"""A second look at what was painted: a small network that sees every pixel of the spots that changed.

The embedded generator sees a frame in patches of four pixels: what it paints where a thing was taken away keeps some
of that thing's colour, and what it puts down has round corners. The refiner looks at a window around each changed
spot, at what the frame had there, and at the frame around the spot it belongs with (a moved thing comes from there, or
goes there), and corrects what was painted. It changes nothing outside the spots. (A second stage for the finest
detail: as in SDXL, arXiv 2307.01952.)
"""

# diffusers mixes these in in ways that a type checker cannot follow.
# mypy: disable-error-code="attr-defined,operator,arg-type,call-overload"

from __future__ import annotations

import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from itk_embodied.agents.windows import SIDE_PX, WindowNet, spots_of, where_maps

SEEN = 12
"""Channels: what was painted, the frame there and at the other spot, the spot, and where the window is."""


class Refiner(WindowNet, ModelMixin, ConfigMixin):
    """Corrects windows.

    Args:
        channels: at a half, a quarter and an eighth of the window's side.
        blocks: residual blocks at each; twice as many at the coarsest.
    """

    @register_to_config
    def __init__(self, channels: tuple[int, int, int] = (48, 96, 128), blocks: int = 2) -> None:
        super().__init__()
        self.build(SEEN, channels, blocks)
        self.last = nn.Conv2d(channels[0], 4 * 3, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)
        self.to(memory_format=torch.channels_last)

    def forward(self, frame: Tensor, painted: Tensor, spot: Tensor, other: Tensor, corner: Tensor) -> Tensor:
        """The correction (B, 3, SIDE, SIDE) of windows, nothing outside the spots; an untrained model has none.

        ``frame``, ``painted``: (B, 3, SIDE, SIDE) in -1..1; ``spot`` (B, 1, SIDE, SIDE), 0 or 1; ``other``: the frame
        around the other spot; ``corner`` (B, 2): the window's first column and row, in widths of the picture.
        """
        fine, _ = self.features(torch.cat([painted, frame, other, 2 * spot - 1, where_maps(corner)], 1))
        correction: Tensor = F.pixel_shuffle(self.last(F.silu(fine)), 2).float()
        return spot * correction


@torch.no_grad()
def correction(model: Refiner, frame: Tensor, painted: Tensor, top: int) -> Tensor:
    """What to add to a painted band (3, H, W) in -1..1 of a frame. ``top``: the band's first row in the picture, px."""
    added = torch.zeros_like(painted)
    spots = spots_of(frame[None], painted[None], top)
    if spots is None:
        return added
    made = model(spots.frame, spots.painted, spots.inside, spots.frame[spots.partner], spots.corner).to(painted)
    for one, (row, left) in zip(made, spots.place, strict=True):
        added[:, row : row + SIDE_PX, left : left + SIDE_PX] += one
    return added
