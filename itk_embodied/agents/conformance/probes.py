"""Contexts that watch how an agent watches them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from itk_embodied.agents.base import CallContext
from itk_embodied.agents.conformance.report import CheckFailedError, Checks, require
from itk_embodied.errors import BudgetExceededError, CancelledError
from itk_embodied.types import Image

MIN_CHECKS = 2
MAX_CHECKS_AFTER_CANCEL = 2

Call = Callable[[CallContext], Any]


@dataclass(frozen=True)
class ProbeContext(CallContext):
    """Counts the calls of `check`, and cancels at the one numbered ``cancel_at`` (from 1)."""

    cancel_at: int | None = None
    counter: list[int] = field(default_factory=lambda: [0])

    @property
    def checks(self) -> int:
        return self.counter[0]

    def check(self) -> None:
        self.counter[0] += 1
        if self.cancel_at is not None and self.checks >= self.cancel_at:
            self.cancel.set()
        super().check()


def check_stopping(checks: Checks, call: Call, checks_in_full_call: int) -> None:
    """That an agent checks while it works, and stops when cancelled or late. ``call`` runs it with a given context."""

    def often() -> None:
        require(
            checks_in_full_call >= MIN_CHECKS,
            f"called context.check() {checks_in_full_call} times in a whole call; at least {MIN_CHECKS} are needed: "
            "at the start and between denoising steps or tokens",
        )

    def cancelled_before() -> None:
        context = CallContext(seed=1)
        context.cancel.set()
        _must_raise(call, context, CancelledError)

    def cancelled_midway() -> None:
        at = max(2, checks_in_full_call // 2)
        require(checks_in_full_call >= at, "never checks while it works")
        context = ProbeContext(seed=1, cancel_at=at)
        _must_raise(call, context, CancelledError)
        late = context.checks - at
        require(late <= MAX_CHECKS_AFTER_CANCEL, f"went on for {late} steps after it was cancelled")

    def late() -> None:
        _must_raise(call, CallContext(seed=1, deadline_s=time.monotonic() - 1.0), BudgetExceededError)

    checks.run("checks the context while it works", often)
    checks.run("stops when cancelled before it starts", cancelled_before)
    checks.run("stops when cancelled midway", cancelled_midway)
    checks.run("stops when its deadline has passed", late)


def unchanged_after(call: Callable[..., Any], *images: Image) -> Any:
    """Call with writeable copies of the images; the result, if the copies are still the same afterwards."""
    copies = [np.array(image) for image in images]
    result = call(*copies)
    for image, copy in zip(images, copies, strict=True):
        require(np.array_equal(image, copy), "wrote into a picture that it was given")
    return result


def _must_raise(call: Call, context: CallContext, expected: type[Exception]) -> None:
    try:
        call(context)
    except expected:
        return
    except Exception as error:
        finding = f"raised {type(error).__name__} instead of {expected.__name__}: {error}"
        raise CheckFailedError(" ".join(finding.split())) from error
    raise CheckFailedError(f"returned a result instead of raising {expected.__name__}")
