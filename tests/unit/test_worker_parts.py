"""The parts of worker supervision alone: the judgement over time, the link's framing, the records."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted import NoiseGenerator, ScriptedCritic, ScriptedPlanner, gradient_image, plan_of

from itk_embodied.agents.base import CallContext
from itk_embodied.bridges.events import Job
from itk_embodied.bridges.stages import WatchedAgent, warm_up
from itk_embodied.bridges.wire import MAX_PAYLOAD_BYTES, EndMessage, ImageInfo
from itk_embodied.bridges.worker_handle import death
from itk_embodied.bridges.worker_link import FROM_WORKER, TO_WORKER, Alive, Idle, Link, Record, Run, Stop
from itk_embodied.bridges.worker_records import Assembler, send_event
from itk_embodied.bridges.worker_watch import Backoff, Watch, WorkerConfig
from itk_embodied.errors import ConfigError, WireError
from itk_embodied.pipeline import PipelineConfig, VisualSubgoalPipeline
from itk_embodied.types import Frame, SequenceEnded, SubgoalSequence, Task

CONFIG = WorkerConfig(load_s=100, load_silence_s=20, silence_s=5, overrun_s=2, stop_s=3)
FRAME = Frame(gradient_image(), stamp_s=12.5)


def loaded() -> Watch:
    watch = Watch(CONFIG, 0.0)
    watch.loaded()
    watch.heard(10.0)
    return watch


def test_silence_is_judged_by_whether_it_loads() -> None:
    watch = Watch(CONFIG, 0.0)
    assert watch.problem(19.9) == "" and "no sign of life for 20 s while loading" in watch.problem(20.1)
    watch.heard(90.0)
    assert watch.problem(99.0) == "" and "did not load its models within 100 s" in watch.problem(100.1)
    watch.loaded()
    watch.heard(100.0)
    assert watch.next_s() == 105.0 and watch.problem(105.0) == ""
    assert "no sign of life for 5 s" in watch.problem(105.1)


def test_a_stage_may_take_its_budget_and_a_little_more() -> None:
    watch = loaded()
    watch.stage_began("painting", 1.5, 10.0)
    assert watch.next_s() == 13.5 and watch.problem(13.5) == ""
    assert "painting ran past its budget of 1.5 s and 2 s more" in watch.problem(13.6)
    watch.stage_ended()
    assert watch.problem(13.6) == ""
    watch.stage_began("judging", None, 10.0)
    assert watch.problem(14.9) == ""


def test_one_that_does_not_stop_is_replaced_and_asking_twice_gives_no_more_time() -> None:
    watch = loaded()
    watch.stopping(10.0)
    watch.stopping(12.0)
    watch.heard(13.0)
    assert watch.problem(13.0) == "" and "did not stop its task within 3 s" in watch.problem(13.1)
    watch.idle()
    assert watch.problem(13.1) == ""


def test_pauses_grow_to_a_limit_and_start_anew_after_success() -> None:
    backoff = Backoff(WorkerConfig(backoff_s=0.25, backoff_max_s=3))
    assert [backoff.failed() for _ in range(6)] == [0.25, 0.5, 1.0, 2.0, 3.0, 3.0]
    for _ in range(5000):
        assert backoff.failed() == 3.0
    backoff.succeeded()
    assert backoff.failed() == 0.25


def test_wrong_budgets_are_refused() -> None:
    for wrong in ({"silence_s": 0}, {"stop_s": -1}, {"warm_up_s": -0.1}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            WorkerConfig(**wrong)


def test_how_a_process_ended_in_words() -> None:
    assert "SIGKILL (out of memory" in death(-9) and "SIGSEGV" in death(-11)
    assert death(3) == "ended with exit code 3" and "signal 200" in death(-200)


@pytest.fixture
def link() -> Iterator[tuple[Link, socket.socket]]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    yield Link(ours, FROM_WORKER), theirs
    ours.close()
    theirs.close()


def test_a_message_arrives_whole_however_it_is_cut(link: Any) -> None:
    here, there = link
    sender, receiver = socket.socketpair()
    payload = bytes(range(256)) * 12
    info = ImageInfo(encoding="raw", height=32, width=32, size_bytes=3072)
    run = Run(
        task_id="t", task="go", seed=1, stamp_s=12.5, stamp_ns=1, frame_id="f", frame_sha256="", image=info,
        left_s=1.0, deadline_s=2.0, age_s=0.0,
    )  # fmt: skip
    Link(sender, TO_WORKER).send(run, payload)
    whole = receiver.recv(1 << 20)
    to_worker = Link(here._sock, TO_WORKER)
    for index in range(0, len(whole), 7):
        there.sendall(whole[index : index + 7])
        received = to_worker.read()
        if index + 7 < len(whole):
            assert received is None
    assert received is not None and received.message == run and bytes(received.payload) == payload
    there.close()
    with pytest.raises(EOFError):
        here.read()


def test_what_is_queued_leaves_as_the_other_end_reads(link: Any) -> None:
    here, there = link
    for _ in range(20_000):
        here.queue(Stop(task_id="t" * 60))
    here.flush()
    assert here.has_queued, "nobody read yet"
    there.setblocking(True)
    other, count = Link(there, TO_WORKER), 0
    while count < 20_000:
        here.flush()
        assert isinstance(other.read().message, Stop)  # type: ignore[union-attr]
        count += 1
    assert not here.has_queued


@given(lengths=st.tuples(st.integers(0, 65535), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)))
def test_claimed_lengths_are_checked_before_there_is_room_for_them(lengths: tuple[int, int, int]) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.sendall(struct.pack(">HII", *lengths))
        reader = Link(ours, FROM_WORKER)
        if lengths[0] > 64 or lengths[1] > 1 << 20 or lengths[2] > MAX_PAYLOAD_BYTES:
            with pytest.raises(WireError, match="too much"):
                reader.read()
        elif sum(lengths):
            assert reader.read() is None
        else:
            with pytest.raises(WireError):
                reader.read()


def test_only_what_a_worker_may_say_is_read(link: Any) -> None:
    here, there = link
    theirs = Link(there, TO_WORKER)
    theirs.send(Alive())
    theirs.send(Idle(task_id="t"))
    assert isinstance(here.read().message, Alive) and isinstance(here.read().message, Idle)
    theirs.send(Stop(task_id="t"))
    with pytest.raises(WireError, match="breaks wire version"):
        here.read()


def sequence_of(*judgements: bool, error: bool = False) -> tuple[list[Any], SubgoalSequence]:
    painter = NoiseGenerator(
        error=(lambda call: RuntimeError("no memory") if call == 1 else None) if error else lambda c: None
    )
    config = PipelineConfig(max_attempts=2, continue_after_unverified=True)
    agents = (ScriptedPlanner(plan_of("a", "b")), painter, ScriptedCritic(*judgements))
    events = list(VisualSubgoalPipeline(*agents, config, stack_name="s").stream(FRAME, Task("go", seed=3)))
    end = events[-1]
    assert isinstance(end, SequenceEnded)
    return events, end.sequence


@pytest.mark.parametrize(
    "judgements, error", [((True,), False), ((False, True), False), ((False,), False), ((True,), True)]
)
def test_a_sequence_comes_through_whole(judgements: tuple[bool, ...], error: bool) -> None:
    events, sequence = sequence_of(*judgements, error=error)
    assembler = Assembler(Job("t", FRAME, Task("go", seed=3), 1.0, 1.0, 1))
    made: list[Any] = []
    for event in events:
        send_event("t", event, lambda record, payload: made.append(assembler.take(record, payload)))
    copy = made[-1]
    assert made[:-1] == [None] * (len(made) - 1) and isinstance(copy, SubgoalSequence)
    for name in ("task", "plan", "status", "reason", "raw", "stack", "prompt_hashes", "plan_s", "total_s"):
        assert getattr(copy, name) == getattr(sequence, name), name
    for ours, theirs in zip(copy.subgoals, sequence.subgoals, strict=True):
        assert (ours.step, ours.status, ours.error) == (theirs.step, theirs.status, theirs.error)
        assert ours.source_image_sha256 == theirs.source_image_sha256
        assert (ours.image is None) == (theirs.image is None)
        if ours.image is not None and theirs.image is not None:
            np.testing.assert_array_equal(ours.image, theirs.image)
        for one, other in zip(ours.attempts, theirs.attempts, strict=True):
            assert (one.prompt, one.seed, one.verdict, one.error) == (
                other.prompt,
                other.seed,
                other.verdict,
                other.error,
            )
            assert (one.image is None) == (other.image is None)


def test_a_damaged_record_is_refused() -> None:
    assembler = Assembler(Job("t", FRAME, Task("go"), 1.0, 1.0, 1))
    for payload in (b"\xc1", b"\x80", b""):
        with pytest.raises(WireError, match="cannot be read"):
            assembler.take(Record(task_id="t", part="attempt", size_bytes=len(payload)), payload)


def test_a_watched_agent_tells_its_stages_and_is_else_as_it_was() -> None:
    told: list[Any] = []
    painter = NoiseGenerator(error=lambda call: RuntimeError("no") if call == 2 else None)
    watched = WatchedAgent(painter, lambda stage, budget_s, seconds: told.append((stage, budget_s, seconds)))
    assert watched.name == "noise-generator" and watched.calls is painter.calls and not hasattr(watched, "prompt_hash")
    watched.generate(FRAME.image, "go", CallContext())
    with pytest.raises(RuntimeError):
        watched.generate(FRAME.image, "go", CallContext())
    assert [(stage, budget_s, seconds is None) for stage, budget_s, seconds in told] == [
        ("generate", None, True),
        ("generate", None, False),
    ] * 2


def test_warming_up_leaves_out_what_is_not_ours_and_survives_what_fails() -> None:
    planner, critic = ScriptedPlanner(RuntimeError("a blank picture")), ScriptedCritic(True)
    painter = NoiseGenerator()
    painter.remote = True  # type: ignore[attr-defined]
    warm_up(VisualSubgoalPipeline(planner, painter, critic), 0.5)
    assert len(planner.contexts) == 1 and painter.calls == [] and len(critic.calls) == 1


def test_the_last_word_of_a_lost_task_counts_what_was(frame: Frame) -> None:
    from itk_embodied.bridges.progress import Progress
    from itk_embodied.bridges.wire import AttemptMessage, PlanMessage, StepInfo, SubgoalMessage
    from itk_embodied.types import SequenceStatus

    job = Job("t", frame, Task("go"), 1.0, 1.0, 7, valid_s=2.0)
    progress = Progress()
    steps = (
        StepInfo(step=1, name="one", instruction="a", prompt="a"),
        StepInfo(step=2, name="two", instruction="b", prompt="b"),
        StepInfo(step=3, name="words", instruction=None, prompt=None, auxiliary_text="done"),
    )
    assert progress.close_step(job, "why") is None
    progress.note(PlanMessage(task_id="t", task="go", seed=0, steps=steps, stack="s", seconds=0.5))
    assert progress.close_step(job, "why") is None, "no step has begun"
    for step, state in ((1, "started"), (1, "accepted")):
        progress.note(AttemptMessage(task_id="t", step=step, attempt=1, state=state, prompt="a", seed=1))
    image = ImageInfo(encoding="raw", height=1, width=1, size_bytes=3)
    progress.note(SubgoalMessage(task_id="t", step=1, step_count=2, instruction="a", status="verified", image=image))
    assert progress.close_step(job, "why") is None, "that step has its outcome"
    progress.note(
        AttemptMessage(task_id="t", step=2, attempt=1, state="started", prompt="b, better", seed=1, stack="s")
    )
    closing = progress.close_step(job, "it died")
    assert closing is not None and (closing.step, closing.step_count, closing.status) == (2, 2, "failed")
    assert (closing.instruction, closing.prompt, closing.error) == ("b", "b, better", "it died")
    assert closing.valid_until_ns == 2_000_000_007
    end = progress.end(job, SequenceStatus.PARTIAL, "it died")
    assert isinstance(end, EndMessage) and (end.verified, end.attempts, end.stack, end.plan_s) == (1, 1, "s", 0.5)
