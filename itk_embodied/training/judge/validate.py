"""Can a judge be believed? Ground truth must score 10 within noise; a battery of wrong pictures must score low."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table as TextTable

from itk_embodied.agents.base import CallContext
from itk_embodied.errors import InputError, ItkError
from itk_embodied.training.judge.base import PASS, Judge, Judgement, Subject
from itk_embodied.training.judge.battery import BATTERY, CONTROLS
from itk_embodied.training.shards import Record
from itk_embodied.training.sheets import Cell, write_sheet
from itk_embodied.types import Image

SHOWN = 6


@dataclass(frozen=True)
class Agreement:
    """How a judge scores one kind of picture.

    Attributes:
        n: pictures judged. failures: the judge gave no score.
        mean, lowest, highest: of the overall score.
        below_5: share with an overall score under 5. accepted: share that the judge calls right.
        auc: the chance that a ground truth scores higher than one of these; None for ground truth itself.
    """

    kind: str
    right: bool
    n: int
    failures: int
    mean: float | None
    lowest: float | None
    highest: float | None
    below_5: float | None
    accepted: float | None
    auc: float | None


def validate(
    judge: Judge,
    records: Sequence[Record],
    *,
    seed: int = 0,
    sheet: Path | None = None,
    advance: Callable[[], None] = lambda: None,
) -> list[Agreement]:
    """Judge the controls and the battery on every record; writes a sheet of the first of each kind where asked.

    ``advance`` is called after every kind.
    """
    if not records:
        raise InputError("there are no pairs to validate the judge on; make some: itk-embodied train data pairs")
    table: list[Agreement] = []
    rows: list[tuple[str, list[Cell]]] = []
    truths = np.zeros(0)
    for number, (kind, make) in enumerate({**CONTROLS, **BATTERY}.items()):
        rng = np.random.default_rng([seed, number])
        made = [(record, image) for record in records if (image := make(record, rng)) is not None]
        scored = [_judged(judge, record, image, seed) for record, image in made]
        known = [one for one in scored if one is not None]
        overall = np.array([one.overall for one in known])
        if number == 0:
            truths = overall
        table.append(_agreement(kind, kind in CONTROLS, known, len(scored) - len(known), overall, truths, number == 0))
        rows.append((_label(table[-1]), _cells(made, scored)))
        advance()
    if sheet is not None:
        write_sheet(sheet, rows)
    return table


def _judged(judge: Judge, record: Record, image: Image, seed: int) -> Judgement | None:
    try:
        return judge.judge(Subject.of(record), image, CallContext(seed=seed))
    except ItkError:
        return None


def _agreement(
    kind: str, right: bool, known: list[Judgement], failures: int, overall: np.ndarray, truths: np.ndarray, first: bool
) -> Agreement:
    if not known:
        return Agreement(kind, right, 0, failures, None, None, None, None, None, None)
    return Agreement(
        kind=kind,
        right=right,
        n=len(known),
        failures=failures,
        mean=round(float(overall.mean()), 3),
        lowest=round(float(overall.min()), 3),
        highest=round(float(overall.max()), 3),
        below_5=float((overall < PASS).mean()),
        accepted=sum(one.success for one in known) / len(known),
        auc=None if first or not truths.size else area_under_curve(truths, overall),
    )


def area_under_curve(higher: np.ndarray, lower: np.ndarray) -> float:
    """The chance that one of ``higher`` is above one of ``lower``; ties count half."""
    above = (higher[:, None] > lower[None]).mean() + 0.5 * (higher[:, None] == lower[None]).mean()
    return float(above)


def _label(one: Agreement) -> str:
    return f"{one.kind}: mean {one.mean}, n {one.n}" if one.n else f"{one.kind}: none"


def _cells(made: Sequence[tuple[Record, Image]], scored: Sequence[Judgement | None]) -> list[Cell]:
    cells: list[Cell] = []
    for (record, image), one in list(zip(made, scored, strict=True))[:SHOWN]:
        target = record.step.target or ("drawer" if record.step.obj is None else record.step.cell)
        what = f"{record.step.obj or record.step.verb} {record.step.relation or ''} {target}"
        cells += [(record.before, what), (image, "no score" if one is None else _scores(one))]
    return cells


def _scores(one: Judgement) -> str:
    return f"{one.overall:.1f} (s {one.semantics:.1f} q {one.quality:.1f})"


def record_of(judge: Judge, table: Sequence[Agreement], seed: int) -> dict[str, Any]:
    """The result as JSON. ``worst``: the kind of wrong picture that the judge lets through most often."""
    wrong = [one for one in table if not one.right and one.n]
    worst = max(wrong, key=lambda one: one.accepted or 0.0, default=None)
    total = sum(one.n for one in wrong)
    return {
        "schema_version": 1,
        "judge": judge.name,
        "seed": seed,
        "wrong_below_5": sum((one.below_5 or 0) * one.n for one in wrong) / total if total else None,
        "wrong_accepted": sum((one.accepted or 0) * one.n for one in wrong) / total if total else None,
        "worst": None if worst is None else worst.kind,
        "kinds": [asdict(one) for one in table],
    }


def print_table(table: Sequence[Agreement], title: str, console: Console | None = None) -> None:
    """The table of agreement."""
    text = TextTable(title=title, title_justify="left")
    for heading in ("picture", "n", "mean", "lowest", "highest", "below 5", "accepted", "AUC", "no score"):
        text.add_column(heading, justify="left" if heading == "picture" else "right")
    for one in table:
        numbers = [f"{v:.2f}" if v is not None else "-" for v in (one.mean, one.lowest, one.highest)]
        shares = [f"{v:.1%}" if v is not None else "-" for v in (one.below_5, one.accepted)]
        auc = "-" if one.auc is None else f"{one.auc:.3f}"
        text.add_row(one.kind, str(one.n), *numbers, *shares, auc, str(one.failures), end_section=one.right)
    (console or Console()).print(text)
