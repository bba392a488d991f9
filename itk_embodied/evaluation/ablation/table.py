"""The ablation's rows as Markdown, CSV and a plot."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from itk_embodied.evaluation.ablation.paired import ALL, STEPS
from itk_embodied.evaluation.ablation.variants import REFERENCE

Cells = list[tuple[str, str]]


def write_tables(record: Mapping[str, Any], out: Path) -> list[Path]:
    """``ablation.md``, ``ablation.csv``, ``ablation.png`` in ``out``; returns their paths."""
    files = {"ablation.md": markdown(record), "ablation.csv": comma_separated(record)}
    for name, text in files.items():
        (out / name).write_text(text, encoding="utf-8")
    plot(record["rows"], record["suites"], out / "ablation.png")
    return [*(out / name for name in files), out / "ablation.png"]


def cells(row: Mapping[str, Any], suites: Sequence[str]) -> Cells:
    """One row's headings and values."""
    painted, battery = row["painted"] or {}, row["battery"] or {}
    made: Cells = [("variant", row["name"])]
    made += [(name, _number(painted.get(name), 2)) for name in ("semantics", "quality", "overall")]
    made += [
        ("step right", _rate(painted.get("right"))),
        ("verified steps right", _rate(painted.get("right_of_verified"))),
        ("critic balanced accuracy", _number(painted.get("balanced_accuracy"), 3)),
        ("false accept", _rate(painted.get("false_accept"))),
        ("false reject", _rate(painted.get("false_reject"))),
        ("battery: false accept", _rate(battery.get("false_accept"))),
        ("battery: false reject", _rate(battery.get("false_reject"))),
        ("generator calls a step", _number(painted.get("calls_per_step"), 2)),
    ]
    return made + [(f"closed loop: {suite}", _rate(row["closed_loop"].get(suite))) for suite in suites]


def markdown(record: Mapping[str, Any]) -> str:
    """The table; the closed loop per family; every row against the method as it is; the battery per kind."""
    rows, suites = record["rows"], record["suites"]
    made = [cells(row, suites) for row in rows]
    lines = _table([name for name, _ in made[0]], [[value for _, value in row] for row in made]) if made else []
    lines += [
        "",
        "Rates with Wilson 95 % intervals. Judge, false accept, false reject: of the generator's own pictures.",
    ]
    for suite in suites:
        families = sorted({name for row in rows for name in row["closed_loop"].get(suite, {}).get("families", {})})
        if families:
            lines += ["", f"Closed loop, suite `{suite}`, per family:", ""]
            lines += _table(["variant", *families], [_families(row, suite, families) for row in rows])
    return "\n".join([*lines, *_compared(record), *_kinds(rows)]) + "\n"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return ["| " + " | ".join(line) + " |" for line in (heads, ["---"] * len(heads), *rows)]


def _families(row: Mapping[str, Any], suite: str, families: Sequence[str]) -> list[str]:
    found = row["closed_loop"].get(suite, {}).get("families", {})
    shares = [f"{found[name]['successes']}/{found[name]['episodes']}" if name in found else "" for name in families]
    return [row["name"], *shares]


def _compared(record: Mapping[str, Any]) -> list[str]:
    """A line per row: its difference to the reference row."""
    if not record["differences"]:
        return []
    heads = [what for what in (*record["suites"], ALL, STEPS) if any(what in d for d in record["differences"].values())]
    rows = [[name, *(_difference(found.get(what)) for what in heads)] for name, found in record["differences"].items()]
    why = f"Difference to `{REFERENCE.name}` on the same scenes (paired bootstrap, 95 %):"
    return ["", why, "", *_table(["variant", *heads], rows)]


def _kinds(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """How often every critic accepted each kind of the battery; a critic of several rows stands once."""
    known = {row["critic"]: row["battery"]["accepted_by_kind"] for row in rows if row["battery"]}
    kinds = list(dict.fromkeys(kind for counts in known.values() for kind in counts))
    if not kinds:
        return []
    shares = [
        [kind, *(f"{c[kind]['successes']}/{c[kind]['episodes']}" if kind in c else "" for c in known.values())]
        for kind in kinds
    ]
    return ["", "Battery: accepted, by kind (only `right` should be):", "", *_table(["kind", *known], shares)]


def comma_separated(record: Mapping[str, Any]) -> str:
    """Plain numbers, with the interval's bounds in columns of their own."""
    written = io.StringIO()
    suites = record["suites"]
    names = ["semantics", "quality", "overall", "balanced_accuracy", "calls_per_step"]
    rates = ["right", "verified", "right_of_verified", "false_accept", "false_reject"]
    battery_rates = ["false_accept", "false_reject"]
    compared = [*suites, ALL, STEPS]
    headed = [*rates, *(f"battery_{rate}" for rate in battery_rates), *suites]
    headed += [f"difference_{what.replace(' ', '_')}" for what in compared]
    table = csv.writer(written, lineterminator="\n")
    table.writerow(["variant", *names, *(f"{head}{part}" for head in headed for part in ("", "_low", "_high", "_n"))])
    for row in record["rows"]:
        painted, battery = row["painted"] or {}, row["battery"] or {}
        values: list[Any] = [row["name"], *(painted.get(name) for name in names)]
        found = [*(painted.get(r) for r in rates), *(battery.get(r) for r in battery_rates)]
        for rate in [*found, *(row["closed_loop"].get(s) for s in suites)]:
            values += _bounded(rate, "success_rate", "episodes")
        differences = record["differences"].get(row["name"], {})
        for what in compared:
            values += _bounded(differences.get(what), "difference", "pairs")
        table.writerow(values)
    return written.getvalue()


def _bounded(found: Mapping[str, Any] | None, value: str, count: str) -> list[Any]:
    return [found[value], *found["interval_95"], found[count]] if found else [None] * 4


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


def _difference(found: Mapping[str, Any] | None) -> str:
    if not found:
        return ""
    low, high = found["interval_95"]
    return f"{found['difference']:+.2f} [{low:+.2f}, {high:+.2f}] (n={found['pairs']})"
