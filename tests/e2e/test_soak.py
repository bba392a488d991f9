"""A service at full rate with clients coming and going: memory and descriptors stay as they are.

20 seconds by default; ``make soak`` runs half an hour (``ITK_SOAK_S``). The figures go to ``ITK_SOAK_JSON`` where set.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fault_service import ROOT, ServiceProcess

from itk_embodied.bridges import AsyncSubgoalClient, SubgoalClient
from itk_embodied.errors import TransportError

SECONDS = float(os.environ.get("ITK_SOAK_S", "20"))
FLAT = 0.05
"""Share by which the memory of the last quarter may exceed that of the second."""
ROOM_MB = 8.0 if SECONDS < 120 else 0.0
"""Short runs end before an allocator has all the pages that it will ever ask for."""

pytestmark = [pytest.mark.soak, pytest.mark.timeout(SECONDS + 240)]


def measure(pid: int) -> tuple[float, int]:
    """Resident memory in MB, open descriptors."""
    status = Path(f"/proc/{pid}/status").read_text()
    kb = int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])
    return kb / 1024, len(os.listdir(f"/proc/{pid}/fd"))


def steady_client(service: ServiceProcess, seconds: float) -> subprocess.Popen[str]:
    environment = {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(ROOT / "tests" / "soak_client.py"), service.stream, service.requests, str(seconds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def visit(service: ServiceProcess, number: int) -> None:
    """One who comes, listens for a while, and goes: politely, in the middle, by asyncio, or killed."""
    kind = number % 8
    if kind == 7:
        guest = steady_client(service, 60)
        assert guest.stdout is not None
        guest.stdout.readline()
        guest.kill()
        guest.wait(10)
        guest.stdout.close()
    elif kind % 2:
        asyncio.run(visit_async(service))
    else:
        with SubgoalClient(service.stream, service.requests) as client, contextlib.suppress(TransportError):
            goals = client.subgoals(client.wait_for_task(5), deadline_s=10, latest_only=kind == 2)
            for count, _ in enumerate(goals):
                if kind == 4 and count == 1:
                    break


async def visit_async(service: ServiceProcess) -> None:
    async with AsyncSubgoalClient(service.stream, service.requests) as client:
        with contextlib.suppress(TransportError):
            async for _ in client.subgoals(await client.wait_for_task(5), deadline_s=10):
                pass


def test_memory_and_descriptors_stay_flat_while_clients_come_and_go() -> None:
    samples: dict[str, list[tuple[float, int]]] = {"service": [], "client": []}
    visits = 0
    with ServiceProcess(steps=8, paint_s=0.0, encoding="raw", keep_tasks=4, heartbeat_s=1.0) as service:
        client = steady_client(service, SECONDS)
        assert client.stdout is not None and service.process is not None
        assert client.stdout.readline() == "ready\n"
        try:
            while client.poll() is None:
                visit(service, visits)
                visits += 1
                time.sleep(0.2)
                with contextlib.suppress(OSError, StopIteration):  # the client may be done just now
                    now = {"client": measure(client.pid), "service": measure(service.process.pid)}
                    for name, sample in now.items():
                        samples[name].append(sample)
            record: dict[str, Any] = json.loads(client.stdout.readline())
        finally:
            client.kill()
            client.wait(10)
            client.stdout.close()
    record.update(seconds=SECONDS, visits=visits)
    assert record["wrong"] == [] and record["tasks"] > SECONDS / 4
    quarter = len(samples["service"]) // 4
    assert quarter >= 2, f"too few samples: {samples}"
    for name, values in samples.items():
        before = statistics.median(mb for mb, _ in values[quarter : 2 * quarter])
        after = statistics.median(mb for mb, _ in values[-quarter:])
        fds = [count for _, count in values]
        record[name] = {"rss_mb": [round(before, 1), round(after, 1)], "descriptors": [fds[quarter], fds[-1]]}
        assert after <= before * (1 + FLAT) + ROOM_MB, f"{name} grows: {before:.1f} MB to {after:.1f} MB"
        assert np.median(fds[-quarter:]) <= np.median(fds[quarter : 2 * quarter]) + 2, (
            f"{name} leaks descriptors: {fds}"
        )
    print(json.dumps(record))
    if out := os.environ.get("ITK_SOAK_JSON"):
        Path(out).parent.mkdir(parents=True, exist_ok=True)
        Path(out).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
