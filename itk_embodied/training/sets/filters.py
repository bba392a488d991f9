"""Which refinement steps go into which critic's set, by the paper's filters as this project reads them.

A step was painted several times; its scores are the judge's overall scores, in the order of the attempts.

1. ``no ground truth``: nothing of it was judged. Dropped.
2. ``negative trend``: the last score is more than ``fall`` below the first. Dropped.
3. ``persistently low``: no score reaches ``low``. Dropped.
4. The others are split by the variance between their iterations, ``ratio`` : 1 in number: the quieter ones are for
   supervised training, the livelier ones (dynamic cases) for reinforcement. Steps with a failed attempt and those
   without are split apart, for else every failure would be in the second set.
5. ``neither improving nor high and stable``: for supervised training a step's last score must be ``gain`` above its
   first, or all its scores reach ``high``. Others of the quieter ones are dropped.
6. Every attempt of a step is a row. In each set the commoner verdict is thinned until ``true_share`` of the rows are
   True, and then the larger set until supervised to reinforcement is ``ratio`` : 1.

Unfiltered, to compare with: 2, 3 and 5 drop nothing, and the split of 4 goes by lot instead of by variance.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import pvariance

from itk_embodied.errors import InputError

NO_TRUTH, FALLING, LOW = "no ground truth", "negative trend", "persistently low"
UNSETTLED = "neither improving nor high and stable"
SFT, RL = "critic_sft", "critic_rl"


@dataclass(frozen=True)
class FilterSettings:
    """Limits in points of the judge's overall score, 0..10; see the module. ``filtered`` False: without them."""

    fall: float = 1.0
    low: float = 4.0
    gain: float = 0.5
    high: float = 7.0
    ratio: float = 2.0
    true_share: float = 0.5
    seed: int = 0
    filtered: bool = True

    def __post_init__(self) -> None:
        if not 0 < self.true_share < 1 or self.ratio <= 0:
            raise InputError(f"true_share {self.true_share}, ratio {self.ratio}; allowed: between 0 and 1, above 0.")


@dataclass(frozen=True)
class StepScores:
    """A step's judged attempts. ``key``: its shard, trajectory and step. ``attempts``: their numbers."""

    key: tuple[str, int, int]
    scores: tuple[float, ...]
    success: tuple[bool, ...]
    attempts: tuple[int, ...]

    @property
    def variance(self) -> float:
        return pvariance(self.scores) if self.scores else 0.0


Cut = tuple[str, int, int, int]
"""A row: shard, trajectory, step, attempt."""


@dataclass
class Chosen:
    """The rows of each set, and how many steps and rows every filter dropped."""

    rows: dict[str, list[Cut]] = field(default_factory=lambda: {SFT: [], RL: []})
    labels: dict[Cut, bool] = field(default_factory=dict)
    steps: int = 0
    steps_dropped: Counter[str] = field(default_factory=Counter)
    steps_kept: Counter[str] = field(default_factory=Counter)
    rows_dropped: Counter[str] = field(default_factory=Counter)

    def record(self) -> dict[str, object]:
        return {
            "steps": self.steps,
            "steps_dropped": dict(self.steps_dropped),
            "steps_kept": dict(self.steps_kept),
            "rows_dropped": dict(self.rows_dropped),
            "rows": {name: len(rows) for name, rows in self.rows.items()},
            "true": {name: sum(self.labels[row] for row in rows) for name, rows in self.rows.items()},
        }


def choose(steps: Iterable[StepScores], settings: FilterSettings) -> Chosen:
    """Filter and balance. The same steps, in any order, and the same settings give the same rows."""
    chosen = Chosen()
    left: list[StepScores] = []
    for step in sorted(steps, key=lambda one: one.key):
        chosen.steps += 1
        reason = dropped(step, settings)
        if reason:
            chosen.steps_dropped[reason] += 1
        else:
            left.append(step)
    for failed in (True, False):
        stratum = [step for step in left if all(step.success) != failed]
        stratum.sort(key=lambda one: (one.variance if settings.filtered else 0.0, _lot(one.key, settings.seed)))
        quiet = round(len(stratum) * settings.ratio / (1 + settings.ratio))
        for place, step in enumerate(stratum):
            _take(chosen, step, SFT if place < quiet else RL, settings)
    for name in chosen.rows:
        _balance(chosen, name, settings)
    _trim(chosen, settings)
    for rows in chosen.rows.values():
        rows.sort()
    return chosen


def dropped(step: StepScores, settings: FilterSettings) -> str:
    """Why neither set takes a step; empty where one may."""
    if not step.scores:
        return NO_TRUTH
    if not settings.filtered:
        return ""
    if step.scores[-1] < step.scores[0] - settings.fall:
        return FALLING
    return LOW if max(step.scores) < settings.low else ""


def _take(chosen: Chosen, step: StepScores, name: str, settings: FilterSettings) -> None:
    improving = step.scores[-1] >= step.scores[0] + settings.gain
    if settings.filtered and name == SFT and not improving and min(step.scores) < settings.high:
        chosen.steps_dropped[UNSETTLED] += 1
        return
    chosen.steps_kept[name] += 1
    for attempt, success in zip(step.attempts, step.success, strict=True):
        row = (*step.key, attempt)
        chosen.rows[name].append(row)
        chosen.labels[row] = success


def _balance(chosen: Chosen, name: str, settings: FilterSettings) -> None:
    """Thin the commoner verdict; a set with one verdict only stays empty, for it would teach to say just that."""
    by_label: dict[bool, list[Cut]] = {True: [], False: []}
    for row in chosen.rows[name]:
        by_label[chosen.labels[row]].append(row)
    share = {True: settings.true_share, False: 1 - settings.true_share}
    total = min(len(rows) / share[label] for label, rows in by_label.items())
    kept = {label: _draw(rows, round(total * share[label]), settings.seed) for label, rows in by_label.items()}
    for label, rows in by_label.items():
        if len(rows) > len(kept[label]):
            chosen.rows_dropped[f"{name}: {label} rebalanced"] += len(rows) - len(kept[label])
    chosen.rows[name] = kept[True] + kept[False]


def _trim(chosen: Chosen, settings: FilterSettings) -> None:
    """Thin the larger set, both verdicts alike. Where one is empty there is no ratio to keep."""
    sizes = {name: len(rows) for name, rows in chosen.rows.items()}
    if not all(sizes.values()):
        return
    unit = min(sizes[SFT] / settings.ratio, float(sizes[RL]))
    for name, most in ((SFT, unit * settings.ratio), (RL, unit)):
        kept: list[Cut] = []
        for label in (True, False):
            rows = [row for row in chosen.rows[name] if chosen.labels[row] is label]
            kept += _draw(rows, math.ceil(most * len(rows) / sizes[name]), settings.seed)
        if len(kept) < sizes[name]:
            chosen.rows_dropped[f"{name}: ratio"] += sizes[name] - len(kept)
        chosen.rows[name] = kept


def _draw(rows: Sequence[Cut], count: int, seed: int) -> list[Cut]:
    """``count`` of them, by lot; which ones does not depend on their order."""
    return sorted(rows, key=lambda row: _lot(row, seed))[:count]


def _lot(key: Sequence[object], seed: int) -> bytes:
    return hashlib.sha256(f"{seed}/{key}".encode()).digest()


def merged(records: Mapping[str, Chosen]) -> dict[str, object]:
    """The counts of several splits."""
    return {split: chosen.record() for split, chosen in records.items()}
