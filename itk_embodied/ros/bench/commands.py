"""``itk-embodied bench ros``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer


def register(bench_app: typer.Typer) -> None:
    """Add the command."""
    bench_app.command("ros")(bench_ros)


def bench_ros(
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="Turns for each of bare and ours, after one.")] = 8,
    bridge: Annotated[
        str | None, typer.Option("--bridge", metavar="URL", help="A running rosbridge; default: one of its own.")
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the result to this file.")] = None,
) -> int:
    """A 640x480 frame into a node and a subgoal out, on each ROS backend, against bare rclpy and bare roslibpy."""
    from itk_embodied.ros.bench.run import bench_ros as run

    record = run(rounds, bridge)
    _show(record)
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return 0 if record["within"] else 4


def _show(record: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(
        "backend", "path", "what", "bare ms", "ours ms", "ratio", "bare msg/s", "ours msg/s", "ratio", "CPU ratio"
    )
    for one in record["results"]:
        bare, ours = one.get("bare"), one["ours"]
        cells = [one["transport"], one["direction"], one["what"]]
        cells += [f"{bare['latency_ms']:.2f}" if bare else "-", f"{ours['latency_ms']:.2f}"]
        cells += [f"{one['latency_ratio']:.2f}" if bare else "-"]
        cells += [f"{bare['messages_per_s']:.0f}" if bare else "-", f"{ours['messages_per_s']:.0f}"]
        cells += [f"{one['throughput_ratio']:.2f}", f"{one['cpu_ratio']:.2f}"] if bare else ["-", "-"]
        table.add_row(*cells)
    console = Console(stderr=True)
    console.print(table)
    console.print(f"Ours adds at most {record['allowed_ratio'] - 1:.0%} to each: {'yes' if record['within'] else 'no'}")
