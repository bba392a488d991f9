"""``itk-embodied record`` and ``itk-embodied replay``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_NOT_THE_SAME = 4


def register_bags(app: typer.Typer) -> None:
    """Add both commands."""
    app.command()(record)
    app.command()(replay)


def record(
    bag: Annotated[Path, typer.Argument(help="A new .mcap file.", dir_okay=False)],
    node: Annotated[str, typer.Option("--node", help="The node to record.")] = "/visual_subgoal_node",
    image: Annotated[str, typer.Option("--image", help="The camera's topic; default: NODE/image.")] = "",
    backend: Annotated[str | None, typer.Option("--backend", help="What stands behind ROS.")] = None,
) -> int:
    """Record what visual_subgoal_node hears and says, in a process of its own, until Ctrl-C."""
    from itk_nodes.record_node import main

    arguments = [] if backend is None else ["--backend", backend]
    chosen = {"record_path": str(bag), "subgoals": node, **({"image": image} if image else {})}
    arguments.append("--ros-args")
    for name, value in chosen.items():
        arguments += ["-p", f"{name}:={value}"]
    return main(arguments)


def replay(
    bag: Annotated[Path, typer.Argument(help="A recorded .mcap file.", dir_okay=False)],
    out: Annotated[Path, typer.Option("--out", help="Folder for task-01, task-02, … and replay.json.")],
    stack: Annotated[
        str, typer.Option("--stack", help="A shipped stack's name or a TOML file.", metavar="NAME|FILE")
    ] = "embedded",
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Instead of the recorded seeds.")] = None,
    node: Annotated[str, typer.Option("--node", help="The node's name in the bag.")] = "/visual_subgoal_node",
) -> int:
    """Send a bag's frames and tasks into the node again. Exit 0 only where every recorded subgoal came out the same."""
    from itk_embodied.run import build_pipeline, console
    from itk_nodes.replay import replay as play

    # How long a model took does not belong to what it said: a slow machine must replay the same.
    patient = dict.fromkeys(("plan_s", "image_s", "verdict_s", "sequence_s"), 86_400.0)
    with console.status(f"replaying {bag.name} with stack {stack}"):
        same = play(bag, out, lambda: build_pipeline(stack, **patient), seed=seed, node=node, say=console.print)
    return 0 if same else _NOT_THE_SAME
