"""A second look at what was painted: a small network that sees every pixel of the spots that changed.

The embedded generator sees a frame in patches of four pixels: what it paints where a thing was taken away keeps some
of that thing's colour, and what it puts down has round corners. The refiner looks at a window around each changed
spot, at what the frame had there, and at the frame around the spot it belongs with (a moved thing comes from there, or
goes there), and corrects what was painted. It changes nothing outside the spots. (A second stage for the finest
detail: as in SDXL, arXiv 2307.01952.)
"""

# diffusers mixes these in in ways that a type checker cannot follow.
# mypy: disable-error-code="attr-defined,operator,arg-type"

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

SIDE_PX = 40
"""A window's side at the model's size, where a cube is some ten pixels wide."""
CHANGED, MARGIN_PX = 6 / 127.5, 2
"""What differs by more than this in any channel (of a range of 2) has changed, and so much around it."""
LEAST_PX, MOST_SPOTS = 12, 3
"""Smaller spots are left alone, and so are those beyond so many; larger ones go first."""
SEEN = 12
"""Channels: what was painted, the frame there and at the other spot, the spot, and where the window is."""


class Refiner(ModelMixin, ConfigMixin):
    """Corrects windows. No normalisation anywhere: colours must come out exactly as they went in.

    Args:
        channels: at a half, a quarter and an eighth of the window's side.
        blocks: residual blocks at each; twice as many at the coarsest.
    """

    @register_to_config
    def __init__(self, channels: tuple[int, int, int] = (48, 96, 128), blocks: int = 2) -> None:
        super().__init__()
        fine, middle, coarse = channels
        self.first = nn.Conv2d(4 * SEEN, fine, 3, padding=1)
        self.fine_in, self.fine_out = _blocks(fine, blocks), _blocks(fine, blocks)
        self.down_middle = nn.Conv2d(fine, middle, 3, stride=2, padding=1)
        self.middle_in, self.middle_out = _blocks(middle, blocks), _blocks(middle, blocks)
        self.down_coarse = nn.Conv2d(middle, coarse, 3, stride=2, padding=1)
        self.coarse = _blocks(coarse, 2 * blocks)
        self.up_middle, self.up_fine = nn.Conv2d(coarse, middle, 1), nn.Conv2d(middle, fine, 1)
        self.last = nn.Conv2d(fine, 4 * 3, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)
        self.to(memory_format=torch.channels_last)

    def forward(self, frame: Tensor, painted: Tensor, spot: Tensor, other: Tensor, corner: Tensor) -> Tensor:
        """The correction (B, 3, SIDE, SIDE) of windows, nothing outside the spots; an untrained model has none.

        ``frame``, ``painted``: (B, 3, SIDE, SIDE) in -1..1; ``spot`` (B, 1, SIDE, SIDE), 0 or 1; ``other``: the frame
        around the other spot; ``corner`` (B, 2): the window's first column and row, in widths of the picture.
        """
        ramp = torch.arange(SIDE_PX, device=frame.device) / SIDE_PX - 0.5
        across, down = ramp.expand(SIDE_PX, SIDE_PX), ramp[:, None].expand(SIDE_PX, SIDE_PX)
        where = 2 * corner[:, :, None, None] - 1 + 0.6 * torch.stack([across, down])
        seen = torch.cat([painted, frame, other, 2 * spot - 1, where], 1).to(self.first.weight.dtype)
        fine = self.fine_in(self.first(F.pixel_unshuffle(seen, 2).contiguous(memory_format=torch.channels_last)))
        middle = self.middle_in(self.down_middle(fine))
        coarse = self.coarse(self.down_coarse(middle))
        middle = self.middle_out(middle + F.interpolate(self.up_middle(coarse), middle.shape[-2:]))
        fine = self.fine_out(fine + F.interpolate(self.up_fine(middle), fine.shape[-2:]))
        correction: Tensor = F.pixel_shuffle(self.last(F.silu(fine)), 2).float()
        return spot * correction


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.one, self.two = (nn.Conv2d(width, width, 3, padding=1) for _ in range(2))
        nn.init.zeros_(self.two.weight)
        nn.init.zeros_(self.two.bias)

    def forward(self, inside: Tensor) -> Tensor:
        added: Tensor = self.two(F.silu(self.one(F.silu(inside))))
        return inside + added


def _blocks(width: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(_Block(width) for _ in range(count)))


def changed_spots(change: np.ndarray) -> list[np.ndarray]:
    """The connected spots where a picture has changed, with their margin, bool (H, W), the largest first.

    ``change``: float (H, W), the largest difference of any channel, of a range of 2.
    """
    differs = (change > CHANGED).astype(np.uint8)
    grown = cv2.dilate(differs, np.ones((2 * MARGIN_PX + 1,) * 2, np.uint8))
    count, labels = cv2.connectedComponents(grown)
    sizes = np.bincount(labels.ravel(), differs.ravel(), count)
    sizes[0] = 0  # the background
    return [labels == label for label in np.argsort(-sizes)[:MOST_SPOTS] if sizes[label] >= LEAST_PX]


def window_corner(spot: np.ndarray, side: int) -> tuple[int, int]:
    """First row and column of the window of ``side`` px around a spot, inside the picture."""
    corner = []
    for axis in (0, 1):
        places = np.nonzero(spot.any(1 - axis))[0]
        start = int(places[0] + places[-1] + 1 - side) // 2
        corner.append(max(0, min(start, spot.shape[axis] - side)))
    return corner[0], corner[1]


def partner(number: int, count: int) -> int:
    """Which of ``count`` spots, the largest first, a spot belongs with; itself where it is alone."""
    return number if count == 1 else int(number == 0)


@torch.no_grad()
def correction(model: Refiner, frame: Tensor, painted: Tensor, top: int) -> Tensor:
    """What to add to a painted band (3, H, W) in -1..1 of a frame. ``top``: the band's first row in the picture, px."""
    added = torch.zeros_like(painted)
    if min(frame.shape[1:]) < SIDE_PX:
        return added
    spots = changed_spots((painted - frame).abs().amax(0).cpu().numpy())
    if not spots:
        return added
    corners = [window_corner(spot, SIDE_PX) for spot in spots]
    masks = [torch.from_numpy(spot).to(frame)[None] for spot in spots]
    frames, paintings = (_cut(image, corners) for image in (frame, painted))
    inside = torch.cat([_cut(mask, [corner]) for mask, corner in zip(masks, corners, strict=True)])
    other = torch.stack([frames[partner(i, len(spots))] for i in range(len(spots))])
    width = frame.shape[2]
    where = torch.tensor([[left / width, (top + row) / width] for row, left in corners], device=frame.device)
    made = model(frames, paintings, inside, other, where).to(painted)
    for one, (row, left) in zip(made, corners, strict=True):
        added[:, row : row + SIDE_PX, left : left + SIDE_PX] += one
    return added


def _cut(image: Tensor, corners: Sequence[tuple[int, int]]) -> Tensor:
    return torch.stack([image[:, row : row + SIDE_PX, left : left + SIDE_PX] for row, left in corners])
