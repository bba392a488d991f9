"""What the verifier's closer look learns: the verdict, the judge's scores, and which pixels are wrong."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from itk_embodied.agents.verifier.closer import CloserLook
from itk_embodied.agents.windows import SIDE_PX, Spots, WindowNet, cut, spots_of
from itk_embodied.training.verifier_data import VerifierBatch

MIRRORED = 0.5
"""Of the pictures whose step knows no left and right."""
RECOLOURED, SHOWN = 0.4, 0.3
"""Of the pictures that the judge gives at least so much of its full score for the change: the share whose red, green
and blue are exchanged. A trace or a rounded edge is one in any colour; which things are asked for is not told then."""
JITTER_PX = 4
"""Every window lies up to so much elsewhere."""
UNKNOWN_STARTS = 0.1
"""How small the weights of channels are at the start that a refiner does not see."""
FAULT_COUNTS, AROUND = 7.0, 0.1
"""How much more a wrong pixel counts than a right one, and how much a pixel outside the spots."""


@dataclass(frozen=True, eq=False)
class CloserBatch:
    """``spots``: None where no picture has changed; ``asked``: float32 (B, values), which values the slots have;
    ``good``: float32 (B,); ``points``: float32 (B, 4) in 0..1, the judge's scores, not a number where they are not
    known; ``fault``, ``known``: float32 (N, S, S)."""

    spots: Spots | None
    asked: Tensor
    good: Tensor
    points: Tensor
    fault: Tensor
    known: Tensor

    def to(self, device: str) -> CloserBatch:
        """The same on another device."""
        parts = {name: None if one is None else one.to(device) for name, one in vars(self).items()}
        return CloserBatch(**parts)  # type: ignore[arg-type]


def start_from(closer: CloserLook, refiner: WindowNet) -> None:
    """Give an untrained closer look what a refiner knows of windows, where they are equally large: its body, and what
    it makes of the channels that both see."""
    mine = closer.state_dict()
    for name, value in refiner.state_dict().items():
        if name == "first.weight" and value.shape[0] == mine[name].shape[0] and value.shape[1] <= mine[name].shape[1]:
            mine[name][:, : value.shape[1]] = value.float()
            mine[name][:, value.shape[1] :] *= UNKNOWN_STARTS
        elif name in mine and mine[name].shape == value.shape:
            mine[name].copy_(value.float())


def make_closer_batch(
    batch: VerifierBatch, slots: list[int], top: int, width: int, rng: np.random.Generator
) -> CloserBatch:
    """Windows of a verifier's batch, moved about, some of them mirrored or in other colours.

    ``slots``: how many values each has; ``top``: the band's first row, px; ``width``: of the picture, px.
    """
    asked = torch.cat([F.one_hot(batch.slots[:, i], many).float() for i, many in enumerate(slots)], 1)
    spots = spots_of(batch.before, batch.after, top, rng, JITTER_PX)
    mirrored = torch.from_numpy(rng.random(len(batch.good)) < MIRRORED) & ~batch.sided
    recoloured = torch.from_numpy(rng.random(len(batch.good)) < RECOLOURED) & (batch.points[:, 0] >= SHOWN)
    asked[:, slots[0] :] *= ~recoloured[:, None]
    channels = torch.from_numpy(np.stack([rng.permutation(3) for _ in batch.good]))
    channels = torch.where(recoloured[:, None], channels, torch.arange(3))
    if spots is None:
        nothing = torch.zeros(0, SIDE_PX, SIDE_PX)
        return CloserBatch(None, asked, batch.good, batch.points, nothing, nothing)
    numbers = spots.picture.tolist()
    fault, known = (cut(pixels, numbers, spots.place) for pixels in (batch.fault_px, batch.known_px))
    flip = mirrored[spots.picture]
    fault, known = (torch.where(flip[:, None, None], image.flip(-1), image) for image in (fault, known))
    seen = _mirrored(_recoloured(spots, channels[spots.picture]), flip, width)
    return CloserBatch(seen, asked, batch.good, batch.points, fault, known)


def _recoloured(spots: Spots, channels: Tensor) -> Spots:
    """Windows with their colours' channels in the order of ``channels``, int64 (N, 3)."""
    order = channels[:, :, None, None].expand_as(spots.frame)
    return replace(spots, frame=spots.frame.gather(1, order), painted=spots.painted.gather(1, order))


def _mirrored(spots: Spots, flip: Tensor, width: int) -> Spots:
    """Mirrored windows lie at the mirrored places of pictures whose columns go from 0 to 1."""
    four = flip[:, None, None, None]
    frame, painted, inside = (
        torch.where(four, image.flip(-1), image) for image in (spots.frame, spots.painted, spots.inside)
    )
    across = torch.where(flip, 1 - spots.corner[:, 0] - SIDE_PX / width, spots.corner[:, 0])
    corner = torch.stack([across, spots.corner[:, 1]], 1)
    return replace(spots, frame=frame, painted=painted, inside=inside, corner=corner)


def closer_loss(model: CloserLook, batch: CloserBatch) -> tuple[Tensor, Tensor]:
    """Of the verdict with the judge's scores, and of the wrong pixels, and the share of verdicts that were right."""
    told, heat = model(batch.spots, batch.asked)
    loss = F.binary_cross_entropy_with_logits(told[:, 0], batch.good)
    sure = ~batch.points.isnan()
    if sure.any():
        loss = loss + F.binary_cross_entropy_with_logits(told[:, 1:][sure], batch.points[sure])
    if batch.spots is not None:
        inside = batch.spots.inside[:, 0]
        weight = batch.known * (1 + FAULT_COUNTS * batch.fault) * (AROUND + (1 - AROUND) * inside)
        each = F.binary_cross_entropy_with_logits(heat, batch.fault, reduction="none")
        loss = loss + (each * weight).sum() / weight.sum().clamp(min=1)
    return loss, ((told[:, 0] > 0) == (batch.good > 0.5)).float().mean()
