"""Windows around the spots where a picture has changed, and a small network that sees every pixel of them.

The embedded models look at a frame in patches of four pixels. That is enough to know what goes where, and too coarse
for edges, small traces and shades of a colour. One manipulation changes a picture in a few spots only, so a second
network looks at windows around these: the generator's refiner corrects what was painted there, and the verifier's
closer look says whether it is right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

SIDE_PX = 40
"""A window's side at the model's size, where a cube is some ten pixels wide."""
CHANGED, MARGIN_PX = 6 / 127.5, 2
"""What differs by more than this in any channel (of a range of 2) has changed, and so much around it."""
LEAST_PX, MOST_SPOTS = 12, 3
"""Smaller spots are left alone, and so are those beyond so many; larger ones go first."""


@dataclass(frozen=True, eq=False)
class Spots:
    """Windows (N of them, S px a side) around the changed spots of some pictures.

    ``frame``, ``painted``: (N, 3, S, S) in -1..1, before and after; ``inside``: (N, 1, S, S), 1 in the spot, else 0;
    ``corner``: (N, 2), the window's first column and row, in widths of the picture; ``place``: the same as row and
    column in the band, px; ``picture``: int64 (N,), which of the pictures; ``partner``: int64 (N,), the window of the
    spot it belongs with.
    """

    frame: Tensor
    painted: Tensor
    inside: Tensor
    corner: Tensor
    place: tuple[tuple[int, int], ...]
    picture: Tensor
    partner: Tensor

    def to(self, device: str) -> Spots:
        """The same on another device."""
        moved = {name: one.to(device) for name, one in vars(self).items() if isinstance(one, Tensor)}
        return replace(self, **moved)  # type: ignore[arg-type]


class WindowNet(nn.Module):
    """The body of networks over windows: a small U-Net of residual blocks at a half, a quarter and an eighth of a
    window's side. No normalisation anywhere: colours must come out exactly as they went in."""

    def build(self, seen: int, channels: tuple[int, int, int], blocks: int) -> None:
        """``seen``: channels of a window's pixel; ``blocks`` at each size, twice as many at the coarsest."""
        fine, middle, coarse = channels
        self.first = nn.Conv2d(4 * seen, fine, 3, padding=1)
        self.fine_in, self.fine_out = _blocks(fine, blocks), _blocks(fine, blocks)
        self.down_middle = nn.Conv2d(fine, middle, 3, stride=2, padding=1)
        self.middle_in, self.middle_out = _blocks(middle, blocks), _blocks(middle, blocks)
        self.down_coarse = nn.Conv2d(middle, coarse, 3, stride=2, padding=1)
        self.coarse = _blocks(coarse, 2 * blocks)
        self.up_middle, self.up_fine = nn.Conv2d(coarse, middle, 1), nn.Conv2d(middle, fine, 1)

    def features(self, seen: Tensor, asked: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Of windows (N, seen, S, S): features at half their side, and at an eighth. ``asked`` (N, coarse): added to
        the coarsest, what a sentence says of them."""
        inside = seen.to(self.first.weight.dtype)
        fine = self.fine_in(self.first(F.pixel_unshuffle(inside, 2).contiguous(memory_format=torch.channels_last)))
        middle = self.middle_in(self.down_middle(fine))
        coarse = self.down_coarse(middle)
        coarse = self.coarse(coarse if asked is None else coarse + asked[:, :, None, None])
        middle = self.middle_out(middle + F.interpolate(self.up_middle(coarse), middle.shape[-2:]))
        return self.fine_out(fine + F.interpolate(self.up_fine(middle), fine.shape[-2:])), coarse


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.one, self.two = (nn.Conv2d(width, width, 3, padding=1) for _ in range(2))
        nn.init.zeros_(self.two.weight)
        if self.two.bias is not None:
            nn.init.zeros_(self.two.bias)

    def forward(self, inside: Tensor) -> Tensor:
        added: Tensor = self.two(F.silu(self.one(F.silu(inside))))
        return inside + added


def _blocks(width: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(_Block(width) for _ in range(count)))


def where_maps(corner: Tensor) -> Tensor:
    """Where in the picture every pixel of windows is: (N, 2) corners to (N, 2, S, S), across and down."""
    ramp = torch.arange(SIDE_PX, device=corner.device) / SIDE_PX - 0.5
    across, down = ramp.expand(SIDE_PX, SIDE_PX), ramp[:, None].expand(SIDE_PX, SIDE_PX)
    return 2 * corner[:, :, None, None] - 1 + 0.6 * torch.stack([across, down])


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


def spots_of(
    frame: Tensor, painted: Tensor, top: int, jitter: np.random.Generator | None = None, jitter_px: int = 4
) -> Spots | None:
    """The windows around what changed between bands (B, 3, H, W) in -1..1; None where nothing did, or where pictures
    are smaller than a window.

    ``top``: the band's first row in the picture, px. ``jitter``: moves every window by up to ``jitter_px``.
    """
    height, width = frame.shape[-2:]
    if min(height, width) < SIDE_PX:
        return None
    places: list[tuple[int, int]] = []
    masks: list[np.ndarray] = []
    pictures: list[int] = []
    partners: list[int] = []
    for number, change in enumerate((painted - frame).abs().amax(1).cpu().numpy()):
        spots = changed_spots(change)
        for spot in spots:
            row, left = window_corner(spot, SIDE_PX)
            if jitter is not None:
                moved = jitter.integers(-jitter_px, jitter_px + 1, 2)
                row = int(np.clip(row + moved[0], 0, height - SIDE_PX))
                left = int(np.clip(left + moved[1], 0, width - SIDE_PX))
            places.append((row, left))
            masks.append(spot[row : row + SIDE_PX, left : left + SIDE_PX])
            pictures.append(number)
        partners += [len(partners) + partner(i, len(spots)) for i in range(len(spots))]
    if not places:
        return None
    return Spots(
        cut(frame, pictures, places),
        cut(painted, pictures, places),
        torch.from_numpy(np.stack(masks)).to(frame)[:, None],
        torch.tensor([[left / width, (top + row) / width] for row, left in places], device=frame.device),
        tuple(places),
        torch.tensor(pictures, device=frame.device),
        torch.tensor(partners, device=frame.device),
    )


def cut(images: Tensor, pictures: Sequence[int], places: Sequence[tuple[int, int]]) -> Tensor:
    """Windows (N, ..., S, S) of images (B, ..., H, W), each of one of the pictures, from a row and a column on."""
    where = zip(pictures, places, strict=True)
    return torch.stack(
        [images[number][..., row : row + SIDE_PX, left : left + SIDE_PX] for number, (row, left) in where]
    )
