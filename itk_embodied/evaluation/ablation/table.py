"""The ablation's rows as Markdown, CSV and a plot."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Cells = list[tuple[str, str]]


def write_tables(record: Mapping[str, Any], out: Path) -> list[Path]:
    """``ablation.md``, ``ablation.csv``, ``ablation.png`` in ``out``; returns their paths."""
    rows, suites = record["rows"], record["suites"]
    files = {"ablation.md": markdown(rows, suites), "ablation.csv": comma_separated(rows, suites)}
    for name, text in files.items():
        (out / name).write_text(text, encoding="utf-8")
    plot(rows, suites, out / "ablation.png")
    return [*(out / name for name in files), out / "ablation.png"]


def cells(row: Mapping[str, Any], suites: Sequence[str]) -> Cells:
    """One row's headings and values."""
    painted = row["painted"] or {}
    made: Cells = [("variant", row["name"])]
    made += [(name, _number(painted.get(name), 2)) for name in ("semantics", "quality", "overall")]
    made += [
        ("step right", _rate(painted.get("right"))),
        ("verified steps right", _rate(painted.get("right_of_verified"))),
        ("critic balanced accuracy", _number(painted.get("balanced_accuracy"), 3)),
        ("false accept", _rate(painted.get("false_accept"))),
        ("false reject", _rate(painted.get("false_reject"))),
        ("generator calls a step", _number(painted.get("calls_per_step"), 2)),
    ]
    return made + [(f"closed loop: {suite}", _rate(row["closed_loop"].get(suite))) for suite in suites]


def markdown(rows: Sequence[Mapping[str, Any]], suites: Sequence[str]) -> str:
    """A table, then the closed loop per family."""
    lines: list[str] = []
    for number, row in enumerate(rows):
        made = cells(row, suites)
        if number == 0:
            lines += ["| " + " | ".join(name for name, _ in made) + " |", "|" + " --- |" * len(made)]
        lines.append("| " + " | ".join(value for _, value in made) + " |")
    for suite in suites:
        families = sorted({name for row in rows for name in row["closed_loop"].get(suite, {}).get("families", {})})
        if not families:
            continue
        lines += ["", f"Closed loop, suite `{suite}`, per family:", ""]
        lines += ["| variant | " + " | ".join(families) + " |", "|" + " --- |" * (len(families) + 1)]
        for row in rows:
            found = row["closed_loop"].get(suite, {}).get("families", {})
            shares = [f"{found[f]['successes']}/{found[f]['episodes']}" if f in found else "" for f in families]
            lines.append(f"| {row['name']} | " + " | ".join(shares) + " |")
    return "\n".join(lines) + "\n"


def comma_separated(rows: Sequence[Mapping[str, Any]], suites: Sequence[str]) -> str:
    """Plain numbers, with the interval's bounds in columns of their own."""
    written = io.StringIO()
    names = ["semantics", "quality", "overall", "balanced_accuracy", "calls_per_step"]
    rates = ["right", "verified", "right_of_verified", "false_accept", "false_reject"]
    table = csv.writer(written, lineterminator="\n")
    bounds = [f"{rate}{part}" for rate in [*rates, *suites] for part in ("", "_low", "_high", "_n")]
    table.writerow(["variant", *names, *bounds])
    for row in rows:
        painted = row["painted"] or {}
        values: list[Any] = [row["name"], *(painted.get(name) for name in names)]
        for rate in [*(painted.get(r) for r in rates), *(row["closed_loop"].get(s) for s in suites)]:
            low, high = rate["interval_95"] if rate else (None, None)
            values += [rate["success_rate"], low, high, rate["episodes"]] if rate else [None] * 4
        table.writerow(values)
    return written.getvalue()


def plot(rows: Sequence[Mapping[str, Any]], suites: Sequence[str], path: Path) -> None:
    """Closed-loop success and steps painted right, with their intervals."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    panels = ["steps painted right", *(f"closed loop: {suite}" for suite in suites)]
    figure, axes = plt.subplots(
        1, len(panels), figsize=(3.4 * len(panels) + 1.5, 0.45 * len(rows) + 1.4), sharey=True, squeeze=False
    )
    names = [row["name"] for row in rows]
    for axis, panel in zip(axes[0], panels, strict=True):
        for place, row in enumerate(rows):
            found = (row["painted"] or {}).get("right") if panel == panels[0] else None
            if panel != panels[0]:
                found = row["closed_loop"].get(panel.removeprefix("closed loop: "))
            if not found or found["success_rate"] is None:
                continue
            low, high = found["interval_95"]
            axis.plot([low, high], [place, place], color="0.6", linewidth=3, solid_capstyle="round")
            axis.plot(found["success_rate"], place, "o", color="tab:blue")
        axis.set(title=panel, xlim=(0, 1), ylim=(len(rows) - 0.5, -0.5))
        axis.set_yticks(range(len(rows)), names)
        axis.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _rate(rate: Mapping[str, Any] | None) -> str:
    if not rate or rate["success_rate"] is None:
        return ""
    low, high = rate["interval_95"]
    return f"{rate['success_rate']:.2f} [{low:.2f}, {high:.2f}] (n={rate['episodes']})"
