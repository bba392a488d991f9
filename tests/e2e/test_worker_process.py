"""The models in their own process: killed, frozen, hung, at every stage. Real processes, real sockets."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scripted_kinds
from scripted import gradient_image

from itk_embodied.bridges import SubgoalClient
from itk_embodied.bridges.wire import AttemptMessage, EndMessage, PlanMessage, SubgoalMessage, stamp_to_ns
from itk_embodied.bridges.worker_process import ProcessWorker
from itk_embodied.bridges.worker_watch import WorkerConfig
from itk_embodied.service import ServiceConfig, SubgoalService
from itk_embodied.types import Frame, SequenceStatus, SubgoalSequence, SubgoalStatus, Task

FRAME = Frame(gradient_image(), stamp_s=1_700_000_000.123456, frame_id="wrist")
# Not much quicker than that: on a busy machine a healthy process, too, may be silent for a second or two.
FAST = WorkerConfig(silence_s=4.0, overrun_s=0.3, stop_s=0.6, warm_up_s=0.0, backoff_s=0.01)


class Site:
    """A service with a worker process, and a client that notes every message it hears."""

    def __init__(self, service: SubgoalService, worker: ProcessWorker, client: SubgoalClient) -> None:
        self.service, self.worker, self.client = service, worker, client
        self.heard: list[Any] = []

    def submit(self, **options: Any) -> str:
        return self.client.submit(FRAME, "go", **options)

    def follow(self, task_id: str) -> tuple[list[Any], Any]:
        stream = self.client.subgoals(task_id, deadline_s=30, verified_only=False, on_message=self.heard.append)
        return list(stream), stream

    def wait_for(self, *stages: str) -> None:
        """Until the worker does one of these: "loading its models", "planning", "painting", "judging"."""
        deadline_s = time.monotonic() + 20
        while time.monotonic() < deadline_s:
            if self.worker._watch.stage in stages:
                return
            time.sleep(0.005)
        raise AssertionError(f"never seen {stages}; it is {self.worker._watch.stage}")

    def ends(self, task_id: str) -> list[str]:
        return [m.status for m in self.heard if isinstance(m, EndMessage) and m.task_id == task_id]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Site]]:
    monkeypatch.syspath_prepend(str(scripted_kinds.install(tmp_path)))
    with ExitStack() as stack:

        def start(config: WorkerConfig = FAST, on_sequence: Any = None, wait: bool = True, **roles: str) -> Site:
            path = scripted_kinds.write_stack(tmp_path, **roles)
            worker = ProcessWorker(path, config=config, on_sequence=on_sequence)
            options = ServiceConfig("tcp://127.0.0.1:0", "tcp://127.0.0.1:0", heartbeat_s=0.1)
            service = stack.enter_context(SubgoalService(worker, options))
            client = stack.enter_context(SubgoalClient(service.stream_address, service.requests_address))
            if wait:
                client.wait_ready(30)
            return Site(service, worker, client)

        yield start


def test_a_stack_runs_in_its_own_process_and_gives_what_the_pipeline_gives(site: Any) -> None:
    done: list[SubgoalSequence] = []
    here = site(on_sequence=lambda task_id, sequence: done.append(sequence), critic="accept = [false, true]")
    assert here.worker.pid not in (None, os.getpid())
    goals, stream = here.follow(here.submit(seed=5))
    assert stream.status is SequenceStatus.VERIFIED and [goal.step for goal in goals] == [1, 2]
    assert stream.end.stack == "scripted" and stream.plan.seed == 5
    assert {goal.stamp_ns for goal in goals} == {stamp_to_ns(FRAME.stamp_s)}
    (sequence,) = done
    assert [len(subgoal.attempts) for subgoal in sequence.subgoals] == [2, 1]
    for goal, subgoal in zip(goals, sequence.subgoals, strict=True):
        np.testing.assert_array_equal(goal.image, subgoal.image)
        assert all(attempt.image is not None for attempt in subgoal.attempts)
    assert sequence.frame.sha256 == FRAME.sha256 and sequence.task.seed == 5
    assert sequence.plan is not None and sequence.total_s > 0


def test_what_is_left_of_a_plan_goes_on_from_a_new_frame(site: Any) -> None:
    """Over the sockets and into the worker process, where the planner is not asked again."""
    here = site(planner="steps = 3", critic="accept = [true, false, false, false, true]")
    goals, stream = here.follow(here.submit())
    assert stream.status is SequenceStatus.PARTIAL and goals[0].status is SubgoalStatus.VERIFIED
    left = stream.plan_after(1)
    assert left is not None and stream.plan_after(3) is None
    assert [step.instruction for step in left.steps] == ["put cube 2 in the bowl", "put cube 3 in the bowl"]
    later = Frame(gradient_image()[::-1].copy(), stamp_s=1_700_000_100.0, frame_id="wrist")
    goals, stream = here.follow(here.client.submit(later, Task("go", plan=left)))
    assert stream.status is SequenceStatus.VERIFIED
    assert [goal.instruction for goal in goals] == [step.instruction for step in left.steps]
    assert {goal.stamp_ns for goal in goals} == {stamp_to_ns(later.stamp_s)}


@pytest.mark.parametrize("role, stage", [("planner", "planning"), ("generator", "painting"), ("critic", "judging")])
def test_kill_9_at_every_stage_ends_the_task_once_and_the_next_one_works(site: Any, role: str, stage: str) -> None:
    here = site(**{role: "seconds = 30"})
    first_pid = here.worker.pid
    task_id = here.submit()
    here.wait_for(stage)
    os.kill(first_pid, signal.SIGKILL)
    goals, stream = here.follow(task_id)
    assert stream.status is SequenceStatus.FAILED
    assert "SIGKILL" in stream.reason and stage in stream.reason
    assert here.ends(task_id) == ["failed"]
    if role == "planner":
        assert goals == [], "no step had begun"
    else:
        assert [(goal.step, goal.status) for goal in goals] == [(1, SubgoalStatus.FAILED)]
        assert "SIGKILL" in goals[0].message.error and goals[0].image is None
    here.client.wait_ready(30)
    assert here.worker.pid != first_pid
    second = here.submit()
    here.wait_for(stage)
    assert here.client.cancel(second) == (second,)
    assert here.follow(second)[1].status is SequenceStatus.CANCELLED


@pytest.mark.parametrize(
    "crash, says",
    [("exit", "exit code 7 while judging (no memory left)"), ("kill", "SIGKILL"), ("stop", "no sign of life")],
)
def test_a_worker_that_dies_or_freezes_is_replaced(site: Any, tmp_path: Path, crash: str, says: str) -> None:
    here = site(critic=f'crash = "{crash}"\ncrash_at = 2\ncrash_once = "{tmp_path}/crashed"')
    goals, stream = here.follow(here.submit())
    statuses = [(goal.step, goal.status) for goal in goals]
    assert statuses == [(1, SubgoalStatus.VERIFIED), (2, SubgoalStatus.FAILED)]
    assert stream.status is SequenceStatus.PARTIAL and says in stream.reason
    assert stream.end.verified == 1 and stream.end.attempts == 1
    goals, stream = here.follow(here.submit())
    assert stream.status is SequenceStatus.VERIFIED and len(goals) == 2, "the next task works"
    assert here.ends(stream.task_id) == ["verified"]


def test_an_idle_worker_that_is_frozen_is_noticed_before_a_task_needs_it(site: Any) -> None:
    here = site()
    pid = here.worker.pid
    os.kill(pid, signal.SIGSTOP)
    deadline_s = time.monotonic() + 15
    while here.worker.pid == pid and time.monotonic() < deadline_s:
        time.sleep(0.02)
    here.client.wait_ready(30)
    assert here.worker.pid != pid
    assert here.follow(here.submit())[1].status is SequenceStatus.VERIFIED


def test_a_model_that_runs_past_its_budget_and_listens_to_nothing_is_replaced(site: Any) -> None:
    here = site(generator="stuck_s = 60", pipeline="image_s = 0.2")
    pid = here.worker.pid
    goals, stream = here.follow(here.submit())
    assert stream.status is SequenceStatus.FAILED and "painting ran past its budget of 0.2 s" in stream.reason
    assert [goal.status for goal in goals] == [SubgoalStatus.FAILED]
    here.client.wait_ready(30)
    assert here.worker.pid != pid


def test_cancel_stops_a_model_that_listens_and_replaces_one_that_does_not(site: Any) -> None:
    here = site(generator="seconds = 60")
    pid = here.worker.pid
    task_id = here.submit()
    here.wait_for("painting")
    here.client.cancel(task_id)
    assert here.follow(task_id)[1].status is SequenceStatus.CANCELLED
    assert here.worker.pid == pid, "it listened"
    stuck = site(generator="stuck_s = 60")
    pid = stuck.worker.pid
    task_id = stuck.submit()
    stuck.wait_for("painting")
    stuck.client.cancel(task_id)
    goals, stream = stuck.follow(task_id)
    assert stream.status is SequenceStatus.CANCELLED and [g.status for g in goals] == [SubgoalStatus.FAILED]
    next_id = stuck.submit()
    stuck.wait_for("loading its models")
    stuck.wait_for("painting")
    assert stuck.worker.pid != pid
    assert stuck.client.cancel(next_id) == (next_id,)


def test_requests_are_answered_while_the_models_are_frozen(site: Any) -> None:
    here = site(generator="seconds = 60", config=WorkerConfig(silence_s=60, warm_up_s=0))
    task_id = here.submit()
    here.wait_for("painting")
    os.kill(here.worker.pid, signal.SIGSTOP)
    assert here.client.ping().active == task_id
    kinds = {type(received.message) for received in here.client.snapshot(task_id)[1]}
    assert kinds == {PlanMessage, AttemptMessage}
    second = here.submit()
    assert here.client.ping().pending == second
    assert set(here.client.cancel()) == {task_id, second}
    for each in (task_id, second):
        assert here.follow(each)[1].status is SequenceStatus.CANCELLED


def test_loading_and_warming_are_states_and_tasks_wait_for_them(site: Any) -> None:
    here = site(wait=False, generator="load_s = 0.4\nseconds = 0.6", config=WorkerConfig(warm_up_s=0.5))
    task_id = here.submit()
    states = set()
    while "warming" not in states:
        states.add(here.client.ping().state)
    assert states == {"loading", "warming"}
    assert here.follow(task_id)[1].status is SequenceStatus.VERIFIED
    assert here.client.ping().state == "ready"


def test_a_task_cancelled_while_the_models_load_ends_at_once(site: Any) -> None:
    here = site(wait=False, generator="load_s = 30")
    task_id = here.submit()
    here.client.cancel(task_id)
    _, stream = here.follow(task_id)
    assert stream.status is SequenceStatus.CANCELLED and "loading" in stream.reason


def test_a_stack_that_cannot_load_is_broken_for_good_and_says_why(site: Any) -> None:
    here = site(wait=False, generator='kinds = "nonsense"')
    task_id = here.service.submit(FRAME, Task("go"))
    _, stream = here.follow(task_id)
    assert stream.status is SequenceStatus.FAILED and "no setting 'kinds'" in stream.reason
    assert here.client.ping().state == "broken"


def test_a_worker_that_dies_again_and_again_is_replaced_with_growing_pauses(site: Any) -> None:
    here = site(wait=False, config=WorkerConfig(backoff_s=0.05, warm_up_s=0))
    here.client.wait_ready(30)
    pids: set[int] = set()
    open_files = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        if len(pids) == 1:
            waiting = here.submit()  # while the second one loads, which will be killed, and the third, too
        pids.add(here.worker.pid)
        os.kill(here.worker.pid, signal.SIGKILL)
        while here.worker.pid in pids or here.worker.pid is None:
            time.sleep(0.005)
    pong = here.client.ping()
    assert pong.state == "loading" and "another one starts after 0.2 s" in pong.detail
    assert here.worker._restarts == 3
    assert here.follow(waiting)[1].status is SequenceStatus.VERIFIED, "no worker had it yet, so none has lost it"
    assert len(list(Path("/proc/self/fd").iterdir())) <= open_files, "nothing of the dead ones is left open"


def test_no_process_is_left_behind(site: Any) -> None:
    here = site(generator="seconds = 60")
    pid = here.worker.pid
    here.submit()
    here.wait_for("painting")
    here.service.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_nothing_unverified_passes_for_verified(site: Any) -> None:
    here = site(critic="accept = [false]", pipeline="continue_after_unverified = true")
    task_id = here.submit(max_attempts=1)
    assert list(here.client.subgoals(task_id, deadline_s=20)) == []
    goals, stream = here.follow(task_id)
    assert {goal.status for goal in goals} == {SubgoalStatus.UNVERIFIED}
    assert stream.status is SequenceStatus.FAILED
    assert all(m.status != "verified" for m in here.heard if isinstance(m, SubgoalMessage))
