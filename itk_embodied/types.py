"""The values that travel through the house. All are frozen; none needs torch, ROS or a GPU.

Images are ``uint8`` arrays of shape ``(H, W, 3)``, RGB, range 0..255, C-contiguous and read-only, everywhere inside the
library. Other colour orders exist only at the edges (bridges, OpenCV) and are converted there.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from itk_embodied.errors import InputError

Image: TypeAlias = npt.NDArray[np.uint8]

MIN_IMAGE_SIDE_PX = 32


def as_image(array: object, *, what: str = "image") -> Image:
    """Check and freeze an RGB image: ``uint8``, shape ``(H, W, 3)``, both sides at least ``MIN_IMAGE_SIDE_PX``.

    Raises:
        InputError: the dtype, shape or size is not that.
    """
    image = np.asarray(array)
    if image.dtype != np.uint8:
        raise InputError(f"{what} has dtype {image.dtype}; expected uint8 in 0..255. Convert it first.")
    if image.ndim != 3 or image.shape[2] != 3:
        raise InputError(f"{what} has shape {image.shape}; expected (height, width, 3) in RGB order.")
    if min(image.shape[:2]) < MIN_IMAGE_SIDE_PX:
        size = f"{image.shape[1]}x{image.shape[0]}"
        raise InputError(f"{what} is {size} px; each side must be at least {MIN_IMAGE_SIDE_PX} px. Use a real frame.")
    image = np.ascontiguousarray(image)
    if image.flags.writeable:
        image = image.copy() if image is array else image
        image.setflags(write=False)
    return image


def image_hash(image: Image) -> str:
    """SHA-256 of shape and pixels, as hex: the same pixels always give the same hash."""
    digest = hashlib.sha256(repr(image.shape).encode())
    digest.update(np.ascontiguousarray(image).tobytes())
    return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class Frame:
    """One camera frame.

    Attributes:
        image: RGB, ``uint8``, ``(H, W, 3)``.
        stamp_s: when the camera took it, seconds since the epoch of the source's own clock. Never re-stamped.
        frame_id: the camera's name, e.g. ``front``.
    """

    image: Image
    stamp_s: float = field(default_factory=time.time)
    frame_id: str = "front"

    def __post_init__(self) -> None:
        object.__setattr__(self, "image", as_image(self.image, what="camera frame"))

    @property
    def sha256(self) -> str:
        return image_hash(self.image)


MAX_TASK_CHARS = 2000


@dataclass(frozen=True)
class Task:
    """What the user wants, in a sentence.

    Attributes:
        seed: fixes everything random that follows.
        plan: is followed where it is given, and the planner is not asked: a plan of your own, or what is left of an
            earlier one (`Plan.after`), to be painted from a new frame.
    """

    text: str
    seed: int = 0
    plan: Plan | None = None

    def __post_init__(self) -> None:
        text = " ".join(self.text.split())
        if not text:
            raise InputError('the task is empty; say what to do, e.g. "put the red cube in the teal bowl".')
        if len(text) > MAX_TASK_CHARS:
            raise InputError(f"the task has {len(text)} characters; at most {MAX_TASK_CHARS} are allowed.")
        if self.seed < 0:
            raise InputError(f"seed is {self.seed}; it must be 0 or more.")
        if self.plan is not None and not self.plan.image_steps:
            raise InputError("the plan given with the task has no step to paint; leave it out to have one written.")
        object.__setattr__(self, "text", text)


@dataclass(frozen=True)
class PlanStep:
    """One step of a plan. ``instruction`` and ``prompt`` are None where the planner answers in words only."""

    step_number: int
    step_name: str
    instruction: str | None
    prompt: str | None
    auxiliary_text: str | None = None

    @property
    def paints(self) -> bool:
        return self.instruction is not None and self.prompt is not None


@dataclass(frozen=True)
class Plan:
    """All steps, written up front, before any image is made.

    ``thought`` is the planner's reasoning, ``raw`` its whole text.
    """

    steps: tuple[PlanStep, ...]
    thought: str = ""
    raw: str = ""

    @classmethod
    def of(cls, instructions: Iterable[str]) -> Plan:
        """A plan of your own: each instruction is its step's prompt, too.

        Raises:
            InputError: there is none, or one is empty or too long.
        """
        steps = []
        for number, given in enumerate(instructions, start=1):
            text = " ".join(given.split())
            if not 0 < len(text) <= MAX_TASK_CHARS:
                raise InputError(
                    f"step {number} of the plan has {len(text)} characters; 1 to {MAX_TASK_CHARS} are allowed."
                )
            steps.append(PlanStep(number, f"step {number}", text, text))
        if not steps:
            raise InputError("the plan has no step; give at least one instruction.")
        return cls(tuple(steps))

    def after(self, done: int) -> Plan | None:
        """What is left when ``done`` of `image_steps` are, numbered from 1; None where nothing is."""
        left = self.image_steps[done:]
        return Plan(tuple(replace(step, step_number=i) for i, step in enumerate(left, start=1))) if left else None

    @property
    def image_steps(self) -> tuple[PlanStep, ...]:
        return tuple(step for step in self.steps if step.paints)

    @property
    def answer(self) -> str:
        """What the planner says in words: its refusal, where it wrote no image step."""
        return " ".join(step.auxiliary_text for step in self.steps if step.auxiliary_text)


@dataclass(frozen=True)
class Verdict:
    """The critic's word on one attempt. ``score`` is its confidence that the attempt is right, in 0..1."""

    success: bool
    refine_prompt: str
    score: float
    reasoning: str = ""
    raw: str = ""


class SubgoalStatus(StrEnum):
    """``verified``: the critic accepted it. ``unverified``: attempts ran out, the best is kept. ``failed``: none."""

    VERIFIED = "verified"
    UNVERIFIED = "unverified"
    FAILED = "failed"


class SequenceStatus(StrEnum):
    """How a task ended; exactly one of these."""

    VERIFIED = "verified"
    PARTIAL = "partial"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


@dataclass(frozen=True, eq=False)
class Attempt:
    """One painted image and what the critic said of it.

    Attributes:
        attempt: counts from 1.
        prompt: what the generator was told.
        seed: the generator's seed, different for every attempt of a task.
        image: what it painted, RGB ``uint8`` ``(H, W, 3)``; None when it failed.
        verdict: None when the critic failed or was never asked.
        error: why image or verdict is missing; empty otherwise.
        raw: a model's malformed answer, whole, where that is why.
        generate_s, judge_s: wall seconds.
    """

    attempt: int
    prompt: str
    seed: int
    image: Image | None
    verdict: Verdict | None
    error: str = ""
    raw: str = ""
    generate_s: float = 0.0
    judge_s: float = 0.0

    @property
    def score(self) -> float:
        return self.verdict.score if self.verdict else 0.0

    @property
    def success(self) -> bool:
        return self.verdict is not None and self.verdict.success


@dataclass(frozen=True, eq=False)
class Subgoal:
    """One step's outcome: the goal image, its status, and everything that made it."""

    step: PlanStep
    status: SubgoalStatus
    image: Image | None
    attempts: tuple[Attempt, ...]
    source_image_sha256: str
    error: str = ""

    @property
    def accepted(self) -> Attempt | None:
        """The attempt whose image this is: the successful one, else the best scored one."""
        painted = [attempt for attempt in self.attempts if attempt.image is not None]
        return next((a for a in painted if a.success), max(painted, key=lambda a: a.score, default=None))


@dataclass(frozen=True, eq=False)
class SubgoalSequence:
    """The whole answer to one task: camera frame, plan, subgoals in order, terminal status, seconds.

    ``reason`` says in a sentence why the status is not ``verified``; ``raw`` keeps the planner's malformed answer where
    that is why. ``prompt_hashes`` maps each role to the hash of the prompt file it used.
    """

    task: Task
    frame: Frame
    plan: Plan | None
    subgoals: tuple[Subgoal, ...]
    status: SequenceStatus
    reason: str = ""
    raw: str = ""
    stack: str = ""
    prompt_hashes: Mapping[str, str] = field(default_factory=dict)
    plan_s: float = 0.0
    first_subgoal_s: float | None = None
    total_s: float = 0.0

    @property
    def attempts(self) -> int:
        return sum(len(subgoal.attempts) for subgoal in self.subgoals)


# Events of one task, in the order in which `VisualSubgoalPipeline.stream` yields them.


@dataclass(frozen=True)
class PlanReady:
    plan: Plan
    seconds: float


@dataclass(frozen=True)
class AttemptStarted:
    step: PlanStep
    attempt: int
    prompt: str
    seed: int


@dataclass(frozen=True, eq=False)
class AttemptJudged:
    step: PlanStep
    attempt: Attempt


@dataclass(frozen=True, eq=False)
class SubgoalReady:
    subgoal: Subgoal


@dataclass(frozen=True, eq=False)
class SequenceEnded:
    sequence: SubgoalSequence


Event: TypeAlias = PlanReady | AttemptStarted | AttemptJudged | SubgoalReady | SequenceEnded
