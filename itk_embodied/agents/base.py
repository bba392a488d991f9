"""The three roles. Anything with these methods can take one; `itk_embodied.agents.conformance` checks that it does."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from itk_embodied.errors import BudgetExceededError, CancelledError
from itk_embodied.types import Image, Plan, Task, Verdict


@dataclass(frozen=True)
class CallContext:
    """What an agent must watch while it works: call `check` between denoising steps and between tokens.

    Attributes:
        seed: everything random in the call comes from this seed: same input and seed, same output.
        deadline_s: a `time.monotonic` instant; None for no deadline.
        cancel: set by another thread to stop the call.
    """

    seed: int = 0
    deadline_s: float | None = None
    cancel: threading.Event = field(default_factory=threading.Event)

    def check(self) -> None:
        """Raise if the call must stop now.

        Raises:
            CancelledError: `cancel` is set.
            BudgetExceededError: the deadline has passed.
        """
        if self.cancel.is_set():
            raise CancelledError("the task was cancelled")
        if self.deadline_s is not None and time.monotonic() > self.deadline_s:
            raise BudgetExceededError("the call ran past its time budget; raise the budget or use a smaller stack")


@runtime_checkable
class Planner(Protocol):
    """Writes all steps up front from one camera frame and the task. Sees pixels and text only."""

    @property
    def name(self) -> str: ...

    def plan(self, image: Image, task: Task, context: CallContext) -> Plan:
        """Raises `ModelOutputError` (with the raw text) when the model's answer is malformed."""
        ...


@runtime_checkable
class Generator(Protocol):
    """Paints the goal image of one step from the image before it. Another seed must give another image."""

    @property
    def name(self) -> str: ...

    def generate(self, image: Image, prompt: str, context: CallContext) -> Image:
        """Returns an RGB ``uint8`` image of the same height and width as ``image``."""
        ...


@runtime_checkable
class Critic(Protocol):
    """Judges strictly: the change matches the instruction, and nothing else changed. Else rewrites the prompt."""

    @property
    def name(self) -> str: ...

    def judge(self, before: Image, after: Image, instruction: str, prompt: str, context: CallContext) -> Verdict:
        """Raises `ModelOutputError` (with the raw text) when the model's answer is malformed."""
        ...
