"""``itk-embodied eval ablation``. Heavy parts load when it runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from itk_embodied.errors import InputError


def ablation(
    out: Annotated[Path, typer.Option("--out", help="Folder of the tables, the plot and the rows measured.")] = Path(
        "out/ablation"
    ),
    stack: Annotated[str, typer.Option("--stack", metavar="NAME|FILE", help="Whose agents are measured.")] = "embedded",
    critic: Annotated[
        list[str] | None,
        typer.Option("--critic", metavar="NAME=STACK", help="One more critic, that of a stack; may be repeated."),
    ] = None,
    one_agent: Annotated[
        str | None,
        typer.Option("--one-agent", metavar="STACK", help="Planner and critic are one model here: a row of its own."),
    ] = None,
    data: Annotated[Path, typer.Option("--data", help="Pairs; their held-out part is painted.")] = Path("data/pairs"),
    steps: Annotated[int, typer.Option("--steps", min=0, help="Held-out steps to paint and judge per row.")] = 200,
    battery: Annotated[
        int, typer.Option("--battery", min=0, help="Held-out pairs to ask every critic about, right and spoilt.")
    ] = 100,
    suite: Annotated[
        list[str] | None, typer.Option("--suite", help="Closed-loop suites; default: single and multi.")
    ] = None,
    episodes: Annotated[int, typer.Option("--episodes", min=1, help="Closed-loop tasks per suite and row.")] = 200,
    row: Annotated[list[str] | None, typer.Option("--row", help="Only this row; may be repeated.")] = None,
    judge: Annotated[str, typer.Option("--judge", metavar="simulator|FILE", help="Who scores the pictures.")] = (
        "simulator"
    ),
    seed: Annotated[int, typer.Option("--seed", min=0, help="Everything random comes from this number.")] = 0,
) -> None:
    """The whole table: parts left out, T_max 1 / 3 / 5, K seeds, other critics and goals. Goes on where it stopped.

    How to make the critics and the one agent for it: docs/ablation.md.
    """
    from itk_embodied.evaluation.ablation.config import Ablation
    from itk_embodied.evaluation.ablation.run import collected, run_ablation
    from itk_embodied.evaluation.ablation.table import write_tables
    from itk_embodied.evaluation.command import progress_bar
    from itk_embodied.mesa import load_triton_first
    from itk_embodied.run import console

    config = Ablation(
        out=out,
        stack=stack,
        critics=_named(critic or ()),
        one_agent=one_agent,
        data=data,
        steps=steps,
        battery=battery,
        suites=tuple(suite or ("single", "multi")),
        episodes=episodes,
        seed=seed,
        judge=judge,
        only=tuple(row or ()),
    )
    load_triton_first()
    stopped = False
    with progress_bar() as progress:
        try:
            record = run_ablation(config, progress)
        except KeyboardInterrupt:
            record, stopped = collected(config), True
    if record["rows"]:
        (out / "ablation.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        for path in write_tables(record, out):
            console.print(f"wrote {path}")
    if stopped:
        console.print(f"[yellow]interrupted; {len(record['rows'])} rows are whole, the same command goes on[/yellow]")
        raise KeyboardInterrupt


def _named(given: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for one in given:
        name, equals, stack = one.partition("=")
        if not (name and equals and stack):
            raise InputError(f"--critic {one!r} was given; it takes NAME=STACK, as in rl=runs/critic-rl/stack.toml")
        if name in found:
            raise InputError(f"--critic {name}=… was given twice; give every critic a name of its own.")
        found[name] = stack
    return found
