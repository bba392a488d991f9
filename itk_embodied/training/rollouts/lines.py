"""A trajectory as a line of ``trajectories.jsonl``. Pictures are numbers into the shard's arrays."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from itk_embodied.training.judge.base import Judgement
from itk_sim.planning import Intent
from itk_sim.symbols import SceneState, Step


class VerdictLine(msgspec.Struct, frozen=True):
    """The critic's own verdict."""

    success: bool
    refine_prompt: str
    score: float
    reasoning: str


class JudgeLine(msgspec.Struct, frozen=True):
    """The judge's scores, 0..10, and its J."""

    right_change: float
    nothing_else: float
    natural: float
    no_artefacts: float
    semantics: float
    quality: float
    overall: float
    success: bool
    reasons: tuple[str, ...]

    @classmethod
    def of(cls, one: Judgement) -> JudgeLine:
        return cls(
            one.right_change,
            one.nothing_else,
            one.natural,
            one.no_artefacts,
            one.semantics,
            one.quality,
            one.overall,
            one.success,
            one.reasons,
        )


class AttemptLine(msgspec.Struct, frozen=True):
    """One picture. ``image``: its number in ``attempts.npy``; None where none was painted. ``judged`` is None where
    there is no ground truth to judge by, or the judge failed (``judge_error``)."""

    attempt: int
    prompt: str
    seed: int
    image: int | None
    verdict: VerdictLine | None
    judged: JudgeLine | None
    error: str = ""
    judge_error: str = ""


class StepLine(msgspec.Struct, frozen=True):
    """One step. ``row``: its ground truth in the shard's pairs; None where there is none, and ``unjudged`` says why.
    ``accepted``: the position in ``attempts`` of the picture that the next step started from."""

    step_number: int
    step_name: str
    instruction: str
    prompt: str
    row: int | None
    attempts: tuple[AttemptLine, ...]
    accepted: int | None
    unjudged: str = ""


class TaskLine(msgspec.Struct, frozen=True):
    """The task and what the simulator's oracle would do (``steps`` empty: it cannot be done, ``refusal`` says why)."""

    id: str
    family: str
    text: str
    steps: tuple[Step, ...]
    intents: tuple[Intent, ...]
    refusal: str


class TrajectoryLine(msgspec.Struct, frozen=True):
    """One trajectory; its camera frame is ``frames.npy[number]``. ``state``: the scene, as the simulator knows it."""

    number: int
    seed: int
    task: TaskLine
    scene: Mapping[str, object]
    state: SceneState
    status: str
    reason: str
    plan_thought: str
    plan_raw: str
    steps: tuple[StepLine, ...]
