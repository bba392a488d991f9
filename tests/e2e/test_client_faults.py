"""Client and service in processes of their own, and everything that can go wrong between them.

In every case: a task ends in exactly one terminal status, no goal is lost or delivered twice, none that the critic did
not accept is delivered.
"""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fault_proxy import FaultProxy, Faults
from fault_service import ROOT, ServiceProcess
from scripted import gradient_image

from itk_embodied.bridges import AsyncSubgoalClient, ReceivedSubgoal, SubgoalClient
from itk_embodied.bridges.wire import AttemptMessage, EndMessage, PlanMessage, SubgoalMessage
from itk_embodied.errors import TransportError
from itk_embodied.types import Frame, SequenceStatus, SubgoalStatus, image_hash

FRAME = Frame(gradient_image(), stamp_s=1_700_000_000.5, frame_id="wrist")

FAULTS = {
    "drop": Faults(drop=0.25, both_ways=True, seed=1),
    "duplicate": Faults(duplicate=0.5, both_ways=True, seed=2),
    "reorder": Faults(reorder=0.5, both_ways=True, seed=3),
    "truncate": Faults(truncate=0.3, both_ways=True, seed=4),
    "delay": Faults(delay_s=0.05, both_ways=True, seed=5),
    "cut": Faults(cut=0.15, both_ways=True, seed=6),
    "everything": Faults(0.06, 0.06, 0.06, 0.06, 0.03, 0.01, both_ways=True, seed=7),
}


@pytest.fixture(scope="module")
def steady() -> Iterator[ServiceProcess]:
    """Six steps a task, of which the critic never accepts the second and the fifth."""
    with ServiceProcess(steps=6, paint_s=0.01, verdicts="1001") as service:
        yield service


def whole(goals: list[ReceivedSubgoal], steps: list[int]) -> None:
    """Each goal once, in order, accepted, and every pixel as it was painted."""
    assert [goal.step for goal in goals] == steps
    for goal in goals:
        assert goal.status is SubgoalStatus.VERIFIED and goal.image is not None
        assert image_hash(goal.image) == goal.message.image_sha256


ACCEPTED = [1, 3, 4, 6]


@pytest.mark.parametrize("kind", list(FAULTS))
def test_a_bad_network_between_client_and_service_costs_no_goal(steady: ServiceProcess, kind: str) -> None:
    with (
        FaultProxy(steady.stream, FAULTS[kind]) as stream,
        FaultProxy(steady.requests, FAULTS[kind]) as requests,
        SubgoalClient(stream.address, requests.address, timeout_s=20.0, dead_after_s=1.5) as client,
    ):
        messages: list[Any] = []
        task_id = client.submit(FRAME, "go", task_id=f"task-{kind}")
        goals = client.subgoals(task_id, deadline_s=60, on_message=messages.append)
        whole(list(goals), ACCEPTED)
        assert goals.status is SequenceStatus.PARTIAL
        assert [message.seq for message in messages] == list(range(1, len(messages) + 1))
        for message_kind, count in ((PlanMessage, 1), (EndMessage, 1), (SubgoalMessage, 6)):
            assert sum(isinstance(message, message_kind) for message in messages) == count, "sent twice, run once"
        assert kind == "delay" or stream.counts.harmed + requests.counts.harmed > 0


def test_the_asyncio_client_over_the_same_network(steady: ServiceProcess) -> None:
    async def main(stream: str, requests: str) -> None:
        async with AsyncSubgoalClient(stream, requests, timeout_s=20.0, dead_after_s=1.5) as client:
            task_id = await client.submit(FRAME, "go")
            followers = [client.subgoals(task_id, deadline_s=60) for _ in range(3)]

            async def drain(goals: Any) -> list[ReceivedSubgoal]:
                return [goal async for goal in goals]

            results = await asyncio.gather(*map(drain, followers))
            for goals in results:
                whole(goals, ACCEPTED)

    with (
        FaultProxy(steady.stream, FAULTS["everything"]) as stream,
        FaultProxy(steady.requests, FAULTS["everything"]) as requests,
    ):
        asyncio.run(main(stream.address, requests.address))


def test_a_network_that_swallows_everything_is_noticed_and_healed(steady: ServiceProcess) -> None:
    """Connections stay open, nothing passes: no socket notices by itself."""
    states: list[str] = []
    with (
        FaultProxy(steady.stream) as stream,
        FaultProxy(steady.requests) as requests,
        SubgoalClient(stream.address, requests.address, dead_after_s=0.8, timeout_s=2.0) as client,
    ):

        def heal() -> None:
            for proxy in (stream, requests):
                proxy.stalled.clear()

        def watch(state: str, why: str) -> None:
            states.append(state)
            if state == "lost":
                threading.Timer(0.6, heal).start()

        task_id = client.submit(FRAME, "go")
        goals = client.subgoals(task_id, deadline_s=60, on_link=watch)
        first = next(goals)
        for proxy in (stream, requests):
            proxy.stalled.set()
        rest = list(goals)
        whole([first, *rest], ACCEPTED)
        assert states[:2] == ["lost", "live"]


def test_a_stream_that_never_comes_is_made_up_for_by_asking(steady: ServiceProcess) -> None:
    with FaultProxy(steady.stream, Faults(drop=1.0)) as stream:
        client = SubgoalClient(stream.address, steady.requests, dead_after_s=0.3)
        with client:
            goals = list(client.subgoals(client.submit(FRAME, "go"), deadline_s=30))
            whole(goals, ACCEPTED)


STAGES: dict[str, Any] = {
    "plan": lambda message: isinstance(message, PlanMessage),
    "attempt": lambda message: isinstance(message, AttemptMessage),
    "subgoal": lambda message: isinstance(message, SubgoalMessage),
    "last attempt": lambda message: isinstance(message, AttemptMessage) and message.step == 3,
}


@pytest.mark.parametrize(
    ("stage", "resubmit"), [*((stage, False) for stage in STAGES), ("attempt", True), ("subgoal", True)]
)
def test_kill_9_of_the_service_at_every_stage(stage: str, resubmit: bool) -> None:
    """The service comes back knowing nothing. The task ends once: as failed, or, submitted again, as if nothing was."""
    with (
        ServiceProcess(steps=3, paint_s=0.15) as service,
        SubgoalClient(service.stream, service.requests, dead_after_s=1.0, timeout_s=2.0) as client,
    ):
        killed: list[threading.Thread] = []

        def watch(message: Any) -> None:
            if not killed and STAGES[stage](message):
                killed.append(service.restart_soon())

        task_id = client.submit(FRAME, "go", seed=9)
        goals = client.subgoals(task_id, deadline_s=60, on_message=watch, resubmit=resubmit)
        received = list(goals)
        killed[0].join()
        if resubmit:
            whole(received, [1, 2, 3])
            assert goals.status is SequenceStatus.VERIFIED
        else:
            whole(received, list(range(1, len(received) + 1)))
            assert len(received) < 3
            assert goals.status is SequenceStatus.FAILED and "restarted and lost the task" in goals.reason
        again = client.subgoals(client.submit(FRAME, "again"), deadline_s=60)
        whole(list(again), [1, 2, 3])


def test_kill_9_of_the_service_before_it_is_there_and_after_the_task(steady: ServiceProcess) -> None:
    with (
        ServiceProcess(steps=2) as service,
        SubgoalClient(service.stream, service.requests, timeout_s=0.6, dead_after_s=0.6, patience_s=1.0) as client,
    ):
        goals = client.subgoals(client.submit(FRAME, "go"), deadline_s=30)
        whole(list(goals), [1, 2])
        service.kill()
        assert list(goals) == [] and goals.status is SequenceStatus.VERIFIED, "what has ended stays so"
        with pytest.raises(TransportError, match=r"no answer to 'submit' .* within 0.6 s"):
            client.submit(FRAME, "go")
        with pytest.raises(TransportError, match=r"silent for .*\(patience 1 s\)"):
            list(client.subgoals("abcdefgh", deadline_s=30))
        service.start()
        assert client.wait_ready(20).state == "ready"
        assert client.snapshot("")[0].place == "unknown", "what was given up has not arrived after all"


CLIENT = """
import json, sys
from itk_embodied.bridges import SubgoalClient
stream, requests, task_id, after = sys.argv[1:]
with SubgoalClient(stream, requests) as client:
    def tell(message):
        print(json.dumps([message.seq, type(message).__name__, getattr(message, "step", 0)]), flush=True)
    goals = client.subgoals(task_id, deadline_s=60, after_seq=int(after), on_message=tell)
    list(goals)
"""


LISTENER = """
import sys, time
from itk_embodied.bridges import SubgoalClient
with SubgoalClient(*sys.argv[1:]) as client:
    while True:
        if client.receive(time.monotonic() + 60) is not None:
            print("heard", flush=True)
"""


def in_a_process(program: str, *arguments: str) -> subprocess.Popen[str]:
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def reap(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait(10)
    assert process.stdout is not None
    process.stdout.close()


def test_kill_9_of_the_client_at_every_stage() -> None:
    """A client that dies and comes back behind what it had handled sees the rest, all of it, once."""
    with (
        ServiceProcess(steps=4, paint_s=0.3) as service,
        SubgoalClient(service.stream, service.requests) as watcher,
    ):
        task_id = watcher.submit(FRAME, "go")
        seen: list[tuple[int, str, int]] = []
        while not seen or seen[-1][1] != "EndMessage":
            after = str(seen[-1][0] if seen else 0)
            process = in_a_process(CLIENT, service.stream, service.requests, task_id, after)
            assert process.stdout is not None
            for line in process.stdout:
                seen.append(tuple(json.loads(line)))
                if seen[-1][1] != "AttemptMessage":  # at the plan, and after each subgoal
                    process.kill()
                    break
            reap(process)
        assert [seq for seq, _, _ in seen] == list(range(1, len(seen) + 1))
        assert [step for _, name, step in seen if name == "SubgoalMessage"] == [1, 2, 3, 4]
        whole(list(watcher.subgoals(task_id, deadline_s=30)), [1, 2, 3, 4])


def test_a_late_joiner_in_the_middle_gets_everything_and_others_do_not_notice() -> None:
    with (
        ServiceProcess(steps=4, paint_s=0.1) as service,
        SubgoalClient(service.stream, service.requests) as first,
        SubgoalClient(service.stream, service.requests) as late,
    ):
        goals = first.subgoals(first.submit(FRAME, "go"), deadline_s=30)
        early = [next(goals), next(goals)]
        whole(list(late.subgoals(late.wait_for_task(10), deadline_s=30)), [1, 2, 3, 4])
        whole([*early, *goals], [1, 2, 3, 4])


def rss_kb(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])


def test_a_subscriber_that_does_not_read_costs_the_others_nothing() -> None:
    """One subscriber is stopped (SIGSTOP) while large pictures go out; the memory of the service stays flat."""
    big = Frame(np.zeros((480, 640, 3), np.uint8))
    with (
        ServiceProcess(steps=8, paint_s=0.0, encoding="raw", hwm=4, keep_tasks=1) as service,
        SubgoalClient(service.stream, service.requests) as client,
    ):
        assert service.process is not None
        task_id = client.submit(big, "go")
        whole(list(client.subgoals(task_id, deadline_s=30)), list(range(1, 9)))
        stopped = in_a_process(LISTENER, service.stream, service.requests)
        assert stopped.stdout is not None
        try:
            assert stopped.stdout.readline() == "heard\n"
            stopped.send_signal(signal.SIGSTOP)
            sizes = []
            for _ in range(10):
                goals = client.subgoals(client.submit(big, "go"), deadline_s=30)
                whole(list(goals), list(range(1, 9)))
                sizes.append(rss_kb(service.process.pid))
        finally:
            stopped.send_signal(signal.SIGCONT)
            reap(stopped)
        assert sizes[-1] - sizes[3] < 12_000, f"grows with every picture of 900 kB: {sizes} kB"


def test_a_clock_that_jumps_changes_nothing(steady: ServiceProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    now_s, calls = time.time, [0]

    def jumping() -> float:
        calls[0] += 1
        return now_s() + 86_400.0 * (-1) ** calls[0]

    monkeypatch.setattr(time, "time", jumping)
    monkeypatch.setattr(time, "time_ns", lambda: int(jumping() * 1e9))
    with SubgoalClient(steady.stream, steady.requests) as client:
        goals = client.subgoals(client.submit(FRAME, "go", valid_s=60.0), deadline_s=30)
        whole(list(goals), ACCEPTED)
        assert goals.expired == 0
