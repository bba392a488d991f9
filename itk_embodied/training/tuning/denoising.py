"""What a denoiser is given, taken from the pipeline itself, and the loss of its answer.

Every edit pipeline encodes prompt and picture in its own way. Instead of repeating that for each, our adapter is asked
to paint as it does at run time, and its first call of the denoiser is caught with all that the pipeline prepared for
it. Painting FROM the right picture gives that picture's latents, in the layout in which a reference picture is handed
over; noised, they take the place of the pipeline's own noise. So what is learnt is what is used.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from itk_embodied.agents.base import CallContext
from itk_embodied.agents.generators.diffusers_generator import DiffusersGenerator
from itk_embodied.errors import ConfigError
from itk_embodied.types import Image


class _Caught(Exception):
    """Ends the pipeline's call once the denoiser was called."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """One pair, ready for the denoiser: its arguments, what it shall make (latents), and where that lies in the input.

    ``axis``: the input's axis along which noise comes first and the reference picture after it: 1 for both tokens
    (batch, tokens, channels) of a transformer and channels (batch, channels, height, width) of a U-Net.
    """

    arguments: Mapping[str, Any]
    target: Tensor


class Denoiser:
    """The trainable part of a pipeline behind our adapter."""

    axis = 1

    def __init__(self, generator: DiffusersGenerator) -> None:
        self.generator = generator
        pipeline: Any = generator.pipeline
        self.pipeline = pipeline
        self.is_unet = hasattr(pipeline, "unet")
        self.module: nn.Module = pipeline.unet if self.is_unet else pipeline.transformer
        self.input_name = "sample" if self.is_unet else "hidden_states"
        if self.is_unet:
            from diffusers import DDPMScheduler

            self.noising = DDPMScheduler.from_config(pipeline.scheduler.config)

    @property
    def adapter_name(self) -> str:
        return "unet" if self.is_unet else "transformer"

    def prepare(self, before: Image, after: Image, prompt: str) -> Prepared:
        """Encode a pair of uint8 RGB pictures of one size as the pipeline would.

        Raises:
            ConfigError: the pipeline looks at its reference picture at another size than it paints.
        """
        arguments, wanted = self._catch(before, prompt), self._catch(after, prompt)
        count = self._noise_count(arguments)
        whole = arguments[self.input_name]
        # With two prompts at once (classifier-free guidance) the row that has the prompt comes first.
        target = wanted[self.input_name][:1].narrow(self.axis, count, whole.shape[self.axis] - count)
        if target.shape[self.axis] != count:
            raise ConfigError(
                f"{self.generator.name} paints {count} latents and looks at {target.shape[self.axis]}; set the stack's "
                "resolution_px to the size at which it looks at pictures (1024)."
            )
        if self.is_unet:
            target = target * self.pipeline.vae.config.scaling_factor  # the reference is handed over unscaled
        return Prepared({k: _first(v) for k, v in arguments.items()}, target)

    def loss(self, module: nn.Module, prepared: Prepared, random: torch.Generator) -> Tensor:
        """Mean squared error of the flow (noise - picture) or, for a U-Net, of the noise; one random instant."""
        target = prepared.target.float()
        noise = torch.randn(target.shape, generator=random).to(target.device)
        arguments = dict(prepared.arguments)
        given = arguments[self.input_name]
        count = target.shape[self.axis]
        if self.is_unet:
            steps = int(self.noising.config.num_train_timesteps)
            time = torch.randint(0, steps, (1,), generator=random).to(target.device)
            noisy = self.noising.add_noise(target, noise, time)
            velocity = self.noising.config.prediction_type == "v_prediction"
            answer = self.noising.get_velocity(target, noise, time) if velocity else noise
            arguments["timestep"] = time
        else:
            # Logit-normal instants: the middle of the way is where most is decided (arXiv 2403.03206).
            instant = torch.sigmoid(torch.randn((1,), generator=random)).to(target.device)
            noisy = (1 - instant) * target + instant * noise
            answer = noise - target
            arguments["timestep"] = instant.to(given.dtype)
        rest = given.narrow(self.axis, count, given.shape[self.axis] - count)
        arguments[self.input_name] = torch.cat([noisy.to(given.dtype), rest], self.axis)
        arguments["return_dict"] = False
        predicted = module(**arguments)[0].narrow(self.axis, 0, count)
        return F.mse_loss(predicted.float(), answer)

    def _catch(self, image: Image, prompt: str) -> dict[str, Any]:
        caught: dict[str, Any] = {}
        signature = inspect.signature(type(self.module).forward)

        def look(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            caught.update(signature.bind(module, *args, **kwargs).arguments)
            raise _Caught

        handle = self.module.register_forward_pre_hook(look, with_kwargs=True)
        try:
            self.generator.generate(image, prompt, CallContext())
        except _Caught:
            pass
        finally:
            handle.remove()
        caught.pop("self")
        extra = caught.pop("kwargs", {})
        # Tensors made under inference mode must be copied before a gradient may pass them.
        return {name: _copied(value) for name, value in {**caught, **extra}.items()}

    def _noise_count(self, arguments: Mapping[str, Any]) -> int:
        if self.is_unet:
            return int(self.pipeline.vae.config.latent_channels)
        shapes = arguments.get("img_shapes")
        if shapes:
            frames, height, width = shapes[0][0]
            return int(frames * height * width)
        return int(arguments["hidden_states"].shape[1] // 2)


def _copied(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) else value


def _first(value: Any) -> Any:
    """The first row of a batch; what has no batch stays."""
    return value[:1] if isinstance(value, Tensor) and value.ndim >= 3 and value.shape[0] > 1 else value
