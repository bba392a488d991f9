"""The outcome of the checks on one agent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from itk_embodied.errors import ConformanceError


class CheckFailedError(Exception):
    """Raised inside a check; its text is the finding."""


@dataclass(frozen=True)
class ConformanceReport:
    """What was checked.

    Attributes:
        role: planner, generator or critic.
        name: the agent's own name.
        results: every check in the order it ran, and what it found; empty text means passed.
    """

    role: str
    name: str
    results: Mapping[str, str]

    @property
    def passed(self) -> bool:
        return not any(self.results.values())

    @property
    def failures(self) -> Mapping[str, str]:
        return {check: finding for check, finding in self.results.items() if finding}

    def require(self) -> ConformanceReport:
        """This report, if all passed.

        Raises:
            ConformanceError: lists every failed check.
        """
        if not self.passed:
            lines = "; ".join(f"{check}: {finding}" for check, finding in self.failures.items())
            count = f"{len(self.failures)} of {len(self.results)}"
            raise ConformanceError(f"{self.role} {self.name!r} fails {count} checks: {lines}")
        return self


class Checks:
    """Runs checks one by one; one that fails or crashes does not keep the others from running."""

    def __init__(self, role: str, agent: object) -> None:
        self.role, self.agent = role, agent
        self.results: dict[str, str] = {}

    def run(self, name: str, check: Callable[[], None]) -> bool:
        """True where the check passed."""
        try:
            check()
            finding = ""
        except CheckFailedError as failure:
            finding = str(failure)
        except Exception as error:
            finding = " ".join(f"raised {type(error).__name__}: {error}".split())
        self.results[name] = finding
        return not finding

    def report(self) -> ConformanceReport:
        name = getattr(self.agent, "name", type(self.agent).__name__)
        return ConformanceReport(self.role, str(name), MappingProxyType(dict(self.results)))


def require(condition: bool, finding: str) -> None:
    if not condition:
        raise CheckFailedError(finding)
