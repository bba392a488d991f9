"""One task active, one pending, the newest replacing it; one terminal status each. Hypothesis plays the users."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from scripted import gradient_image

from itk_embodied.bridges.board import CANCEL_GRACE_S, EXPIRE_GRACE_S, TaskBoard, TaskRecord
from itk_embodied.bridges.codec import Part, encode
from itk_embodied.bridges.events import Job
from itk_embodied.bridges.wire import AttemptMessage, EndMessage, TaskMessage
from itk_embodied.bridges.worker import IdleReport, MessageReport
from itk_embodied.types import Frame, Task

FRAME = Frame(gradient_image(), stamp_s=12.5)


class SilentWorker:
    """Notes what it is told; the test answers for it."""

    def __init__(self) -> None:
        self.running: list[str] = []
        self.cancelled: list[str] = []

    def start(self, post: Any) -> None: ...

    def run(self, job: Job) -> None:
        self.running.append(job.task_id)

    def cancel(self, task_id: str) -> None:
        self.cancelled.append(task_id)

    def stop(self, timeout_s: float) -> None: ...


class Bench:
    """A board with everything it published."""

    def __init__(self, **options: Any) -> None:
        self.worker = SilentWorker()
        self.sent: list[TaskMessage] = []
        self.board = TaskBoard(self.worker, self._publish, **options)

    def _publish(self, record: TaskRecord, message: TaskMessage, payload: Part) -> None:
        record.sent.append(encode(message, payload))
        self.sent.append(message)

    def submit(self, name: str, ends_s: float = 100.0) -> TaskRecord:
        return self.board.submit(Job(name, FRAME, Task("go"), ends_s, ends_s, 12_500_000_000))

    def finish(self, name: str, status: Any = "verified") -> None:
        self.board.on_message(MessageReport(EndMessage(task_id=name, status=status), b""))
        self.board.on_idle(IdleReport(name))

    def ends(self) -> list[tuple[str, str, str]]:
        return [(m.task_id, m.status, m.reason) for m in self.sent if isinstance(m, EndMessage)]


@pytest.fixture
def bench() -> Bench:
    return Bench()


def attempt(name: str) -> MessageReport:
    return MessageReport(AttemptMessage(task_id=name, step=1, attempt=1, state="started", prompt="p", seed=1), b"")


def test_the_newest_replaces_the_pending_one_and_says_so(bench: Bench) -> None:
    for name in ("a", "b", "c"):
        bench.submit(name)
    assert bench.ends() == [("b", "cancelled", "replaced by a newer task")]
    bench.finish("a")
    assert bench.worker.running == ["a", "c"]


def test_submitting_the_same_id_again_changes_nothing(bench: Bench) -> None:
    record = bench.submit("a")
    assert bench.submit("a") is record
    bench.finish("a")
    assert bench.submit("a").place == "ended"
    assert bench.worker.running == ["a"]


def test_cancelling_the_active_one_asks_the_worker_and_lets_it_end_the_step(bench: Bench) -> None:
    bench.submit("a")
    assert bench.board.cancel("a", 10.0) == ("a",)
    assert bench.worker.cancelled == ["a"]
    assert bench.ends() == []
    bench.finish("a", "cancelled")
    assert bench.ends() == [("a", "cancelled", "")]


def test_a_worker_that_does_not_stop_cannot_hold_up_the_answer(bench: Bench) -> None:
    bench.submit("a")
    bench.submit("b")
    bench.board.cancel("a", 10.0)
    bench.board.tick(10.0 + CANCEL_GRACE_S + 0.01)
    assert bench.ends() == [("a", "cancelled", "the task was cancelled")]
    assert bench.worker.running == ["a"], "its models still run: nothing else may start"
    bench.board.on_message(attempt("a"))
    bench.finish("a", "verified")  # too late
    assert [m.task_id for m in bench.sent] == ["a"]
    assert bench.worker.running == ["a", "b"]


def test_a_task_that_finished_before_its_cancel_took_effect_keeps_its_result(bench: Bench) -> None:
    bench.submit("a")
    bench.board.cancel("a", 10.0)
    bench.finish("a", "verified")
    assert bench.ends() == [("a", "verified", "")]


def test_deadlines_end_pending_and_active_tasks(bench: Bench) -> None:
    bench.submit("a", ends_s=5.0)
    bench.submit("b", ends_s=3.0)
    assert bench.board.next_event_s() == 3.0
    bench.board.tick(3.1)
    assert bench.ends() == [("b", "expired", "the task waited for another one past its deadline of 3 s")]
    bench.board.tick(5.1)
    assert bench.worker.cancelled == [], "the pipeline watches the deadline itself"
    assert bench.board.next_event_s() == 5.0 + EXPIRE_GRACE_S
    bench.board.tick(5.0 + EXPIRE_GRACE_S + 0.01)
    assert bench.worker.cancelled == ["a"]
    assert bench.ends()[1] == ("a", "expired", "the task ran past its deadline of 5 s")


def test_a_worker_that_goes_idle_without_a_result_is_a_failure(bench: Bench) -> None:
    bench.submit("a")
    bench.board.on_idle(IdleReport("a"))
    assert bench.ends() == [("a", "failed", "the pipeline stopped without a result")]


def test_old_tasks_are_forgotten_by_number_and_by_bytes() -> None:
    bench = Bench(keep=2)
    for name in "abcd":
        bench.submit(name)
        bench.finish(name)
    assert [name for name in "abcd" if bench.board.get(name)] == ["c", "d"]
    small = Bench(keep_bytes=1)
    for name in "ab":
        small.submit(name)
        small.finish(name)
    assert small.board.get("a") is None and small.board.get("b") is not None


def test_no_id_means_the_active_else_the_pending_else_the_newest(bench: Bench) -> None:
    assert bench.board.get("") is None
    bench.submit("a")
    bench.submit("b")
    assert bench.board.get("") is bench.board.get("a")
    bench.finish("a")
    bench.finish("b")
    assert bench.board.get("") is bench.board.get("b")


class Users(RuleBasedStateMachine):
    """Any order of submissions, cancels, answers, silence and passing time."""

    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench(keep=1000)
        self.now_s = 0.0
        self.count = 0

    @property
    def running(self) -> str:
        return self.bench.worker.running[-1] if self.bench.worker.running else ""

    @rule(budget_s=st.floats(0.1, 20))
    def submit(self, budget_s: float) -> None:
        self.count += 1
        self.bench.submit(f"t{self.count}", self.now_s + budget_s)

    @precondition(lambda self: self.count)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        number = data.draw(st.integers(0, self.count))
        self.bench.board.cancel(f"t{number}" if number else "", self.now_s)

    @precondition(lambda self: self.running)
    @rule()
    def report(self) -> None:
        self.bench.board.on_message(attempt(self.running))

    @precondition(lambda self: self.running)
    @rule(status=st.sampled_from(["verified", "partial", "failed", "cancelled", "expired"]))
    def finish(self, status: str) -> None:
        self.bench.finish(self.running, status)

    @precondition(lambda self: self.running)
    @rule()
    def vanish(self) -> None:
        self.bench.board.on_idle(IdleReport(self.running))

    @rule(seconds=st.floats(0.01, 10))
    def wait(self, seconds: float) -> None:
        self.now_s += seconds
        self.bench.board.tick(self.now_s)

    @invariant()
    def every_task_is_in_one_place_and_ends_once(self) -> None:
        ended = [name for name, _, _ in self.bench.ends()]
        assert len(ended) == len(set(ended))
        board = self.bench.board
        open_ids = {r.job.task_id for r in (board.active, board.pending) if r}
        assert open_ids | set(ended) == {f"t{n + 1}" for n in range(self.count)}
        assert not open_ids & set(ended)

    @invariant()
    def messages_are_numbered_without_gaps_and_end_with_the_end(self) -> None:
        for number in range(1, self.count + 1):
            mine = [m for m in self.bench.sent if m.task_id == f"t{number}"]
            assert [m.seq for m in mine] == list(range(1, len(mine) + 1))
            assert not any(isinstance(m, EndMessage) for m in mine[:-1])

    def teardown(self) -> None:
        self.bench.board.end_all("the service stopped")
        assert len(self.bench.ends()) == self.count


TestUsers = Users.TestCase
TestUsers.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
