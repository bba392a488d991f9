"""Every row against the method as it is: all run the same scenes, so they are compared case by case."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from itk_embodied.evaluation.ablation.variants import REFERENCE
from itk_embodied.evaluation.stats import paired_difference

ALL, STEPS = "all suites", "steps painted right"


def differences(rows: Sequence[Mapping[str, Any]], suites: Sequence[str]) -> dict[str, dict[str, Any]]:
    """For every row but the reference: its difference per suite, over all suites, and of steps painted right.

    Empty where the reference row was not measured. What a row lacks is left out.
    """
    reference = next((row for row in rows if row["name"] == REFERENCE.name), None)
    if reference is None:
        return {}
    made: dict[str, dict[str, Any]] = {}
    for row in rows:
        if row is reference:
            continue
        found: dict[str, Any] = {}
        for what, ours, theirs in _outcomes(row, reference, suites):
            common = [case for case in ours if case in theirs]
            difference = paired_difference([ours[case] for case in common], [theirs[case] for case in common])
            if difference is not None:
                found[what] = difference.record()
        made[row["name"]] = found
    return made


def _outcomes(
    row: Mapping[str, Any], other: Mapping[str, Any], suites: Sequence[str]
) -> list[tuple[str, dict[Any, bool], dict[Any, bool]]]:
    pairs: list[tuple[str, dict[Any, bool], dict[Any, bool]]] = [
        (suite, _episodes(row, [suite]), _episodes(other, [suite])) for suite in suites
    ]
    if len(suites) > 1:
        pairs.append((ALL, _episodes(row, suites), _episodes(other, suites)))
    return [*pairs, (STEPS, _steps(row), _steps(other))]


def _episodes(row: Mapping[str, Any], suites: Sequence[str]) -> dict[Any, bool]:
    return {
        (suite, episode["id"]): episode["success"]
        for suite in suites
        for episode in row["closed_loop"].get(suite, {}).get("per_episode", ())
    }


def _steps(row: Mapping[str, Any]) -> dict[Any, bool]:
    return {step["number"]: step["right"] for step in (row["painted"] or {}).get("per_step", ())}
