"""The reward function that GRPO calls: reads the answers, lets the refined prompts be painted, adds up, keeps count."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from itk_embodied.agents.contracts import parse_verdict
from itk_embodied.errors import ModelOutputError
from itk_embodied.training.tuning.cases import Case
from itk_embodied.training.tuning.presets import RewardSettings
from itk_embodied.training.tuning.refinement import Refinery
from itk_embodied.training.tuning.rewards import Gain, Scores, reward
from itk_embodied.types import Verdict


class Cases(Protocol):
    """Random access to the cases of a run."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Case: ...


@dataclass
class CriticReward:
    """Callable as TRL wants it. ``accept_threshold`` plays no part: what counts is the verdict as written."""

    cases: Cases
    refinery: Refinery
    settings: RewardSettings

    __name__ = "critic"

    def __call__(
        self,
        prompts: Sequence[Any],
        completions: Sequence[Any],
        case: Sequence[int],
        trainer_state: Any = None,
        log_metric: Callable[[str, float], None] | None = None,
        **ignored: Any,
    ) -> list[float]:
        verdicts = [read(text_of(completion)) for completion in completions]
        cases = {number: self.cases[number] for number in set(case)}
        mine = [cases[number] for number in case]
        tally = self.refinery.tally
        failed_before = tally.generator_failures, tally.scorer_failures
        standings = {number: self.refinery.standing(one) for number, one in cases.items()}
        standing = [standings[number] for number in case]
        # J: the judge's word; the case's own label where the judge fails.
        truths = [one.success if s is None else s.success for one, s in zip(mine, standing, strict=True)]
        step = 0 if trainer_state is None else int(trainer_state.global_step)
        gains = self._gains(mine, standing, verdicts, step)
        rewards = [
            reward(
                self.settings.form,
                said=None if verdict is None else verdict.success,
                truth=truth,
                gain=gain,
                alpha=self.settings.alpha,
            )
            for truth, verdict, gain in zip(truths, verdicts, gains, strict=True)
        ]
        if log_metric is not None:
            log_metric("generator_failures", tally.generator_failures - failed_before[0])
            log_metric("scorer_failures", tally.scorer_failures - failed_before[1])
            for name, value in self._metrics(truths, verdicts, gains).items():
                log_metric(name, value)
        return [one.total for one in rewards]

    def _gains(
        self, cases: Sequence[Case], standings: Sequence[Scores | None], verdicts: Sequence[Verdict | None], step: int
    ) -> list[Gain | None]:
        """What the refined prompts of the refused, failed steps change; None is neutral."""
        asked = [
            (i, (one, standing, verdict.refine_prompt))
            for i, (one, standing, verdict) in enumerate(zip(cases, standings, verdicts, strict=True))
            if verdict is not None and not verdict.success and standing is not None and not standing.success
        ]
        gains: list[Gain | None] = [None] * len(cases)
        for (i, _), gain in zip(asked, self.refinery.gains([what for _, what in asked], step), strict=True):
            gains[i] = gain
        return gains

    @staticmethod
    def _metrics(
        truth: Sequence[bool], verdicts: Sequence[Verdict | None], gains: Sequence[Gain | None]
    ) -> dict[str, float]:
        """Shares of this batch; a share of nothing is left out."""
        said = [None if verdict is None else verdict.success for verdict in verdicts]
        on_wrong = [s is True for s, t in zip(said, truth, strict=True) if not t]
        on_right = [s is not True for s, t in zip(said, truth, strict=True) if t]
        changes = [gain.overall for gain in gains if gain is not None]
        shares: dict[str, list[float]] = {
            "readable": [float(s is not None) for s in said],
            "accuracy": [float(s == t) for s, t in zip(said, truth, strict=True)],
            "false_accepts": [float(x) for x in on_wrong],
            "false_rejects": [float(x) for x in on_right],
            "step_gain": changes,
        }
        means = {name: sum(values) / len(values) for name, values in shares.items() if values}
        return means | {"regenerated": float(len(changes))}


def text_of(completion: Any) -> str:
    """The answer's text; TRL hands over a list of messages."""
    return completion if isinstance(completion, str) else str(completion[0]["content"])


def read(text: str) -> Verdict | None:
    """The verdict as the adapter would read it; None where it could not."""
    try:
        return parse_verdict(text, 0.5)
    except ModelOutputError:
        return None
