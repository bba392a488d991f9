"""What an ablation measures, and what must be equal for something measured earlier to be kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from itk_embodied.errors import InputError
from itk_embodied.evaluation.ablation.variants import JUDGE, ONE_AGENT, OWN, Variant
from itk_sim.suites import SUITES


@dataclass(frozen=True)
class Ablation:
    """What is measured.

    Attributes:
        stack: whose agents the rows are made of.
        critics: further critics by name, each the critic of a stack: ``{"rl": "runs/critic-rl/stack.toml"}``.
        one_agent: a stack whose planner and critic are one model, for the row "one agent for both roles".
        data: folder of the pairs, whose held-out part is painted. steps: how many of them.
        battery: held-out pairs that every critic is asked about, right and spoilt; 0 leaves that out.
        suites: closed-loop suites. episodes: tasks of each, on the same scenes in every row.
        only: rows to measure; none: all.
    """

    out: Path
    stack: str = "embedded"
    critics: Mapping[str, str] = field(default_factory=dict)
    one_agent: str | None = None
    data: Path = Path("data/pairs")
    steps: int = 200
    battery: int = 100
    suites: tuple[str, ...] = ("single", "multi")
    episodes: int = 200
    seed: int = 0
    judge: str = "simulator"
    only: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        unknown = [name for name in self.suites if name not in SUITES]
        if unknown:
            raise InputError(f"suite {unknown[0]!r} is unknown; allowed: {', '.join(SUITES)}")
        for name in (OWN, ONE_AGENT, JUDGE):
            if name in self.critics:
                raise InputError(f"a critic cannot be named {name!r}, for a row is named so; choose another name.")

    @property
    def stacks(self) -> dict[str, str]:
        """The stack of every name that a row may give as its planner or critic; of the judge, which one."""
        one_agent = {} if self.one_agent is None else {ONE_AGENT: self.one_agent}
        return {OWN: self.stack, JUDGE: self.judge, **self.critics, **one_agent}

    @property
    def settings(self) -> dict[str, Any]:
        return {
            "stack": self.stack,
            "data": str(self.data),
            "steps": self.steps,
            "suites": list(self.suites),
            "episodes": self.episodes,
            "seed": self.seed,
            "judge": self.judge,
        }

    def row_settings(self, row: Variant) -> dict[str, Any]:
        """What must be equal for a row, or a part of it, to be kept."""
        agents = {"planner": row.planner, "critic": row.critic}
        return self.settings | {role: self.stacks[name] for role, name in agents.items() if name is not None}

    def battery_settings(self, critic: str) -> dict[str, Any]:
        """Likewise for what a critic says of the battery, which no row's other parts change."""
        return {"critic": self.stacks[critic], "data": str(self.data), "pairs": self.battery, "seed": self.seed}
