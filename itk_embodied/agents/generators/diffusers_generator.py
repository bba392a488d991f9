"""One generator for every diffusers edit pipeline: the spec says how to call it, the stack says with what."""

from __future__ import annotations

import importlib
import inspect
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import PIL.Image
import torch

from itk_embodied.agents.base import CallContext
from itk_embodied.agents.checkpoints import Checkpoint, find_adapter, find_checkpoint
from itk_embodied.agents.devices import choose_device
from itk_embodied.agents.generators.diffusers_specs import PipelineSpec, get_spec
from itk_embodied.agents.pictures import painted, resize, working_size
from itk_embodied.agents.settings import DiffusersSettings
from itk_embodied.errors import ConfigError, did_you_mean
from itk_embodied.types import Image, image_hash

_LOCK_POLL_S = 0.02


class DiffusersGenerator:
    """See `itk_embodied.agents.base.Generator`. One call at a time; others wait and can be cancelled.

    All randomness comes from a CPU generator seeded by the call, so that CPU and GPU start from the same noise.
    """

    def __init__(self, pipeline: Any, spec: PipelineSpec, settings: DiffusersSettings, *, name: str = "") -> None:
        self.name = f"{spec.kind}:{name or settings.checkpoint}"
        self.pipeline, self._spec = pipeline, spec
        self._resolution_px = spec.resolution_px if settings.resolution_px is None else settings.resolution_px
        self._arguments = call_arguments(spec, settings, inspect.signature(type(pipeline).__call__).parameters)
        self._max_batch = settings.max_batch
        self._lock = threading.Lock()
        pipeline.set_progress_bar_config(disable=True)

    @classmethod
    def from_settings(cls, kind: str, settings: DiffusersSettings, folder: Path | None = None) -> DiffusersGenerator:
        """Load the checkpoint of a kind named in `diffusers_specs`; relative paths start at ``folder``.

        Raises:
            CheckpointError: it is missing or broken; names the hub id and how to fetch it.
            ConfigError: a setting or the device does not fit.
        """
        spec = get_spec(kind)
        checkpoint, adapter = find_checkpoint(settings, folder), find_adapter(settings, folder)
        device, dtype = choose_device(settings)
        pipeline = _load(spec, checkpoint, dtype)
        if adapter is not None:
            _merge(pipeline, adapter)
        if settings.cpu_offload and device.type != "cpu":
            pipeline.enable_model_cpu_offload(device=device)
        else:
            pipeline = pipeline.to(device)
        return cls(pipeline, spec, settings, name=checkpoint.given + (f"+{adapter.given}" if adapter else ""))

    def generate(self, image: Image, prompt: str, context: CallContext) -> Image:
        return self.generate_batch([image], [prompt], [context])[0]

    def generate_batch(
        self, images: Sequence[Image], prompts: Sequence[str], contexts: Sequence[CallContext]
    ) -> list[Image]:
        """See `itk_embodied.agents.generators.batching.BatchGenerator`. Calls the pipeline as seldom as it allows."""
        done: dict[int, Image] = {}
        for chunk in self._chunks(images):
            mine = [contexts[i] for i in chunk]
            check = partial(_check_all, mine)
            check()
            while not self._lock.acquire(timeout=_LOCK_POLL_S):
                check()
            try:
                painted = self._paint([images[i] for i in chunk], [prompts[i] for i in chunk], mine, check)
            finally:
                self._lock.release()
            done |= dict(zip(chunk, painted, strict=True))
        return [done[i] for i in range(len(images))]

    def _chunks(self, images: Sequence[Image]) -> list[list[int]]:
        """Which of the pictures go into one call."""
        if self._spec.batch == "one" or len(images) == 1:
            return [[i] for i in range(len(images))]
        together: dict[object, list[int]] = {}
        for i, image in enumerate(images):
            key = image.shape if self._spec.batch == "pairs" else image_hash(image)
            together.setdefault(key, []).append(i)
        size = self._max_batch
        return [group[at : at + size] for group in together.values() for at in range(0, len(group), size)]

    def _working_size(self, image: Image) -> tuple[int, int]:
        height, width = image.shape[:2]
        return working_size(height, width, self._resolution_px, self._spec.multiple_px, self._spec.min_side_px)

    @torch.inference_mode()
    def _paint(
        self,
        images: Sequence[Image],
        prompts: Sequence[str],
        contexts: Sequence[CallContext],
        check: Callable[[], None],
    ) -> list[Image]:
        def on_step_end(pipeline: Any, step: int, timestep: Any, values: dict[str, Any]) -> dict[str, Any]:
            check()
            return values

        height, width = self._working_size(images[0])
        pictures = [PIL.Image.fromarray(resize(image, width, height)) for image in images]
        generators = [torch.Generator("cpu").manual_seed(context.seed) for context in contexts]
        arguments = dict(self._arguments)
        if self._spec.passes_size:
            arguments |= {"height": height, "width": width}
        if self._spec.area_argument:
            arguments[self._spec.area_argument] = height * width
        alone = len(images) == 1
        shown: Any = pictures[0] if alone or self._spec.batch == "prompts" else pictures
        negative = self._spec.negative_argument
        if not alone and negative in arguments:
            arguments[negative] = [arguments[negative]] * len(images)
        result = self.pipeline(
            image=[shown] if self._spec.image_as_list else shown,
            prompt=prompts[0] if alone else list(prompts),
            generator=generators[0] if alone else generators,
            callback_on_step_end=on_step_end,
            **arguments,
        )
        check()
        return [painted(picture, image) for picture, image in zip(result.images, images, strict=True)]


def _check_all(contexts: Sequence[CallContext]) -> None:
    for context in contexts:
        context.check()


def call_arguments(spec: PipelineSpec, settings: DiffusersSettings, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that stay the same from call to call.

    Raises:
        ConfigError: a setting that this pipeline does not have.
    """
    arguments: dict[str, Any] = {"num_inference_steps": settings.steps or spec.steps} | dict(spec.constants)
    for setting, argument, default in (
        ("guidance", spec.guidance_argument, spec.guidance),
        ("image_guidance", spec.image_guidance_argument, spec.image_guidance),
        ("negative_prompt", spec.negative_argument, None),
    ):
        value = getattr(settings, setting)
        if argument is None and value is not None:
            raise ConfigError(f"[generator] {setting}: {spec.class_name} has no such setting; leave it out.")
        if argument is not None and (value is not None or default is not None):
            arguments[argument] = default if value is None else value
    ours = {"image", "prompt", "generator", "callback_on_step_end", "height", "width", "self"}
    for name, value in settings.call.items():
        allowed = set(parameters) - ours
        if name not in allowed:
            raise ConfigError(
                f"[generator.call] {spec.class_name} takes no argument {name!r}; {did_you_mean(name, allowed)}"
            )
        arguments[name] = tuple(value) if isinstance(value, list) else value
    return arguments


def _load(spec: PipelineSpec, checkpoint: Checkpoint, dtype: torch.dtype) -> Any:
    options: dict[str, Any] = {"local_files_only": checkpoint.local_only}
    if checkpoint.revision:
        options["revision"] = checkpoint.revision
    pipeline_class = _find_class(spec.module, spec.class_name)
    with checkpoint.loading():
        parts = {
            name: _find_class(*where.split(":")).from_pretrained(checkpoint.location, subfolder=name, **options)
            for name, where in spec.own_components.items()
        }
        return pipeline_class.from_pretrained(
            checkpoint.location, dtype=dtype, use_safetensors=True, **parts, **options
        )


def _merge(pipeline: Any, adapter: Checkpoint) -> None:
    """Add a LoRA adapter's change to the pipeline's weights."""
    if not hasattr(pipeline, "load_lora_weights"):
        raise ConfigError(f"[generator] lora: {type(pipeline).__name__} takes no LoRA adapters; leave it out.")
    with adapter.loading():
        pipeline.load_lora_weights(adapter.location)
        pipeline.fuse_lora()
        pipeline.unload_lora_weights()


def _find_class(module: str, name: str) -> Any:
    return getattr(importlib.import_module(module), name)
