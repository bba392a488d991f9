"""The network of the edit verifier: a U-Net over both pictures and the sentence, with a verdict and a map of faults.

It has the body of the embedded generator (`itk_embodied.agents.generators.composite_flow`) and is trained from its
weights: who can paint a step knows where its parts are. Instead of content it answers with features of every patch, to
which a `DetailHead` adds what that body overlooks; their mean and their strongest values over the picture make the
verdict, and one of them says where something is wrong. How grainy every patch of both pictures is, is told to that
head: noise is what the body was trained to paint away, and does not see. A second, smaller network looks more closely
at the spots that changed (`itk_embodied.agents.verifier.closer`); both have a say in the verdict.
"""

# diffusers mixes these in in ways that a type checker cannot follow.
# mypy: disable-error-code="attr-defined,operator,arg-type"

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin, UNet2DConditionModel
from diffusers.configuration_utils import register_to_config
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor, nn

from itk_embodied.agents.generators.composite_flow import patches_of
from itk_embodied.agents.generators.detail import DetailHead
from itk_embodied.agents.generators.words import StepReader
from itk_embodied.agents.verifier.closer import CloserLook
from itk_embodied.agents.windows import spots_of

FEATURES = 24
GRAINS = 2
"""Channels that say how grainy patches are: of the picture after, and of the one before."""
_FLAT = 1e-4
"""Energy of a patch that is as good as flat."""
DONE = 1000.0
"""The U-Net's time for a picture without noise: the end of the generator's flow."""


class EditVerifier(ModelMixin, ConfigMixin):
    """Was the edit from ``before`` to ``after`` the one that the sentence asks for, and nothing else?

    Args:
        body, words: arguments of `UNet2DConditionModel` and `StepReader`.
        patch: pixels of a patch's side, at the size at which pictures are looked at.
        band: first row and row after the last that are looked at, in 32nds of the picture's height.
        windows: arguments of `CloserLook`; None for no closer look.
        blend: how much the log-odds of the whole and those of the closer look count, and what is added to their sum.
    """

    @register_to_config
    def __init__(
        self,
        body: dict[str, Any],
        words: dict[str, Any],
        patch: int = 4,
        band: tuple[int, int] = (10, 26),
        windows: dict[str, Any] | None = None,
        blend: tuple[float, float, float] = (0.5, 0.5, 0.0),
    ):
        super().__init__()
        self.unet = UNet2DConditionModel(**{**body, "out_channels": FEATURES})
        self.unet.set_attn_processor(AttnProcessor())
        self.unet.to(memory_format=torch.channels_last)
        self.detail = DetailHead(FEATURES, body["in_channels"] + GRAINS)
        self.text_encoder = StepReader(**words)
        self.head = nn.Sequential(nn.Linear(2 * FEATURES, 64), nn.SiLU(), nn.Linear(64, 1))
        self.closer = None if windows is None else self._closer(windows)

    def _closer(self, settings: dict[str, Any]) -> CloserLook:
        return CloserLook(sum(len(values) for values in self.text_encoder.config.slots), **settings)

    def add_closer(self, **settings: Any) -> None:
        """Give it a closer look, untrained."""
        self.closer = self._closer(settings).to(self.head[0].weight)
        self.register_to_config(windows=settings)

    def forward(self, before: Tensor, after: Tensor, maps: Tensor, shares: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Bands (B, 3, H, W) in -1..1; ``maps``: see `place_maps`; ``shares``: what the sentence's slots hold, (B,
        values) for each slot.

        Returns the log-odds (B,) that the edit is right, and those of every patch (B, rows, columns) that it is wrong.
        """
        verdict, faults = self.whole(before, after, maps, shares)
        if self.closer is None:
            return verdict, faults
        closer, _ = self.closer(spots_of(before, after, self.top_px), torch.cat(list(shares), 1))
        whole_counts, closer_counts, added = self.config.blend
        return whole_counts * verdict + closer_counts * closer[:, 0] + added, faults

    @property
    def top_px(self) -> int:
        """First row of the band, px."""
        return int(self.config.band[0] * self.config.patch)

    def whole(self, before: Tensor, after: Tensor, maps: Tensor, shares: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """As `forward`, without the closer look."""
        inside = patches_of(after, before, maps, self.config.patch, self.config.band[0])
        inside = inside.to(self.head[0].weight.dtype)
        time = torch.ones(len(before), device=before.device)
        grains = torch.cat([grain(picture, self.config.patch) for picture in (after, before)], 1).to(inside.dtype)
        words = self.text_encoder.vectors([share.to(self.text_encoder.tables[0].weight.dtype) for share in shares])
        made = self.unet(inside, time * DONE, words.to(inside.dtype)).sample
        features = self.detail(made, torch.cat([inside, grains], 1), time).float()
        pooled = torch.cat([features.mean((2, 3)), features.amax((2, 3))], 1)
        return self.head(pooled.to(self.head[0].weight.dtype)).float()[:, 0], features[:, 0]


def grain(picture: Tensor, patch: int) -> Tensor:
    """How much a pixel differs from those around it, by patches: (B, 3, H, W) in -1..1 to (B, 1, rows, columns), -1
    for a flat patch, about 0.4 for even noise over half the range of values, 1 for a mean square of 1."""
    rough = picture.float() - F.avg_pool2d(F.pad(picture.float(), (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    energy = F.avg_pool2d(rough.square().mean(1, keepdim=True), patch)
    return (energy + _FLAT).log10() / 2 + 1
