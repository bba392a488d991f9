"""``itk-embodied bench transport``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table


def register(bench_app: typer.Typer) -> None:
    """Add the command to ``itk-embodied bench``."""

    @bench_app.command("transport")
    def transport(
        json_file: Annotated[
            Path | None, typer.Option("--json", help="Write the result to this file.", dir_okay=False)
        ] = None,
        rounds: Annotated[int, typer.Option("--rounds", min=1, help="How often each path has its turn.")] = 8,
    ) -> None:
        """640x480 pictures over our client and service, bare ZeroMQ, and what policy servers and rosbridge speak."""
        from itk_embodied.bridges.bench.runner import bench_transport

        record = bench_transport(rounds)
        table = Table("path", "median ms", "p99 ms", "messages/s", "bytes", title="a 640x480 picture")
        for name, path in record["paths"].items():
            table.add_row(name, *(str(path[key]) for key in ("median_ms", "p99_ms", "messages_per_s", "bytes_on_wire")))
        Console().print(table)
        share, added = record["throughput_vs_bare_pyzmq"], record["added_median_ms"]
        print(f"against bare pyzmq: {100 * share:.0f} % of its messages a second, {added:+.3f} ms in the median")
        if json_file is not None:
            json_file.parent.mkdir(parents=True, exist_ok=True)
            staging = json_file.with_name(f".{json_file.name}.partial")
            staging.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
            staging.replace(json_file)
