"""Runs every path in turn, several rounds, and makes the record of ``itk-embodied bench transport``."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from contextlib import ExitStack
from typing import Any

import zmq

from itk_embodied.bridges.bench.receivers import (
    BarePath,
    GrootPath,
    OurPath,
    Path,
    Times,
    WebSocketPath,
    WebSocketServer,
)
from itk_embodied.bridges.bench.sender import ENCODINGS
from itk_embodied.bridges.bench.styles import test_picture
from itk_embodied.errors import ConfigError, MissingDependencyError, TransportError

BURST = 48
"""Pictures sent at once; fewer than any path's queue holds."""
SLOW_BURST = {"itk_png": 8, "itk_jpeg": 24}
"""Fewer where compressing them takes so long that more would say nothing new."""
PACED = 25
"""Pictures sent with a pause after each, for the latency of one alone."""
PAUSE_S = 0.012


def bench_transport(rounds: int = 8) -> dict[str, Any]:
    """640x480 rgb8 pictures from another process, over all paths, interleaved.

    Latency: from the sender's array to the receiver's, encoding and decoding included, one picture at a time.
    Throughput: a burst of pictures, from the first's sending to the last's being at hand; the median burst counts.

    Returns:
        ``{"paths": {NAME: {"median_ms", "p99_ms", "messages_per_s", "bytes_on_wire"}}, "throughput_vs_bare_pyzmq",
        "added_median_ms"}``.
    """
    if rounds < 1:
        raise ConfigError(f"rounds is {rounds}; it must be 1 or more.")
    paced: dict[str, Times] = {}
    rates: dict[str, list[float]] = {}
    with ExitStack() as stack:
        paths = open_paths(stack)
        for path in paths:
            path.burst(5, 0.0)  # connections, caches
        for _ in range(rounds):
            for path in paths:
                rates.setdefault(path.name, []).append(rate(path.burst(SLOW_BURST.get(path.name, BURST), 0.0)))
                paced.setdefault(path.name, []).extend(path.burst(PACED, PAUSE_S))
        sizes = {path.name: path.bytes_on_wire for path in paths}
    return record(paced, rates, sizes)


def rate(times: Times) -> float:
    """Messages a second of one burst."""
    return len(times) / ((max(here for _, here in times) - min(sent for sent, _ in times)) / 1e9)


def record(paced: dict[str, Times], rates: dict[str, list[float]], sizes: dict[str, int]) -> dict[str, Any]:
    paths = {}
    for name, times in paced.items():
        ms = sorted((here - sent) / 1e6 for sent, here in times)
        paths[name] = {
            "median_ms": round(statistics.median(ms), 3),
            "p99_ms": round(ms[min(len(ms) - 1, round(0.99 * len(ms)))], 3),
            "messages_per_s": round(statistics.median(rates[name]), 1),
            "bytes_on_wire": sizes[name],
        }
    ours, bare = paths["itk"], paths["pyzmq"]
    return {
        "paths": paths,
        "throughput_vs_bare_pyzmq": round(ours["messages_per_s"] / bare["messages_per_s"], 3),
        "added_median_ms": round(ours["median_ms"] - bare["median_ms"], 3),
    }


def open_paths(stack: ExitStack) -> list[Path]:
    """Start the sender and connect everything."""
    picture = test_picture()
    context: Any = zmq.Context()
    stack.callback(context.destroy, linger=0)
    process: subprocess.Popen[str] | None = None

    def order(name: str, count: int, pause_s: float) -> None:
        assert process is not None and process.stdin is not None
        process.stdin.write(f"{name} {count} {pause_s}\n")
        process.stdin.flush()

    try:
        websockets = WebSocketServer(stack)
    except ImportError as error:
        raise MissingDependencyError(
            "the openpi and rosbridge paths need the package websockets: pip install 'itk-embodied[policies]'."
        ) from error
    groot = GrootPath(context, order, picture)
    there = {"groot": groot.address, "websocket": websockets.address}
    command = [sys.executable, "-m", "itk_embodied.bridges.bench.sender", json.dumps(there)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = stack.enter_context(
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    )
    stack.callback(process.kill)
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise TransportError("the sending process did not start; its error is above.")
    addresses = json.loads(line)
    paths: list[Path] = [
        BarePath("pyzmq", addresses["pyzmq"], order, picture),
        *(OurPath(name, addresses[name], picture) for name in ENCODINGS),
        BarePath("pyzmq_curve", addresses["pyzmq_curve"], order, picture, addresses["curve_key"].encode()),
        groot,
        WebSocketPath("openpi_style", websockets, order, picture),
        WebSocketPath("rosbridge_style", websockets, order, picture),
    ]
    for path in paths:
        stack.callback(path.close)
    return paths
