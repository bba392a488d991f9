"""The edit verifier as a critic: one number for a picture, and where it looks wrong. It rewrites no prompt."""

# diffusers mixes its methods in in ways that a type checker cannot follow.
# mypy: disable-error-code="attr-defined,operator,arg-type"

from __future__ import annotations

import threading
from pathlib import Path

import PIL.Image
import torch

from itk_embodied.agents.base import CallContext
from itk_embodied.agents.checkpoints import find_checkpoint
from itk_embodied.agents.devices import choose_device
from itk_embodied.agents.generators.composite_flow import band_of
from itk_embodied.agents.generators.words import place_maps, places
from itk_embodied.agents.settings import EditVerifierSettings
from itk_embodied.agents.verifier.model import EditVerifier
from itk_embodied.errors import CheckpointError, ConfigError
from itk_embodied.types import Image, Verdict

FAULT_SHOWN = 0.5
"""A patch that is wrong at least so likely is told."""


class EditVerifierCritic:
    """See `itk_embodied.agents.base.Critic`. The refined prompt is the instruction itself: another seed may do."""

    def __init__(self, model: EditVerifier, settings: EditVerifierSettings, *, name: str = "") -> None:
        self.name = f"edit-verifier:{name or settings.checkpoint}"
        self.accept_threshold = settings.accept_threshold
        self._model = model.eval().requires_grad_(False)
        self._lock = threading.Lock()

    @classmethod
    def from_settings(cls, settings: EditVerifierSettings, folder: Path | None = None) -> EditVerifierCritic:
        """Load the checkpoint; relative paths start at ``folder``. Raises CheckpointError, ConfigError."""
        if settings.lora is not None:
            raise ConfigError(f"lora = {settings.lora!r}: an edit verifier takes no adapter; leave lora out.")
        checkpoint = find_checkpoint(settings, folder)
        if checkpoint.folder is None:
            raise CheckpointError(f"checkpoint {settings.checkpoint}: an edit verifier is loaded from a folder only.")
        device, dtype = choose_device(settings)
        with checkpoint.loading():
            model = EditVerifier.from_pretrained(checkpoint.folder, torch_dtype=dtype, use_safetensors=True)
        return cls(model.to(device), settings, name=checkpoint.given)

    def judge(self, before: Image, after: Image, instruction: str, prompt: str, context: CallContext) -> Verdict:
        context.check()
        with self._lock:
            right, faults = look(self._model, [before], [after], [instruction])
        context.check()
        score, (fault, column, row) = float(right[0]), _strongest(faults[0], self._model.config.band[0])
        told = f"looks wrong at <x{column:02d}><y{row:02d}>" if fault >= FAULT_SHOWN else "nothing looks wrong"
        return Verdict(score >= self.accept_threshold, instruction, score, reasoning=told)


@torch.inference_mode()
def look(
    model: EditVerifier, before: list[Image], after: list[Image], instructions: list[str]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures uint8 RGB (H, W, 3) of any size, and sentences.

    Returns float32 on the CPU: the probability (B,) that each edit is right and nothing else changed, and that of every
    patch (B, rows, columns) to be wrong.
    """
    band = tuple(model.config.band)
    device = model.head[0].weight.device
    seen = [
        torch.stack([band_of(PIL.Image.fromarray(image), model.config.patch, band) for image in images]).to(device)
        for images in (before, after)
    ]
    maps = place_maps([places(text) for text in instructions], (band[0], band[1])).to(device)
    asked = model.text_encoder.read(model.text_encoder.tokens(instructions))
    verdict, heat = model(*seen, maps, [scores.softmax(-1) for scores in asked])
    return verdict.sigmoid().float().cpu(), heat.sigmoid().float().cpu()


def _strongest(faults: torch.Tensor, top: int) -> tuple[float, int, int]:
    """The likeliest fault, with the column and row of its patch in the picture's raster."""
    place = int(faults.argmax())
    row, column = divmod(place, faults.shape[1])
    return float(faults.flatten()[place]), column, row + top
