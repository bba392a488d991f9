"""``itk-embodied train data pairs | walks | rollouts | sets | show`` and ``train judge``.

Heavy parts load when one runs.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

SeedOption = Annotated[int, typer.Option("--seed", help="Everything random comes from this number.", min=0)]
WorkersOption = Annotated[int, typer.Option("--workers", min=1, help="Processes.")]
JudgeOption = Annotated[
    str, typer.Option("--judge", metavar="simulator|TOML", help="Who scores; a TOML file names a VLM's endpoint.")
]
RayOption = Annotated[bool, typer.Option("--ray", help="Work on Ray Data: a cluster (RAY_ADDRESS), else a local one.")]
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
    kind: Annotated[
        list[str] | None,
        typer.Option("--kind", help="Only this kind of step (itk_sim.kinds); may be repeated. Default: all."),
    ] = None,
    first: Annotated[int, typer.Option("--first", min=0, help="First shard; every 20th (19, 39, …) is held out.")] = 0,
    workers: WorkersOption = os.cpu_count() or 1,
    seed: SeedOption = 0,
) -> None:
    """Before-and-after pairs of every kind of step, from the simulator. Goes on where it stopped.

    More of what is hard to paint, in the same folder: --kind "into a crowd" --kind "out of a crowd" --first 1000.
    """
    from itk_embodied.training.shards import make_shards

    make_shards(out, count, workers=workers, seed=seed, first=first, kinds=kind or ())


@data_app.command("walks")
def walks(
    checkpoint: Annotated[Path, typer.Option("--checkpoint", help="Pipeline folder of the generator that paints.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the shards.")] = Path("data/walks"),
    count: Annotated[int, typer.Option("--walks", min=1, help="Tasks walked through, of two steps and more.")] = 2000,
    more_share: Annotated[
        float, typer.Option("--more-share", min=0, max=1, help="Share that goes on with single steps when it is done.")
    ] = 0.4,
    most_more: Annotated[int, typer.Option("--most-more", min=1, help="How many single steps at most.")] = 12,
    rough: Annotated[
        bool, typer.Option("--rough", help="Keep what is painted as it is before the refiner, to train that.")
    ] = False,
    first: Annotated[int, typer.Option("--first", min=0, help="First shard; every 20th (19, 39, …) is held out.")] = 0,
    workers: WorkersOption = 1,
    seed: SeedOption = 0,
) -> None:
    """Steps one after another, each from the picture painted before, for the generator. Goes on where it stopped."""
    from itk_embodied.training.walks import WalkKind, make_walks

    kind = WalkKind(more_share, most_more, rough)
    made = make_walks(out, count, checkpoint, kind=kind, workers=workers, seed=seed, first=first)
    print(f"{made} shards made in {out}")


@data_app.command("rollouts")
def rollouts(
    out: Annotated[Path, typer.Option("--out", help="Folder of the shards.")] = Path("data/rollouts"),
    trajectories: Annotated[int, typer.Option("--trajectories", min=1, help="In all.")] = 1000,
    stack: Annotated[str, typer.Option("--stack", metavar="NAME|FILE", help="The agents.")] = "embedded",
    judged_by: JudgeOption = "simulator",
    attempts: Annotated[int, typer.Option("--attempts", min=1, max=20, help="Pictures of every step.")] = 3,
    misled: Annotated[
        float, typer.Option("--misled", min=0, max=1, help="Share of steps whose first prompt is wrong on purpose.")
    ] = 0.3,
    image_px: Annotated[int, typer.Option("--image-px", min=64, help="Side of the pictures.")] = 128,
    family: Annotated[list[str] | None, typer.Option("--family", help="Only this family; may be repeated.")] = None,
    shard_size: Annotated[int, typer.Option("--shard-size", min=1, help="Trajectories in a shard.")] = 25,
    first: Annotated[int, typer.Option("--first", min=0, help="First shard; every 20th (19, 39, …) is held out.")] = 0,
    workers: WorkersOption = 1,
    ray: RayOption = False,
    seed: SeedOption = 0,
) -> None:
    """Trajectories with refinement over the simulator's tasks, every picture judged. Goes on where it stopped."""
    from itk_embodied.training.rollouts.make import RolloutSettings, make_rollouts

    settings = RolloutSettings(stack, judged_by, attempts, misled, image_px, shard_size, seed, tuple(family or ()))
    made = make_rollouts(out, trajectories, settings, workers=workers, ray=ray, first=first)
    print(f"{made} shards made in {out}")


@data_app.command("sets")
def sets(
    source: Annotated[Path, typer.Option("--rollouts", help="Folder of the rollouts.")] = Path("data/rollouts"),
    out: Annotated[Path, typer.Option("--out", help="Folder of the sets.")] = Path("data/sets"),
    style: Annotated[
        str, typer.Option("--style", help="embedded: the small models' language; plain: English, for large ones.")
    ] = "embedded",
    planner_prompt: Annotated[str, typer.Option("--planner-prompt", help="A prompt other than the style's.")] = "",
    critic_prompt: Annotated[str, typer.Option("--critic-prompt", help="A prompt other than the style's.")] = "",
    ratio: Annotated[float, typer.Option("--ratio", min=0.01, help="Supervised to reinforcement.")] = 2.0,
    unfiltered: Annotated[
        bool, typer.Option("--unfiltered", help="Leave the critic's filters out, to compare with; still balanced.")
    ] = False,
    workers: WorkersOption = 1,
    ray: RayOption = False,
    seed: SeedOption = 0,
    json_file: JsonOption = None,
) -> None:
    """Planner SFT, critic SFT and critic RL, filtered and balanced: parquet, a card and a picture sheet."""
    from itk_embodied.training.sets.build import SetSettings, build_sets, print_counts
    from itk_embodied.training.sets.filters import FilterSettings

    filters = FilterSettings(ratio=ratio, seed=seed, filtered=not unfiltered)
    settings = SetSettings(style, planner_prompt, critic_prompt, seed, filters)
    record = build_sets(source, out, settings, workers=workers, ray=ray)
    print_counts(record)
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(record, indent=2) + "\n")


@data_app.command("show")
def show(
    data: Annotated[Path, typer.Argument(help="A folder of pairs or rollouts, or a parquet file of a set.")],
    row: Annotated[int, typer.Option("--row", min=0, help="Which sample.")] = 0,
    out: Annotated[Path, typer.Option("--out", help="The page.")] = Path("out/sample.html"),
    split: Annotated[str, typer.Option("--split", help="train | held-out, for folders.")] = "train",
) -> None:
    """One sample as a self-contained page."""
    from itk_embodied.training.sets.show import write_page

    print(write_page(data, row, out, split))


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
