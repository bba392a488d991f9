"""Runs every path in turn, several rounds, and makes the record of ``itk-embodied bench transport``."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import zmq

from itk_embodied.bridges.bench.receivers import (
    BarePath,
    GrootPath,
    OurPath,
    Times,
    Way,
    WebSocketPath,
    WebSocketServer,
)
from itk_embodied.bridges.bench.sender import SERVICES
from itk_embodied.bridges.bench.styles import sample_picture
from itk_embodied.bridges.keys import ALLOWED, AllowList, ClientKeys, load_public, new_keys
from itk_embodied.errors import ConfigError, MissingDependencyError, TransportError

COUNTS = (48, 25)
"""Pictures of a burst, and pictures with a pause after each, a round. A burst is less than any path's queue holds."""
SLOW = {"itk_png": (6, 6), "itk_jpeg": (16, 12), "rosbridge_style": (12, 12)}
"""Fewer where compressing or quoting takes so long that more would say nothing new."""
PAUSE_S = 0.012


def bench_transport(rounds: int = 8) -> dict[str, Any]:
    """640x480 rgb8 pictures from another process, over all paths, interleaved, every other round backwards.

    Latency: from the sender's array to the receiver's, encoding and decoding included, one picture at a time.
    Throughput: a burst of pictures, from the first's sending to the last's being at hand; the median burst counts.
    Ours against bare pyzmq: compared within each round, so that what else the machine did then hits both; the median
    round counts.

    Returns:
        ``{"paths": {NAME: {"median_ms", "p99_ms", "messages_per_s", "bytes_on_wire"}}, "throughput_vs_bare_pyzmq",
        "added_median_ms"}``.
    """
    if rounds < 1:
        raise ConfigError(f"rounds is {rounds}; it must be 1 or more.")
    latencies: dict[str, list[list[float]]] = {}
    rates: dict[str, list[float]] = {}
    with ExitStack() as stack:
        paths = open_paths(stack)
        for path in paths:
            path.burst(3, 0.0)  # connections, caches
        for number in range(rounds):
            for path in paths if number % 2 == 0 else reversed(paths):
                burst, paced = SLOW.get(path.name, COUNTS)
                rates.setdefault(path.name, []).append(rate(path.burst(burst, 0.0)))
                times = path.burst(paced, PAUSE_S)
                latencies.setdefault(path.name, []).append([(here - sent) / 1e6 for sent, here in times])
        sizes = {path.name: path.bytes_on_wire for path in paths}
    return record(latencies, rates, sizes)


def rate(times: Times) -> float:
    """Messages a second of one burst."""
    return len(times) / ((max(here for _, here in times) - min(sent for sent, _ in times)) / 1e9)


def record(
    latencies: dict[str, list[list[float]]], rates: dict[str, list[float]], sizes: dict[str, int]
) -> dict[str, Any]:
    """``latencies``: milliseconds, by path and round. ``rates``: messages a second, by path and round."""
    paths = {}
    for name, by_round in latencies.items():
        ms = sorted(value for values in by_round for value in values)
        paths[name] = {
            "median_ms": round(statistics.median(ms), 3),
            "p99_ms": round(ms[min(len(ms) - 1, round(0.99 * len(ms)))], 3),
            "messages_per_s": round(statistics.median(rates[name]), 1),
            "bytes_on_wire": sizes[name],
        }
    shares = [ours / bare for ours, bare in zip(rates["itk"], rates["pyzmq"], strict=True)]
    added = [
        statistics.median(ours) - statistics.median(bare)
        for ours, bare in zip(latencies["itk"], latencies["pyzmq"], strict=True)
    ]
    return {
        "paths": paths,
        "throughput_vs_bare_pyzmq": round(statistics.median(shares), 3),
        "added_median_ms": round(statistics.median(added), 3),
    }


def open_paths(stack: ExitStack) -> list[Way]:
    """Start the sender and connect everything."""
    picture = sample_picture()
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
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    service_public, service_secret = new_keys(folder, "service")
    client_public, client_secret = new_keys(folder, "client")
    AllowList(folder / ALLOWED).add("client", load_public(client_public))
    keys = ClientKeys.load(client_secret, service_public)
    there = {
        "groot": groot.address,
        "websocket": websockets.address,
        "service_key": str(service_secret),
        "allowed": str(folder / ALLOWED),
    }
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
    paths: list[Way] = [
        BarePath("pyzmq", addresses["pyzmq"], order, picture),
        *(OurPath(name, addresses[name], picture, keys if name == "itk_curve" else None) for name in SERVICES),
        BarePath("pyzmq_curve", addresses["pyzmq_curve"], order, picture, addresses["curve_key"].encode()),
        groot,
        WebSocketPath("openpi_style", websockets, order, picture),
        WebSocketPath("rosbridge_style", websockets, order, picture),
    ]
    for path in paths:
        stack.callback(path.close)
    return paths
