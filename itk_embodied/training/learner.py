"""A model that learns, the moving average of its weights that is shipped, and the optimiser."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from itk_embodied.errors import ConfigError
from itk_embodied.training.course import Course
from itk_embodied.training.journal import optimiser_tensors, restore_optimiser

EMA_EVERY, EMA_DECAY = 4, 0.999
"""The average follows every so many steps, and keeps so much of itself for each of them."""


Model = TypeVar("Model", bound=nn.Module)


class Learner(Generic[Model]):
    """AdamW on what can be learned of ``model``, which is on its device already; ``lr`` is the highest rate."""

    def __init__(self, model: Model, lr: float, weight_decay: float) -> None:
        self.model, self.lr = model, lr
        self.average: Model = copy.deepcopy(model).eval().requires_grad_(False)
        learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.optimiser = torch.optim.AdamW(learned, lr, betas=(0.9, 0.98), weight_decay=weight_decay, fused=True)

    def step(self, loss: Tensor, course: Course) -> None:
        """One step down the loss, at the rate that the course has for it; counts it there."""
        self.optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for group in self.optimiser.param_groups:
            group["lr"] = course.rate(self.lr)
        self.optimiser.step()
        course.steps += 1
        if course.steps % EMA_EVERY == 0:
            steps = course.steps / EMA_EVERY
            self._follow(min(EMA_DECAY**EMA_EVERY, steps / (steps + 5)))

    @torch.no_grad()
    def _follow(self, decay: float) -> None:
        torch._foreach_lerp_(list(self.average.parameters()), list(self.model.parameters()), 1 - decay)

    def tensors(self) -> dict[str, Tensor]:
        """All that `restore` needs."""
        parts = {"model": self.model, "average": self.average}
        named = {
            f"{part}.{name}": value for part, module in parts.items() for name, value in module.state_dict().items()
        }
        return named | optimiser_tensors(self.optimiser)

    def restore(self, tensors: Mapping[str, Tensor], fixed: Mapping[str, Tensor] | None = None) -> None:
        """Go on from `tensors`; ``fixed``: weights that come from elsewhere.

        Raises ConfigError where they are another model's.
        """
        for part, module in (("model", self.model), ("average", self.average)):
            own = {k.removeprefix(part + "."): v for k, v in tensors.items() if k.startswith(part + ".")}
            try:
                module.load_state_dict(own | dict(fixed or {}))
            except RuntimeError as error:
                raise ConfigError(
                    "the run's folder holds the state of another model; give another folder, or remove what is there."
                ) from error
        restore_optimiser(self.optimiser, dict(tensors))
