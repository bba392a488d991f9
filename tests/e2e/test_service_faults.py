"""What goes wrong around a service with a worker process: wall clocks, restarts, late joiners, a kill -9."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import scripted_kinds
from scripted import gradient_image
from test_serve_command import BUDGET_S, Serving, configure

from itk_embodied.bridges import SubgoalClient
from itk_embodied.bridges.wire import EndMessage, stamp_to_ns
from itk_embodied.bridges.worker_watch import WorkerConfig
from itk_embodied.service import ServiceConfig, SubgoalService
from itk_embodied.types import Frame, SequenceStatus

FRAME = Frame(gradient_image(), stamp_s=1_700_000_000.25, frame_id="wrist")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., SubgoalService]]:
    monkeypatch.syspath_prepend(str(scripted_kinds.install(tmp_path)))
    with ExitStack() as stack:

        def start(stream: str = "tcp://127.0.0.1:0", requests: str = "tcp://127.0.0.1:0", **roles: str) -> Any:
            path = scripted_kinds.write_stack(tmp_path, **roles)
            config = ServiceConfig(stream, requests, heartbeat_s=0.1, worker=WorkerConfig(warm_up_s=0))
            return stack.enter_context(SubgoalService(path, config))

        yield start


@pytest.mark.parametrize("jump_s", [86_400.0, -86_400.0])
def test_a_wall_clock_that_jumps_on_either_side_changes_nothing(
    place: Any, monkeypatch: pytest.MonkeyPatch, jump_s: float
) -> None:
    service = place(generator=f"seconds = 0.3\nclock_jump_s = {jump_s}")
    real = time.time
    with SubgoalClient(service.stream_address, service.requests_address) as client:
        client.wait_ready(BUDGET_S)
        task_id = client.submit(FRAME, "go", deadline_s=30, valid_s=30)
        threading.Timer(0.2, lambda: monkeypatch.setattr(time, "time", lambda: real() - 2 * jump_s)).start()
        heard: list[Any] = []
        stream = client.subgoals(task_id, deadline_s=BUDGET_S, accept_expired=True, on_message=heard.append)
        goals = list(stream)
    assert [goal.step for goal in goals] == [1, 2] and stream.status is SequenceStatus.VERIFIED
    assert sum(isinstance(message, EndMessage) for message in heard) == 1
    stamp_ns = stamp_to_ns(FRAME.stamp_s)
    assert {message.stamp_ns for message in heard} == {stamp_ns}, "never re-stamped"
    assert {goal.message.valid_until_ns for goal in goals} == {stamp_ns + 30_000_000_000}
    assert all(0 <= goal.message.age_s < 30 for goal in goals)
    assert stream.end is not None and 0.6 <= stream.end.total_s < 30


def test_a_late_joiner_in_the_middle_gets_the_whole_sequence(place: Any) -> None:
    service = place(planner="steps = 6", generator="seconds = 0.1")
    addresses = (service.stream_address, service.requests_address)
    with SubgoalClient(*addresses) as first, SubgoalClient(*addresses) as late:
        first.wait_ready(BUDGET_S)
        stream = first.subgoals(first.submit(FRAME, "go"), deadline_s=BUDGET_S)
        assert next(stream).step == 1
        assert next(stream).step == 2
        joined = late.subgoals(late.wait_for_task(BUDGET_S), deadline_s=BUDGET_S)
        assert [goal.step for goal in joined] == [1, 2, 3, 4, 5, 6]
        assert [goal.step for goal in stream] == [3, 4, 5, 6]
        assert joined.status is stream.status is SequenceStatus.VERIFIED


def test_a_restarted_service_ends_what_its_predecessor_began_and_takes_new_tasks(place: Any) -> None:
    first = place(generator="seconds = 60")
    addresses = (first.stream_address, first.requests_address)
    with SubgoalClient(*addresses) as client, SubgoalClient(*addresses) as watcher:
        client.wait_ready(BUDGET_S)
        task_id = client.submit(FRAME, "go")
        stream = watcher.subgoals(watcher.wait_for_task(BUDGET_S), deadline_s=BUDGET_S)
        stopping = threading.Timer(0.3, first.stop)
        stopping.start()
        assert list(stream) == [] and stream.status is SequenceStatus.CANCELLED
        stopping.join()
        place(*addresses, generator="")
        client.wait_ready(BUDGET_S)
        own = client.subgoals(task_id, deadline_s=BUDGET_S)
        assert list(own) == [] and own.status in (SequenceStatus.CANCELLED, SequenceStatus.FAILED)
        again = client.subgoals(client.submit(FRAME, "again"), deadline_s=BUDGET_S)
        assert [goal.step for goal in again] == [1, 2] and again.status is SequenceStatus.VERIFIED


def test_a_service_that_is_killed_leaves_no_worker_behind(tmp_path: Path) -> None:
    here = Serving(tmp_path, "--config", configure(tmp_path, generator="stuck_s = 600"))
    try:
        with here.client() as client:
            client.wait_ready(BUDGET_S)
            client.submit(FRAME, "go")
        threads = Path(f"/proc/{here.process.pid}/task").iterdir()
        workers = [int(pid) for thread in threads for pid in (thread / "children").read_text().split()]
        assert len(workers) == 1
        here.process.kill()
        here.process.wait(BUDGET_S)
        ends_s = time.monotonic() + 20
        while _alive(workers[0]):
            assert time.monotonic() < ends_s, "its models still run, for nobody"
            time.sleep(0.02)
    finally:
        if here.process.poll() is None:
            here.process.send_signal(signal.SIGKILL)
            here.process.wait()


def _alive(pid: int) -> bool:
    """Whether it runs; one that nobody has buried yet does not."""
    try:
        os.kill(pid, 0)
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except (ProcessLookupError, FileNotFoundError):
        return False
