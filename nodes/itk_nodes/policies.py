"""What a policy is to policy_node: a callable that is given one verified goal image after the other."""

from __future__ import annotations

import importlib
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from itk_embodied.errors import ConfigError, ItkError
from itk_embodied.types import Image

DESCRIBE = "itk_nodes.policies:describe"


class PolicyStopped(ItkError):
    """A policy raises it to say why it cannot reach a goal; the task ends there."""


@dataclass(frozen=True, eq=False)
class Goal:
    """One verified goal image for the policy.

    Attributes:
        image: RGB ``uint8`` ``(H, W, 3)``.
        step, step_count: which step of how many that paint something.
        stamp_ns: when the camera frame was taken that the task was planned from.
        valid_until_ns: after this instant (ROS time) the goal must not be pursued; None for no limit of its own.
        stop: set when the policy must let go of the goal; `why` says why.
    """

    image: Image
    instruction: str
    step: int
    step_count: int
    task_id: str
    stamp_ns: int
    stop: threading.Event
    valid_until_ns: int | None = None
    why: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class TaskEnd:
    """How a task ended for the policy: ``done`` where it reached every verified goal; else what and why."""

    task_id: str
    state: str
    reason: str
    task: str = ""
    reached: tuple[int, ...] = ()


Policy: TypeAlias = Callable[[Goal], None]
"""Returns when the goal is reached or ``goal.stop`` is set; raises `PolicyStopped` where it cannot be reached.

It may have ``idle()``, called a few times a second while there is nothing to do, ``ended(TaskEnd)`` and ``close()``.
All are called in one thread, which ``open()``, if there is one, is called in first.
"""


def describe(goal: Goal) -> None:
    """The policy of a robot that is not there: it says what it would do."""
    height, width = goal.image.shape[:2]
    print(f"goal {goal.step}/{goal.step_count} ({width}x{height} px): {goal.instruction}", flush=True)


def load_policy(name: str, options: str = "") -> Policy:
    """A policy by ``module:callable``.

    Args:
        options: a JSON object of arguments, for a class.

    Raises:
        ConfigError: no such module or callable, or options that it does not take.
    """
    module, _, attribute = name.partition(":")
    try:
        policy: Any = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"policy {name!r} cannot be loaded ({error}); write module:callable.") from error
    if not callable(policy):
        raise ConfigError(f"policy {name!r} is a {type(policy).__name__}; it must be callable with a Goal.")
    try:
        given = json.loads(options or "{}")
    except ValueError as error:
        raise ConfigError(f"--policy-options {options!r} is no JSON object ({error}).") from error
    if not isinstance(given, dict) or (given and not isinstance(policy, type)):
        raise ConfigError(f"--policy-options {options!r} must be a JSON object, for a policy that is a class.")
    if not isinstance(policy, type):
        return policy  # type: ignore[no-any-return]
    try:
        return policy(**given)  # type: ignore[no-any-return]
    except TypeError as error:
        raise ConfigError(f"policy {name!r} cannot be made with {given}: {error}.") from error
