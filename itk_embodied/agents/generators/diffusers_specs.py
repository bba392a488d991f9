"""How each diffusers pipeline wants to be called: the only place that knows their differences. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from itk_embodied.errors import ConfigError, did_you_mean


@dataclass(frozen=True)
class PipelineSpec:
    """One pipeline class.

    Attributes:
        kind: its name in stack files.
        module, class_name: where the class is.
        steps: default number of denoising steps.
        resolution_px: default working size; 0 paints at the picture's own size.
        multiple_px, min_side_px: sides must be multiples of the one, and at least the other.
        image_as_list: the pipeline takes a list of reference pictures.
        passes_size: the pipeline takes ``height`` and ``width``; else it keeps the size of the picture it gets.
        area_argument: the pipeline scales to this area whatever height and width say, so it gets theirs.
        guidance_argument, guidance: the argument that steers by the prompt, None where there is none; its default.
        image_guidance_argument, image_guidance: the same for staying with the picture.
        negative_argument: the argument for what not to paint, None where there is none.
        own_components: parts of the checkpoint that are loaded with a class of ours, as ``module:class``.
        constants: further arguments that are always passed.
        batch: what one call may paint: ``pairs`` of any picture and prompt, several ``prompts`` on one picture, or
            ``one`` prompt on one picture.
    """

    kind: str
    module: str
    class_name: str
    steps: int
    resolution_px: int
    multiple_px: int
    min_side_px: int = 0
    image_as_list: bool = False
    passes_size: bool = True
    area_argument: str | None = None
    guidance_argument: str | None = None
    guidance: float | None = None
    image_guidance_argument: str | None = None
    image_guidance: float | None = None
    negative_argument: str | None = None
    own_components: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    constants: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    batch: Literal["one", "prompts", "pairs"] = "one"


SPECS: Mapping[str, PipelineSpec] = MappingProxyType(
    {
        spec.kind: spec
        for spec in (
            PipelineSpec(
                kind="composite-flow",
                module="itk_embodied.agents.generators.composite_flow",
                class_name="CompositeFlowEditPipeline",
                steps=8,
                resolution_px=0,
                multiple_px=1,
                passes_size=False,
                batch="pairs",
            ),
            # Distilled: four steps, and guidance at 1, where there is no second pass for a negative prompt.
            PipelineSpec(
                kind="flux2-klein",
                module="diffusers",
                class_name="Flux2KleinPipeline",
                steps=4,
                resolution_px=1024,
                multiple_px=16,
                min_side_px=64,
                guidance_argument="guidance_scale",
                guidance=1.0,
                batch="prompts",
            ),
            # Its guidance is true_cfg_scale, which takes effect only where there is a negative prompt, if a blank one.
            PipelineSpec(
                kind="qwen-image-edit-plus",
                module="diffusers",
                class_name="QwenImageEditPlusPipeline",
                steps=40,
                resolution_px=1024,
                multiple_px=16,
                image_as_list=True,
                guidance_argument="true_cfg_scale",
                guidance=4.0,
                negative_argument="negative_prompt",
                own_components=MappingProxyType(
                    {"processor": "itk_embodied.agents.generators.qwen_processor:ImageOnlyQwen2VLProcessor"}
                ),
            ),
            # _auto_resize would replace the working size by the nearest of its own list.
            PipelineSpec(
                kind="flux-kontext",
                module="diffusers",
                class_name="FluxKontextPipeline",
                steps=28,
                resolution_px=1024,
                multiple_px=16,
                area_argument="max_area",
                guidance_argument="guidance_scale",
                guidance=2.5,
                negative_argument="negative_prompt",
                constants=MappingProxyType({"_auto_resize": False}),
                batch="prompts",
            ),
            PipelineSpec(
                kind="instruct-pix2pix",
                module="diffusers",
                class_name="StableDiffusionInstructPix2PixPipeline",
                steps=50,
                resolution_px=512,
                multiple_px=8,
                passes_size=False,
                guidance_argument="guidance_scale",
                guidance=7.5,
                image_guidance_argument="image_guidance_scale",
                image_guidance=1.5,
                negative_argument="negative_prompt",
                batch="pairs",
            ),
        )
    }
)


def get_spec(kind: str) -> PipelineSpec:
    """Look a spec up by the kind's name. Raises ConfigError."""
    if kind not in SPECS:
        raise ConfigError(f"there is no diffusers generator of kind {kind!r}; {did_you_mean(kind, SPECS)}")
    return SPECS[kind]
