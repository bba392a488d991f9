"""One step at a time on held-out pairs: what is painted is judged by the simulator's ground truth.

Planning is left out: the step's right instruction is given (its free wording where the row has no planner). So this
says how good pictures and verdicts are, apart from plans and apart from the arm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from itk_embodied.evaluation.ablation.parts import FixedPlanner, TrueCritic
from itk_embodied.evaluation.stats import Rate
from itk_embodied.pipeline import VisualSubgoalPipeline
from itk_embodied.training.judge import Judge, Subject
from itk_embodied.training.shards import Record, ShardSet
from itk_embodied.types import Frame, Task
from itk_sim.language import instruction, word_step


@dataclass(frozen=True)
class Tried:
    """One attempt: the critic's word on it and the judge's. Scores 0..10; ``said`` None where no critic was asked."""

    said: bool | None
    semantics: float
    quality: float
    right: bool

    @property
    def overall(self) -> float:
        return float(np.sqrt(self.semantics * self.quality))


@dataclass(frozen=True)
class PaintedStep:
    """All attempts at one step, in order; ``final`` is the picture that came out, ``calls`` of the generator.

    ``number``: the record's place among those that every row is measured on.
    """

    number: int
    kind: str
    tries: tuple[Tried, ...]
    final: Tried | None
    verified: bool
    calls: int


def drawn(shards: ShardSet, count: int, seed: int) -> list[Record]:
    """The records that every row is measured on."""
    rng = np.random.default_rng([seed, 53])
    return [shards[int(i)] for i in rng.choice(len(shards), size=min(count, len(shards)), replace=False)]


def paint_steps(
    pipeline: VisualSubgoalPipeline,
    records: Sequence[Record],
    judge: Judge,
    *,
    planned: bool,
    judged: bool,
    truly: bool = False,
    calls_per_attempt: int = 1,
    seed: int = 0,
    skipped: Callable[[int], bool] = lambda number: False,
) -> Iterator[PaintedStep]:
    """``planned``: the prompt is the canonical instruction, else free wording. ``judged``: a critic is asked,
    ``truly``: the judge in the place of the pipeline's.

    Records that are ``skipped`` by their number are not painted; the others' pictures do not depend on it.
    """
    for number, record in enumerate(records):
        if skipped(number):
            continue
        said = instruction(record.step)
        prompt = said if planned else word_step(record.step, np.random.default_rng([seed, 59, number]))
        subject = Subject.of(record)
        critic = TrueCritic(judge, subject) if truly else pipeline.critic
        one_step = VisualSubgoalPipeline(FixedPlanner(said, prompt), pipeline.generator, critic, pipeline.config)
        sequence = one_step(Frame(record.before), Task(said, seed=seed * 100_003 + number))
        (subgoal,) = sequence.subgoals or (None,)
        if subgoal is None:
            yield PaintedStep(number, record.kind, (), None, False, 0)
            continue
        tries, final = [], None
        for attempt in subgoal.attempts:
            if attempt.image is None:
                continue
            verdict = judge.judge(subject, attempt.image)
            said_right = bool(attempt.success) if judged else None
            tried = Tried(said_right, float(verdict.semantics), float(verdict.quality), bool(verdict.success))
            tries.append(tried)
            if subgoal.accepted is attempt:
                final = tried
        calls = len(subgoal.attempts) * calls_per_attempt
        yield PaintedStep(number, record.kind, tuple(tries), final, judged and subgoal.status == "verified", calls)


def summarise(steps: Sequence[PaintedStep]) -> dict[str, Any]:
    """Judge's means of what came out, how often it was right, the critic's errors on what was really painted."""
    finals = [step.final for step in steps if step.final is not None]
    told = [tried for step in steps for tried in step.tries if tried.said is not None]
    wrong, right = [t for t in told if not t.right], [t for t in told if t.right]
    accepts = Rate(sum(bool(t.said) for t in wrong), len(wrong))
    rejects = Rate(sum(not t.said for t in right), len(right))
    known = told and accepts.rate is not None and rejects.rate is not None
    verified = [step for step in steps if step.verified and step.final is not None]

    def mean(name: str) -> float | None:
        return round(float(np.mean([getattr(final, name) for final in finals])), 3) if finals else None

    return {
        "steps": len(steps),
        "semantics": mean("semantics"),
        "quality": mean("quality"),
        "overall": mean("overall"),
        "right": Rate(sum(final.right for final in finals), len(steps)).record(),
        "verified": Rate(len(verified), len(steps)).record() if told else None,
        "right_of_verified": Rate(sum(s.final.right for s in verified if s.final), len(verified)).record()
        if told
        else None,
        "false_accept": accepts.record() if told else None,
        "false_reject": rejects.record() if told else None,
        "balanced_accuracy": round(1 - (accepts.rate + rejects.rate) / 2, 4) if known else None,  # type: ignore[operator]
        "calls_per_step": round(sum(step.calls for step in steps) / max(len(steps), 1), 3),
        "per_step": [_record(step) for step in steps],
    }


def _record(step: PaintedStep) -> dict[str, Any]:
    final = step.final
    scores = None if final is None else [round(final.semantics, 2), round(final.quality, 2)]
    right = final is not None and final.right
    return {"number": step.number, "kind": step.kind, "right": right, "verified": step.verified, "scores": scores}
