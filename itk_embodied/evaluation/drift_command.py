"""``itk-embodied eval drift``. Heavy parts load when it runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from itk_embodied.evaluation.drift import Link


def drift(
    out: Annotated[Path, typer.Option("--out", help="Folder of drift.json, the curve and the picture sheet.")] = Path(
        "out/drift"
    ),
    stack: Annotated[
        str, typer.Option("--stack", metavar="NAME|FILE", help="Whose generator is chained, anchored or not.")
    ] = "embedded",
    steps: Annotated[int, typer.Option("--steps", min=5, help="Edits in a chain.")] = 25,
    chains: Annotated[int, typer.Option("--chains", min=1, help="How many chains, each on another scene.")] = 10,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Everything random comes from this number.")] = 0,
    goals: Annotated[
        str,
        typer.Option(
            "--goals",
            help="generated | ground-truth: the simulator's goal images, each pasted over the picture before. What "
            "these lose the measure loses by itself.",
        ),
    ] = "generated",
) -> None:
    """Chains of 25 or 50 edits, each painted from the picture before: is the last as good as the first?"""
    from itk_embodied.agents.stacks import load_stack
    from itk_embodied.errors import InputError
    from itk_embodied.evaluation.command import progress_bar
    from itk_embodied.evaluation.drift import TruthEditor, run_drift, summarise
    from itk_embodied.mesa import load_triton_first
    from itk_embodied.pipeline import PipelineConfig
    from itk_embodied.run import console
    from itk_embodied.training.judge import load_judge
    from itk_sim.table import Table

    if goals not in ("generated", "ground-truth"):
        raise InputError(f"--goals {goals!r} is unknown; allowed: generated, ground-truth.")
    load_triton_first()
    loaded = load_stack(stack) if goals == "generated" else None
    with Table() as table, progress_bar() as progress:
        bar = progress.add_task("edits", total=steps * chains)
        links = run_drift(
            table,
            loaded.generator if loaded else TruthEditor(table),
            load_judge("simulator"),
            chains=chains,
            steps=steps,
            seed=seed,
            anchor=PipelineConfig(**loaded.settings).anchor if loaded else False,
            tick=lambda: progress.advance(bar),
        )
    record = {"stack": stack if loaded else None, "goals": goals, "seed": seed, **summarise(links, steps, chains)}
    out.mkdir(parents=True, exist_ok=True)
    (out / "drift.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    _draw(links, record["per_place"], out)
    console.print(
        f"judge's score {record['overall_first']} over the first fifth, {record['overall_last']} over the last: "
        f"ratio {record['ratio']} {record['ratio_95']}; {record['whole_chains']} of {chains} chains whole, "
        f"{record['dropped']} edits left out. Wrote {out / 'drift.json'}, drift.png and sheet.png"
    )


def _draw(links: list[Link], per_place: list[float | None], out: Path) -> None:
    """The curve, and pictures of up to four chains beside the table as it should look."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    import numpy as np
    import PIL.Image

    figure, axis = plt.subplots(figsize=(6, 3))
    axis.plot(range(1, len(per_place) + 1), [np.nan if value is None else value for value in per_place], "o-")
    axis.set(xlabel="edit of the chain", ylabel="judge's score", ylim=(0, 10))
    axis.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(out / "drift.png", dpi=120)
    plt.close(figure)
    shown = np.linspace(0, len(per_place) - 1, 6).astype(int)
    blank = np.full_like(links[0].picture, 255)
    rows = []
    for chain in sorted({link.chain for link in links})[:4]:
        mine = {link.place: link for link in links if link.chain == chain}
        for name in ("picture", "truth"):
            rows.append(np.hstack([getattr(mine[p], name) if p in mine else blank for p in shown]))
    PIL.Image.fromarray(np.vstack(rows)).save(out / "sheet.png")
