"""Counts successes over sampled steps, for ``python -m itk_sim.expert`` and ``python -m itk_sim.policy.evaluate``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table as TextTable

from itk_sim.kinds import KINDS, candidates
from itk_sim.symbols import Step
from itk_sim.table import Table

HELD_OUT_SCENES = 770_000
"""Scene seeds of the episodes start here: below ``SAMPLED_SEEDS``, so that no sampled training scene is among them."""


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """95 % interval of a rate (Wilson's score interval)."""
    if trials == 0:
        return 0.0, 1.0
    z, rate = 1.959964, successes / trials
    centre = rate + z * z / (2 * trials)
    half = z * sqrt(rate * (1 - rate) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


@dataclass
class Score:
    """Successes per kind of step and the failures in words."""

    outcomes: dict[str, list[bool]] = field(default_factory=dict)
    failures: list[dict[str, Any]] = field(default_factory=list)

    def add(self, kind: str, reason: str, **details: Any) -> None:
        """Count an episode; it succeeded if ``reason`` is empty."""
        self.outcomes.setdefault(kind, []).append(not reason)
        if reason:
            self.failures.append({"kind": kind, "reason": reason, **details})

    def record(self) -> dict[str, Any]:
        everything = [won for outcomes in self.outcomes.values() for won in outcomes]
        return {
            **_rate(everything),
            "kinds": {kind: _rate(outcomes) for kind, outcomes in self.outcomes.items()},
            "failures": self.failures,
        }

    def show(self, title: str) -> None:
        table = TextTable("step", "episodes", "success", "95 % interval", title=title)
        record = self.record()
        for kind, row in (*record["kinds"].items(), ("all", record)):
            low, high = row["interval"]
            table.add_row(kind, str(row["episodes"]), f"{row['success_rate']:.1%}", f"{low:.1%} to {high:.1%}")
        console = Console()
        console.print(table)
        for failure in self.failures:
            console.print(f"failed: {failure['step']}: {failure['reason']}; {failure['scene']}", highlight=False)


def _rate(outcomes: Sequence[bool]) -> dict[str, Any]:
    won, count = sum(outcomes), len(outcomes)
    return {"episodes": count, "success_rate": won / count if count else 0.0, "interval": wilson(won, count)}


def episodes(table: Table, count: int, seed: int, kinds: Sequence[str] = tuple(KINDS)) -> Iterator[tuple[str, Step]]:
    """``count`` steps, the kinds in turn, each with its scene on the table and known to be possible there."""
    rng = np.random.default_rng([seed, 11])
    done = attempt = 0
    while done < count:
        kind = kinds[done % len(kinds)]
        spec = replace(KINDS[kind].scene(rng), seed=HELD_OUT_SCENES + 1000 * seed + attempt)
        attempt += 1
        steps = candidates(rng, table.reset(spec), kind)
        if not steps:
            continue
        step = steps[int(rng.integers(len(steps)))]
        here = table.snapshot()
        possible = table.teleport(step, rng)
        table.restore(here)
        if possible:
            done += 1
            yield kind, step


def main(
    description: str, title: str, run: Callable[[Table, Step, np.random.Generator, argparse.Namespace], str],
    more: Callable[[argparse.ArgumentParser], None] = lambda parser: None,
) -> None:  # fmt: skip
    """Command line: run ``run`` (a reason of failure, or empty) on sampled steps and print the table."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--episodes", type=int, default=140, help="how many steps, spread evenly over the kinds")
    parser.add_argument("--seed", type=int, default=0, help="of the scenes and steps")
    parser.add_argument("--kinds", default="", help=f"comma-separated; of: {', '.join(KINDS)}")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    more(parser)
    given = parser.parse_args()
    kinds = tuple(kind.strip() for kind in given.kinds.split(",") if kind.strip()) or tuple(KINDS)
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown or given.episodes < 1:
        parser.error(f"--kinds {given.kinds} --episodes {given.episodes}: allowed: {', '.join(KINDS)}; 1 or more")
    score, rng = Score(), np.random.default_rng([given.seed, 12])
    with Table() as table:
        steps = episodes(table, given.episodes, given.seed, kinds)
        for kind, step in track(steps, title, total=given.episodes, disable=not Console().is_terminal):
            spec = table.spec
            score.add(kind, run(table, step, rng, given), scene=spec.to_json(), step=str(step))
    score.show(title)
    if given.json:
        given.json.write_text(json.dumps(score.record(), indent=1) + "\n")
