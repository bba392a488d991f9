"""The embedded generator: a small flow that edits a camera frame and leaves alone what it does not change.

A U-Net, with a head for fine detail after it, sees the frame and a noisy version of the edited frame, and answers
with content and a change mask; the edited frame is ``frame + mask * (content - frame)``. The flow starts from the
frame plus noise, not from pure noise (flow matching, arXiv 2210.02747, with the source distribution around the image
to edit). Only a band of the frame, where the table is, goes through the model. Mask and content are made at the
model's size and composited over the frame at the frame's own, so what is not painted stays bit for bit the same. One
manipulation changes a picture in two spots at most, where a thing was and where it goes: what the mask opens elsewhere
is left as it was. A refiner, where there is one, looks at these spots once more, pixel by pixel.
"""

# diffusers mixes these in in ways that a type checker cannot follow.
# mypy: disable-error-code="attr-defined,operator"

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, ClassVar

import cv2
import numpy as np
import PIL.Image
import torch
import torch.nn.functional as F
from diffusers import DiffusionPipeline, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from diffusers.utils import BaseOutput
from torch import Tensor

from itk_embodied.agents.generators.detail import DetailHead
from itk_embodied.agents.generators.refiner import Refiner, correction
from itk_embodied.agents.generators.words import RASTER, StepReader, place_maps, places
from itk_embodied.errors import InputError

MASK_BIAS = 3.0
"""The mask starts near sigmoid(-3): an untrained model changes next to nothing."""
LEAST_MASK = 0.04
"""Below this the mask counts as nothing, so that most of a frame stays exactly as it was."""
SHARPENED = 3
"""How often a picture of another size than the model's is compared with what was painted, and put right."""
SPOT_MASK, SPOT_MARGIN_PX = 0.7, 3
"""A spot is connected and opener than this, and so much around it, at the model's size."""


class CompositeFlowOutput(BaseOutput):
    """``images``: PIL pictures, or a uint8 array (B, H, W, 3) for ``output_type="np"``."""

    images: Any


def predict(
    unet: UNet2DConditionModel,
    detail: DetailHead,
    patch: int,
    top: int,
    noisy: Tensor,
    frame: Tensor,
    maps: Tensor,
    time: Tensor,
    words: Tensor,
) -> tuple[Tensor, Tensor]:
    """One call of the model on bands (B, 3, H, W) in -1..1; ``maps`` (B, 2, rows, columns): see `place_maps`;
    ``time`` (B,) in 0..1; ``top``: the band's first row in the raster.

    Returns content (B, 3, H, W), not clamped, and the change mask (B, 1, H, W) in 0..1.
    """
    inside = patches_of(noisy, frame, maps, patch, top).to(unet.dtype)
    made = detail(unet(inside, time * 1000, words).sample, inside, time)
    raw = F.pixel_shuffle(made.float(), patch)
    return raw[:, :3], torch.sigmoid(raw[:, 3:] - MASK_BIAS)


def patches_of(upper: Tensor, lower: Tensor, maps: Tensor, patch: int, top: int) -> Tensor:
    """Two bands (B, 3, H, W), as patches one over the other, with where each patch is, and ``maps``: the U-Net's
    input (B, 6 * patch * patch + 4, rows, columns)."""
    rows, columns = lower.shape[-2] // patch, lower.shape[-1] // patch
    across = (torch.arange(columns, device=lower.device) + 0.5) / columns
    down = top / RASTER + (torch.arange(rows, device=lower.device) + 0.5) / columns
    grid = 2 * torch.stack([across.expand(rows, columns), down[:, None].expand(rows, columns)]) - 1
    seen = F.pixel_unshuffle(torch.cat([upper, lower], 1), patch)
    inside = torch.cat([seen, grid.expand(len(lower), -1, -1, -1), maps], 1)
    return inside.contiguous(memory_format=torch.channels_last)


def band_of(picture: PIL.Image.Image, patch: int, band: Sequence[int]) -> Tensor:
    """The band of a picture at a model's size, (3, H, W) float32 in -1..1."""
    size = RASTER * patch
    top, bottom = (row * patch for row in band)
    array = np.array(picture.resize((size, size), PIL.Image.Resampling.BOX))[top:bottom]
    return torch.from_numpy(array).permute(2, 0, 1).float() / 127.5 - 1


class CompositeFlowEditPipeline(DiffusionPipeline):
    """Edits one picture by one sentence.

    Args:
        unet, detail, text_encoder: the model.
        refiner: corrects what was painted (see `itk_embodied.agents.generators.refiner`); None leaves it as it is.
        patch: pixels of a patch's side; the model sees RASTER patches a row, so the frame is scaled to
            RASTER * patch px.
        sigma: how noisy the flow's start is, in units of half the colour range.
        band: first row and row after the last that the model sees, in 32nds of the frame's height; None for
            all of it.
        candidates: how often a picture is painted at once where a call does not say.
        decision: how much more decided the mask is made at the end; 1 leaves it as the model has it.
        reluctance: taken off the mask's log-odds at the end. Training weighs changed pixels far more than others, so
            the model opens its mask more readily than is right.
        spots: in how many connected spots a picture may change; those of the largest change stay. None: any number.

    Args of the call:
        image, prompt: one PIL picture and one sentence, or equally long lists of them.
        num_inference_steps: 8 is enough; each predicts the edited frame and noises it again, less each time.
        generator: fixes the noise; another seed gives another picture. A list of them: one for each picture.
        callback_on_step_end: ``(pipeline, step, timestep, kwargs) -> kwargs``, as in diffusers.
        output_type: ``pil``, or ``np`` for one uint8 array.
        candidates: paint each picture so often at once, and keep the one of which the model is surest.
    """

    _optional_components: ClassVar[list[str]] = ["refiner"]

    def __init__(
        self,
        unet: UNet2DConditionModel,
        detail: DetailHead,
        text_encoder: StepReader,
        refiner: Refiner | None = None,
        patch: int = 4,
        sigma: float = 0.5,
        band: list[int] | None = None,
        candidates: int = 1,
        decision: float = 3.0,
        reluctance: float = 1.5,
        spots: int | None = 2,
    ) -> None:
        super().__init__()
        # Both are about twice as fast at this size on a CPU, and the same everywhere else.
        unet.set_attn_processor(AttnProcessor())
        unet.to(memory_format=torch.channels_last)
        self.register_modules(unet=unet, detail=detail, text_encoder=text_encoder, refiner=refiner)
        self.register_to_config(
            patch=patch, sigma=sigma, band=list(band or (0, RASTER)), candidates=candidates, decision=decision,
            reluctance=reluctance, spots=spots,
        )  # fmt: skip

    @torch.no_grad()
    def __call__(
        self,
        image: PIL.Image.Image | list[PIL.Image.Image],
        prompt: str | list[str],
        num_inference_steps: int = 8,
        generator: torch.Generator | list[torch.Generator] | None = None,
        callback_on_step_end: Callable[[Any, int, Any, dict[str, Any]], dict[str, Any]] | None = None,
        output_type: str = "pil",
        return_dict: bool = True,
        candidates: int | None = None,
    ) -> CompositeFlowOutput | tuple[Any]:
        pictures = [p.convert("RGB") for p in (image if isinstance(image, list) else [image])]
        texts = prompt if isinstance(prompt, list) else [prompt]
        candidates = self.config.candidates if candidates is None else candidates
        self._check(pictures, texts, min(num_inference_steps, candidates), output_type)
        pictures = [picture for picture in pictures for _ in range(candidates)]
        texts = [text for text in texts for _ in range(candidates)]
        if isinstance(generator, list):
            generator = [source for source in generator for _ in range(candidates)]
        top, bottom = self.config.band
        frame = torch.stack([band_of(picture, self.config.patch, (top, bottom)) for picture in pictures])
        frame = frame.to(self.device)
        words = self.text_encoder(self.text_encoder.tokens(texts)).to(self.unet.dtype)
        maps = place_maps([places(text) for text in texts], (top, bottom)).to(self.device)
        noisy = self._noised(frame, generator)
        instants = [(i / num_inference_steps) ** 2 for i in range(num_inference_steps + 1)]
        for i, (now, then) in enumerate(pairwise(instants)):
            time = torch.full((len(frame),), now, device=frame.device)
            content, mask = predict(self.unet, self.detail, self.config.patch, top, noisy, frame, maps, time, words)
            edited = frame + mask * (content - frame)
            if i + 1 < num_inference_steps:
                noisy = (1 - then) * self._noised(frame, generator) + then * edited
            if callback_on_step_end is not None:
                callback_on_step_end(self, i, now, {})
        # A half-open mask over a different content is a ghost: a copy that the model could not decide on.
        doubt = ((content - frame).abs().amax(1) * (mask * (1 - mask))[:, 0]).sum((1, 2)).view(-1, candidates)
        best = doubt.argmin(1) + torch.arange(0, len(frame), candidates, device=doubt.device)
        mask = torch.sigmoid(torch.logit(mask, 1e-6) - self.config.reluctance)
        decision, spots = self.config.decision, self.config.spots
        done = []
        for i in best.tolist():
            opened = mask[i] if spots is None else mask[i] * _spots(content[i] - frame[i], mask[i], spots)
            weight = _decided(opened, decision)
            painted = frame[i] + weight * (content[i].clamp(-1, 1) - frame[i])
            if self.refiner is not None:
                painted = painted + correction(self.refiner, frame[i], painted, top * self.config.patch)
            done.append(_composite(pictures[i], frame[i], content[i], weight, painted, (top, bottom)))
        images: Any = done if output_type == "pil" else np.stack([np.asarray(p) for p in done])
        return CompositeFlowOutput(images=images) if return_dict else (images,)

    @staticmethod
    def _check(pictures: list[PIL.Image.Image], texts: list[str], steps: int, output_type: str) -> None:
        if len(pictures) != len(texts):
            raise InputError(f"{len(pictures)} pictures and {len(texts)} prompts were given; give as many of each.")
        if steps < 1:
            raise InputError(f"num_inference_steps or candidates is {steps}; both must be 1 or more.")
        if output_type not in ("pil", "np"):
            raise InputError(f"output_type {output_type!r} is unknown; allowed: pil, np.")

    def _noised(self, frame: Tensor, generator: torch.Generator | list[torch.Generator] | None) -> Tensor:
        # Drawn on the CPU, so that a seed means the same picture on every device.
        if isinstance(generator, list):
            noise = torch.stack([torch.randn(f.shape, generator=g) for f, g in zip(frame, generator, strict=True)])
        else:
            noise = torch.randn(frame.shape, generator=generator)
        return frame + self.config.sigma * noise.to(frame.device)


def _spots(change: Tensor, mask: Tensor, most: int) -> Tensor:
    """Where a picture may change: 1 in and around the ``most`` connected spots of the mask (1, H, W) in which it would
    ``change`` (3, H, W) most, else 0."""
    weight = (mask[0] * change.abs().amax(0)).float().cpu().numpy()
    count, labels = cv2.connectedComponents((mask[0].float().cpu().numpy() > SPOT_MASK).astype(np.uint8))
    changes = np.bincount(labels.ravel(), weight.ravel(), count)
    changes[0] = -1  # the background
    kept = [label for label in np.argsort(-changes)[:most] if label]
    around = np.ones((2 * SPOT_MARGIN_PX + 1,) * 2, np.uint8)
    return torch.from_numpy(cv2.dilate(np.isin(labels, kept).astype(np.uint8), around))[None].to(mask)


def _decided(mask: Tensor, decision: float) -> Tensor:
    """A mask half open leaves traces of what was there and soft edges around what is new, so it is taken further to the
    side it is on: its log-odds count ``decision`` times. Next to nothing becomes nothing."""
    weight = torch.sigmoid(decision * torch.logit(mask.clamp(0, 1), 1e-6))
    return torch.where(weight < LEAST_MASK, torch.zeros_like(weight), weight)


def _composite(
    picture: PIL.Image.Image,
    frame: Tensor,
    content: Tensor,
    weight: Tensor,
    painted: Tensor,
    band: tuple[int, int],
) -> PIL.Image.Image:
    """A picture with its band as it was ``painted`` (3, H, W), at its own size; where nothing was, nothing changes.

    Content is scaled up and mixed in by its ``weight``, so that fine detail next to it stays. Scaling up blurs, and who
    looks at the picture at the model's size would see that: what then differs from what was painted is put right,
    `SHARPENED` times over (back-projection, Irani and Peleg, 1991).
    """
    pixels = np.array(picture)
    top, bottom = (round(row * len(pixels) / RASTER) for row in band)
    full = torch.from_numpy(pixels[top:bottom]).permute(2, 0, 1).float()
    small = (painted.float().cpu() + 1) * 127.5
    same = (painted == frame).all(0, keepdim=True).cpu()
    opened = F.interpolate((~same).float()[None], size=full.shape[-2:])[0] > 0
    parts = torch.cat([content.clamp(-1, 1), weight]).float().cpu()
    scaled = _scaled(parts, full)
    mixed = full + scaled[3:].clamp(0, 1) * ((scaled[:3] + 1) * 127.5 - full)
    for _ in range(SHARPENED):
        seen = F.interpolate(mixed[None], size=small.shape[-2:], mode="area")[0]
        mixed = (mixed + _scaled((small - seen) * ~same, full)).clamp(0, 255)
    pixels[top:bottom] = torch.where(opened, mixed + 0.5, full).clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy()
    return PIL.Image.fromarray(pixels)


def _scaled(image: Tensor, like: Tensor) -> Tensor:
    if image.shape[-2:] == like.shape[-2:]:
        return image
    return F.interpolate(image[None], size=like.shape[-2:], mode="bicubic", align_corners=False)[0]
