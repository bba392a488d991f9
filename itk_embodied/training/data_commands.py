"""``itk-embodied train data pairs | rollouts | sets | show`` and ``train judge``. Heavy parts load when one runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

SeedOption = Annotated[int, typer.Option("--seed", help="Everything random comes from this number.", min=0)]
WorkersOption = Annotated[int, typer.Option("--workers", min=1, help="Processes.")]
JudgeOption = Annotated[
    str, typer.Option("--judge", metavar="simulator|TOML", help="Who scores; a TOML file names a VLM's endpoint.")
]
JsonOption = Annotated[Path | None, typer.Option("--json", help="Write the result to this file.", dir_okay=False)]

data_app = typer.Typer(
    help="Training data: pairs from the simulator, trajectories with refinement, the three sets made from them.",
    no_args_is_help=True,
)


def register(app: typer.Typer) -> None:
    """Add these commands to ``itk-embodied train``."""
    app.add_typer(data_app, name="data")
    app.command("judge")(judge)


@data_app.command("pairs")
def pairs(
    out: Annotated[Path, typer.Option("--out", help="Folder of the shards.")] = Path("data/pairs"),
    count: Annotated[int, typer.Option("--pairs", min=1, help="Before-and-after pairs in all.")] = 40_000,
    workers: WorkersOption = os.cpu_count() or 1,
    seed: SeedOption = 0,
) -> None:
    """Before-and-after pairs of every kind of step, from the simulator. Goes on where it stopped."""
    from itk_embodied.training.shards import make_shards

    make_shards(out, count, workers=workers, seed=seed)


def judge(
    data: Annotated[Path, typer.Option("--data", help="Folder of the pairs.")] = Path("data/pairs"),
    chosen: JudgeOption = "simulator",
    cases: Annotated[int, typer.Option("--cases", min=1, help="Pairs to try it on.")] = 100,
    split: Annotated[str, typer.Option("--split", help="train | held-out")] = "held-out",
    sheet: Annotated[Path | None, typer.Option("--sheet", help="A PNG of examples.", dir_okay=False)] = Path(
        "out/judge.png"
    ),
    seed: SeedOption = 0,
    json_file: JsonOption = None,
) -> None:
    """Validate a judge: ground truth must score 10, the picture before and a battery of wrong pictures low."""
    from itk_embodied.training.judge.command import run_validation

    run_validation(data, judge=chosen, cases=cases, split=split, seed=seed, sheet=sheet, json_file=json_file)
