"""Whole sequences, words and pictures interleaved, in the paper's two export formats.

``easy``: the task, the camera frame, and for every step what was to be done, the goal image and how it was judged.
``hard``: the same with every rejected attempt and its critique in between.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from itk_embodied.images import png_bytes
from itk_embodied.training.rollouts.lines import AttemptLine, StepLine
from itk_embodied.training.rollouts.store import Trajectory


class Segment(TypedDict):
    """A piece of a sequence. ``kind``: task, frame, plan, step, attempt, critique, goal or info; ``text``: its words;
    ``image``: the number of its picture in ``images``, or -1."""

    kind: str
    text: str
    image: int


@dataclass(frozen=True)
class SequenceRow:
    """``segments`` in order; ``status``: how the pipeline ended; ``right``: whether the judge agrees to every goal."""

    images: list[bytes]
    segments: list[Segment]
    task: str
    family: str
    seed: int
    status: str
    right: bool
    shard: str
    row: int


def easy(trajectory: Trajectory) -> SequenceRow | None:
    """Plan, image and info of every step; None where nothing was painted."""
    return _sequence(trajectory, rejected=False)


def hard(trajectory: Trajectory) -> SequenceRow | None:
    """With rejected attempts and critiques between; None where nothing was painted."""
    return _sequence(trajectory, rejected=True)


def _sequence(trajectory: Trajectory, *, rejected: bool) -> SequenceRow | None:
    line = trajectory.line
    if not any(attempt.image is not None for step in line.steps for attempt in step.attempts):
        return None
    images = [png_bytes(trajectory.frame)]
    plan = "; ".join(step.instruction for step in line.steps)
    segments: list[Segment] = [
        {"kind": "task", "text": line.task.text, "image": -1},
        {"kind": "frame", "text": "", "image": 0},
        {"kind": "plan", "text": plan, "image": -1},
    ]

    def show(kind: str, attempt: AttemptLine) -> None:
        if attempt.image is not None:
            images.append(png_bytes(trajectory.image(attempt.image)))
            segments.append({"kind": kind, "text": attempt.prompt, "image": len(images) - 1})

    for step in line.steps:
        segments.append({"kind": "step", "text": step.instruction, "image": -1})
        goal = None if step.accepted is None else step.attempts[step.accepted]
        for attempt in step.attempts if rejected else ():
            if attempt is goal:
                break
            show("attempt", attempt)
            segments.append({"kind": "critique", "text": _critique(attempt), "image": -1})
        if goal is not None:
            show("goal", goal)
            segments.append({"kind": "info", "text": _info(goal), "image": -1})
    return SequenceRow(
        images=images,
        segments=segments,
        task=line.task.text,
        family=line.task.family,
        seed=line.seed,
        status=line.status,
        right=all(_right(step) for step in line.steps),
        shard=trajectory.shard,
        row=line.number,
    )


def _right(step: StepLine) -> bool:
    judged = None if step.accepted is None else step.attempts[step.accepted].judged
    return judged is not None and judged.success


def _critique(attempt: AttemptLine) -> str:
    """What the critic said of it, and the judge's reasons; an attempt that it would have accepted says so."""
    if attempt.verdict is None:
        return attempt.error
    said = "accepted" if attempt.verdict.success else f"rejected; next prompt: {attempt.verdict.refine_prompt}"
    faults = "; ".join(attempt.judged.reasons) if attempt.judged else ""
    return f"{said}. Judge: {faults}" if faults else said


def _info(attempt: AttemptLine) -> str:
    if attempt.judged is None:
        return "not judged"
    one = attempt.judged
    return f"overall {one.overall:.1f}, semantics {one.semantics:.1f}, quality {one.quality:.1f}"
