"""Several paintings at once, from any generator: those that can take a batch get one, others are asked in turn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from itk_embodied.agents.base import CallContext, Generator
from itk_embodied.errors import BudgetExceededError, CancelledError
from itk_embodied.types import Image


@runtime_checkable
class BatchGenerator(Generator, Protocol):
    """A generator that paints several pictures in one call."""

    def generate_batch(
        self, images: Sequence[Image], prompts: Sequence[str], contexts: Sequence[CallContext]
    ) -> list[Image]:
        """As `Generator.generate` for each; what is painted does not depend on what else is in the batch."""
        ...


def generate_many(
    generator: Generator, images: Sequence[Image], prompts: Sequence[str], contexts: Sequence[CallContext]
) -> list[Image | Exception]:
    """Paint each prompt on its image. What fails is returned in its place; cancellation is raised.

    A batch that fails as a whole is tried again one by one, so that one bad prompt does not spoil the others.
    """
    if isinstance(generator, BatchGenerator) and len(images) > 1:
        try:
            return list(generator.generate_batch(images, prompts, contexts))
        except (CancelledError, BudgetExceededError):
            raise
        except Exception:  # which of them it was is found out below
            pass
    done: list[Image | Exception] = []
    for image, prompt, context in zip(images, prompts, contexts, strict=True):
        try:
            done.append(generator.generate(image, prompt, context))
        except (CancelledError, BudgetExceededError):
            raise
        except Exception as error:
            done.append(error)
    return done
