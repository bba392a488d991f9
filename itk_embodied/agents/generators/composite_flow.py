"""The embedded generator: a small flow that edits a camera frame and leaves alone what it does not change.

A U-Net sees the frame and a noisy version of the edited frame, and answers with content and a change mask; the edited
frame is ``frame + mask * (content - frame)``. The flow starts from the frame plus noise, not from pure noise (flow
matching, arXiv 2210.02747, with the source distribution around the image to edit). Mask and content are made at
the model's size and composited over the frame at the frame's own, so what must not change is bit for bit the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import PIL.Image
import torch
import torch.nn.functional as F
from diffusers import DiffusionPipeline, UNet2DConditionModel
from diffusers.utils import BaseOutput
from torch import Tensor

from itk_embodied.agents.generators.words import WordEncoder

MASK_BIAS = 3.0
"""The mask starts near sigmoid(-3): an untrained model changes next to nothing."""


class CompositeFlowOutput(BaseOutput):
    """``images``: PIL pictures, or a uint8 array (B, H, W, 3) for ``output_type="np"``."""

    images: Any


def predict(
    unet: UNet2DConditionModel, patch: int, noisy: Tensor, frame: Tensor, time: Tensor, words: Tensor
) -> tuple[Tensor, Tensor]:
    """One call of the U-Net. Images (B, 3, S, S) in -1..1; time (B,) in 0..1.

    Returns content (B, 3, S, S), not clamped, and the change mask (B, 1, S, S) in 0..1.
    """
    side = frame.shape[-1] // patch
    line = torch.linspace(-1, 1, side, device=frame.device)
    grid = torch.stack([line.expand(side, side), line[:, None].expand(side, side)]).expand(len(frame), -1, -1, -1)
    inside = torch.cat([F.pixel_unshuffle(torch.cat([noisy, frame], 1), patch), grid], 1)
    inside = inside.contiguous(memory_format=torch.channels_last)
    raw = F.pixel_shuffle(unet(inside, time * 1000, words).sample.float(), patch)
    return raw[:, :3], torch.sigmoid(raw[:, 3:] - MASK_BIAS)


class CompositeFlowEditPipeline(DiffusionPipeline):
    """Edits one picture by one sentence.

    Args of the call:
        image, prompt: one PIL picture and one sentence, or equally long lists of them.
        num_inference_steps: 8 is enough; each predicts the edited frame and noises it again, less each time.
        generator: fixes the noise; another seed gives another picture.
        callback_on_step_end: ``(pipeline, step, timestep, kwargs) -> kwargs``, as in diffusers.
    """

    def __init__(
        self, unet: UNet2DConditionModel, text_encoder: WordEncoder, size: int = 128, patch: int = 4, sigma: float = 0.5
    ) -> None:
        super().__init__()
        self.register_modules(unet=unet, text_encoder=text_encoder)
        self.register_to_config(size=size, patch=patch, sigma=sigma)

    @torch.no_grad()
    def __call__(
        self,
        image: PIL.Image.Image | list[PIL.Image.Image],
        prompt: str | list[str],
        num_inference_steps: int = 8,
        generator: torch.Generator | None = None,
        callback_on_step_end: Callable[[Any, int, Any, dict[str, Any]], dict[str, Any]] | None = None,
        output_type: str = "pil",
        return_dict: bool = True,
    ) -> CompositeFlowOutput | tuple[Any]:
        pictures = [p.convert("RGB") for p in (image if isinstance(image, list) else [image])]
        texts = prompt if isinstance(prompt, list) else [prompt]
        frame = torch.stack([self._small(picture) for picture in pictures])
        words = self.text_encoder(self.text_encoder.tokens(texts))
        noisy = self._start(frame, generator)
        instants = [(i / num_inference_steps) ** 2 for i in range(num_inference_steps + 1)]
        for i, (now, then) in enumerate(zip(instants[:-1], instants[1:], strict=True)):
            time = torch.full((len(frame),), now, device=frame.device)
            content, mask = predict(self.unet, self.config.patch, noisy, frame, time, words)
            edited = frame + mask * (content - frame)
            noisy = (1 - then) * self._start(frame, generator) + then * edited
            if callback_on_step_end is not None:
                callback_on_step_end(self, i, now, {})
        done = [_composite(p, c, m) for p, c, m in zip(pictures, content, mask, strict=True)]
        images: Any = done if output_type == "pil" else np.stack([np.asarray(p) for p in done])
        return CompositeFlowOutput(images=images) if return_dict else (images,)

    def _small(self, picture: PIL.Image.Image) -> Tensor:
        size = self.config.size
        array = np.array(picture.resize((size, size), PIL.Image.Resampling.BOX))
        return (torch.from_numpy(array).permute(2, 0, 1).float() / 127.5 - 1).to(self.device, self.unet.dtype)

    def _start(self, frame: Tensor, generator: torch.Generator | None) -> Tensor:
        # Drawn on the CPU, so that a seed means the same picture on every device.
        noise = torch.randn(frame.shape, generator=generator)
        return frame + self.config.sigma * noise.to(frame.device, frame.dtype)


def _composite(picture: PIL.Image.Image, content: Tensor, mask: Tensor) -> PIL.Image.Image:
    """Content and mask, scaled up, over the picture at its own size; below a small mask value nothing changes."""
    full = torch.from_numpy(np.array(picture)).permute(2, 0, 1).float()
    both = torch.cat([content, mask]).float().cpu()[None]
    if both.shape[-2:] != full.shape[-2:]:
        both = F.interpolate(both, size=full.shape[-2:], mode="bicubic", align_corners=False)
    painted, weight = (both[0, :3].clamp(-1, 1) + 1) * 127.5, both[0, 3:].clamp(0, 1)
    weight = torch.where(weight < 0.04, torch.zeros_like(weight), weight)
    mixed = (full + weight * (painted - full) + 0.5).clamp(0, 255)
    return PIL.Image.fromarray(mixed.to(torch.uint8).permute(1, 2, 0).numpy())
