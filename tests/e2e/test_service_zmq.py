"""The service and its client over real sockets, with scripted agents in the real pipeline."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np
import pytest
import zmq
from scripted import NoiseGenerator, ScriptedCritic, ScriptedPlanner, gradient_image, plan_of

from itk_embodied.bridges import SubgoalClient, wire
from itk_embodied.bridges.codec import decode, encode
from itk_embodied.bridges.wire import AttemptMessage, PlanMessage, Refused, SubgoalMessage
from itk_embodied.errors import CheckpointError, ConfigError, InputError, ItkError, TransportError
from itk_embodied.pipeline import PipelineConfig, VisualSubgoalPipeline
from itk_embodied.service import ServiceConfig, SubgoalService
from itk_embodied.types import Frame, SequenceStatus, SubgoalSequence, SubgoalStatus, image_hash

FRAME = Frame(gradient_image(), stamp_s=1_700_000_000.123456, frame_id="wrist")
ANYWHERE = {"stream": "tcp://127.0.0.1:0", "requests": "tcp://127.0.0.1:0"}


def pipeline_of(*judgements: bool, steps: int = 2, paint_s: float = 0.0, attempts: int = 3) -> VisualSubgoalPipeline:
    plan = plan_of(*(f"put cube {n + 1} in the bowl" for n in range(steps)))
    critic = ScriptedCritic(*(judgements or (True,)))
    config = PipelineConfig(max_attempts=attempts, continue_after_unverified=True)
    return VisualSubgoalPipeline(ScriptedPlanner(plan), NoiseGenerator(paint_s), critic, config, stack_name="scripted")


@pytest.fixture
def serve() -> Iterator[Callable[..., SubgoalService]]:
    with ExitStack() as stack:

        def start(pipeline: Any, **options: Any) -> SubgoalService:
            config = ServiceConfig(**{**ANYWHERE, "heartbeat_s": 0.1, **options.pop("config", {})})
            return stack.enter_context(SubgoalService(pipeline, config, **options))

        yield start


@pytest.fixture
def connect() -> Iterator[Callable[..., SubgoalClient]]:
    with ExitStack() as stack:

        def start(service: SubgoalService, **options: Any) -> SubgoalClient:
            client = SubgoalClient(service.stream_address, service.requests_address, **options)
            return stack.enter_context(client)

        yield start


def test_frame_and_sentence_in_verified_goals_out_with_all_that_made_them(serve: Any, connect: Any) -> None:
    done: list[tuple[str, SubgoalSequence]] = []
    heard: list[wire.TaskMessage] = []
    service = serve(
        pipeline_of(False, True, True),
        on_sequence=lambda task_id, sequence: done.append((task_id, sequence)),
        on_message=lambda message, payload: heard.append(message),
    )
    client = connect(service)
    assert client.wait_ready(5).stack == "scripted"
    messages: list[Any] = []
    task_id = client.submit(FRAME, "put both cubes in the bowl", seed=3)
    stream = client.subgoals(task_id, deadline_s=10, on_message=messages.append)
    goals = list(stream)

    assert stream.status is SequenceStatus.VERIFIED and stream.reason == ""
    (finished_id, sequence) = done[0]
    assert finished_id == task_id
    assert [goal.step for goal in goals] == [1, 2] and goals[0].step_count == 2
    for goal, subgoal in zip(goals, sequence.subgoals, strict=True):
        assert goal.image is not None and subgoal.image is not None and subgoal.accepted is not None
        np.testing.assert_array_equal(goal.image, subgoal.image)
        assert goal.status is SubgoalStatus.VERIFIED
        assert goal.message.image_sha256 == image_hash(subgoal.image)
        assert goal.message.source_sha256 == subgoal.source_image_sha256
        assert (goal.message.seed, goal.message.attempt) == (subgoal.accepted.seed, subgoal.accepted.attempt)
        assert goal.message.score == 0.9 and goal.message.stack == "scripted"
    for message in messages:
        assert (message.task_id, message.frame_id, message.frame_sha256) == (task_id, "wrist", FRAME.sha256)
        assert wire.stamp_to_s(message.stamp_ns) == FRAME.stamp_s, "the source's stamp is never re-stamped"
    assert isinstance(messages[0], PlanMessage) and messages[0].seed == 3
    states = [m.state for m in messages if isinstance(m, AttemptMessage)]
    assert states == ["started", "rejected", "started", "accepted", "started", "accepted"]
    deadline = time.monotonic() + 5
    while len(heard) < len(messages) and time.monotonic() < deadline:  # a message is sent first and told here then
        time.sleep(0.01)
    assert heard == messages
    assert stream.plan is messages[0] and stream.end is messages[-1]


def test_what_the_critic_did_not_accept_is_never_delivered_unless_asked_for(serve: Any, connect: Any) -> None:
    service = serve(pipeline_of(False, False, True, attempts=2))
    client = connect(service)
    task_id = client.submit(FRAME, "go")
    stream = client.subgoals(task_id, deadline_s=10)
    assert [(goal.step, goal.status) for goal in stream] == [(2, SubgoalStatus.VERIFIED)]
    assert stream.status is SequenceStatus.PARTIAL and "step 1" in stream.reason
    everything = client.subgoals(task_id, deadline_s=10, verified_only=False)
    assert [goal.status for goal in everything] == [SubgoalStatus.UNVERIFIED, SubgoalStatus.VERIFIED]


def test_a_failed_step_has_no_picture(serve: Any, connect: Any) -> None:
    broken = NoiseGenerator(error=lambda call: RuntimeError("no memory"))
    service = serve(VisualSubgoalPipeline(ScriptedPlanner(plan_of("a")), broken, ScriptedCritic(True)))
    client = connect(service)
    stream = client.subgoals(client.submit(FRAME, "go"), deadline_s=10, verified_only=False)
    (goal,) = stream
    assert goal.status is SubgoalStatus.FAILED and goal.image is None
    assert "no memory" in goal.message.error and stream.status is SequenceStatus.FAILED


def test_a_late_joiner_gets_the_whole_sequence(serve: Any, connect: Any) -> None:
    service = serve(pipeline_of())
    first = connect(service)
    task_id = first.submit(FRAME, "go")
    assert len(list(first.subgoals(task_id, deadline_s=10))) == 2
    late = connect(service).subgoals(task_id, deadline_s=10)
    assert [goal.step for goal in late] == [1, 2]
    assert late.status is SequenceStatus.VERIFIED


@pytest.mark.parametrize("damage", ["drop", "duplicate", "reorder", "truncate"])
def test_a_bad_network_costs_nothing(serve: Any, connect: Any, monkeypatch: pytest.MonkeyPatch, damage: str) -> None:
    """Between socket and decoder messages get lost, doubled, swapped or cut; what arrives is whole and in order."""
    service = serve(pipeline_of(steps=4, paint_s=0.02))
    client = connect(service)
    random = np.random.default_rng(4)
    real = client._sub.recv_multipart
    held: list[list[Any]] = []

    def recv(*arguments: Any, **options: Any) -> list[Any]:
        return [zmq.Frame(part) for part in damaged([frame.bytes for frame in real(*arguments, **options)])]

    def damaged(parts: list[bytes]) -> list[bytes]:
        hit = random.random() < 0.5
        if damage == "drop" and hit:
            return [b"lost"]
        if damage == "truncate" and hit:
            return [*parts[:2], parts[2][:-1]] if parts[2] else [parts[0], parts[1][:-3], b""]
        if damage == "duplicate" and hit:
            held.append(parts)
        if damage in ("duplicate", "reorder") and held and not hit:
            earlier = held.pop()
            held.clear()
            return earlier
        if damage == "reorder" and hit:
            held.append(parts)
            return [b"later"]
        return parts

    monkeypatch.setattr(client._sub, "recv_multipart", recv, raising=False)
    seen: list[int] = []
    stream = client.subgoals(client.submit(FRAME, "go"), deadline_s=20, on_message=lambda m: seen.append(m.seq))
    assert [goal.step for goal in stream] == [1, 2, 3, 4]
    assert stream.status is SequenceStatus.VERIFIED
    assert seen == list(range(1, len(seen) + 1))


def test_a_slow_robot_misses_nothing(serve: Any, connect: Any) -> None:
    service = serve(pipeline_of(steps=6), config={"hwm": 1})
    client = connect(service)
    stream = client.subgoals(client.submit(FRAME, "go"), deadline_s=20)
    steps = []
    for goal in stream:
        steps.append(goal.step)
        time.sleep(0.15)
    assert steps == [1, 2, 3, 4, 5, 6]


def test_two_clients_see_the_same(serve: Any, connect: Any) -> None:
    service = serve(pipeline_of(steps=3, paint_s=0.02))
    submitter, watcher = connect(service), connect(service)
    seen: list[int] = []

    def watch() -> None:
        task_id = watcher.wait_for_task(10)
        seen.extend(goal.step for goal in watcher.subgoals(task_id, deadline_s=10))

    thread = threading.Thread(target=watch)
    thread.start()
    time.sleep(0.1)
    stream = submitter.subgoals(submitter.submit(FRAME, "go"), deadline_s=10)
    assert [goal.step for goal in stream] == [1, 2, 3]
    thread.join(10)
    assert seen == [1, 2, 3]


def test_the_newest_task_replaces_the_pending_one_whose_submitter_is_told(serve: Any, connect: Any) -> None:
    service = serve(pipeline_of(paint_s=0.3))
    client = connect(service)
    client.wait_ready(5)
    ids = [client.submit(FRAME, f"task {n}") for n in range(3)]
    streams = [client.subgoals(task_id, deadline_s=10) for task_id in ids]
    counts = [len(list(stream)) for stream in streams]
    assert counts == [2, 0, 2]
    assert streams[1].status is SequenceStatus.CANCELLED and streams[1].reason == "replaced by a newer task"
    assert streams[0].status is streams[2].status is SequenceStatus.VERIFIED


def test_cancel_stops_at_the_next_denoising_step(serve: Any, connect: Any) -> None:
    painter = NoiseGenerator(60)
    service = serve(VisualSubgoalPipeline(ScriptedPlanner(plan_of("a")), painter, ScriptedCritic(True)))
    client = connect(service)
    task_id = client.submit(FRAME, "go")
    assert painter.started.wait(5)
    assert client.cancel() == (task_id,)
    stream = client.subgoals(task_id, deadline_s=10)
    assert list(stream) == [] and stream.status is SequenceStatus.CANCELLED
    assert client.cancel(task_id) == ()


class Stuck:
    """A generator that looks at no deadline and no cancel until it is let go."""

    name = "stuck"

    def __init__(self) -> None:
        self.go = threading.Event()

    def generate(self, image: Any, prompt: str, context: Any) -> Any:
        self.go.wait(30)
        return image.copy()


@pytest.mark.parametrize("way", ["cancel", "deadline"])
def test_models_that_do_not_listen_cannot_delay_the_terminal_status(serve: Any, connect: Any, way: str) -> None:
    stuck = Stuck()
    service = serve(VisualSubgoalPipeline(ScriptedPlanner(plan_of("a")), stuck, ScriptedCritic(True)))
    client = connect(service)
    client.wait_ready(5)
    task_id = client.submit(FRAME, "go", deadline_s=0.2 if way == "deadline" else None)
    if way == "cancel":
        client.cancel(task_id)
    stream = client.subgoals(task_id, deadline_s=10)
    assert list(stream) == []
    assert stream.status is (SequenceStatus.EXPIRED if way == "deadline" else SequenceStatus.CANCELLED)
    second = client.subgoals(client.submit(FRAME, "again"), deadline_s=10)
    stuck.go.set()
    assert [goal.step for goal in second] == [1], "the next task runs as soon as the models are free"


def test_a_task_past_its_deadline_expires(serve: Any, connect: Any) -> None:
    service = serve(pipeline_of(paint_s=60))
    client = connect(service)
    stream = client.subgoals(client.submit(FRAME, "go", deadline_s=0.3), deadline_s=10)
    assert list(stream) == []
    assert stream.status is SequenceStatus.EXPIRED and "budget" in stream.reason


def test_a_pipeline_of_ones_own_stays_itself(serve: Any, connect: Any) -> None:
    class Watched(VisualSubgoalPipeline):
        streams = 0

        def stream(self, *arguments: Any) -> Any:
            Watched.streams += 1
            return super().stream(*arguments)

    plain = pipeline_of()
    service = serve(Watched(plain.planner, plain.generator, plain.critic))
    client = connect(service)
    assert len(list(client.subgoals(client.submit(FRAME, "go", max_attempts=2), deadline_s=10))) == 2
    assert Watched.streams == 1


def test_attempts_per_task(serve: Any, connect: Any) -> None:
    service = serve(pipeline_of(False, steps=1))
    client = connect(service)
    stream = client.subgoals(client.submit(FRAME, "go", max_attempts=5), deadline_s=10, verified_only=False)
    assert [goal.message.attempts for goal in stream] == [5]


def test_loading_is_visible_and_tasks_wait_for_it(serve: Any, connect: Any) -> None:
    loaded = threading.Event()

    def load() -> VisualSubgoalPipeline:
        assert loaded.wait(10)
        return pipeline_of()

    service = serve(load)
    client = connect(service)
    assert client.ping().state == "loading"
    with pytest.raises(TransportError, match="it is loading"):
        client.wait_ready(0.2)
    stream = client.subgoals(client.submit(FRAME, "go"), deadline_s=10)
    loaded.set()
    assert len(list(stream)) == 2


def test_models_that_do_not_load_are_said_to_be_broken(
    serve: Any, connect: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)

    def load() -> VisualSubgoalPipeline:
        raise CheckpointError("no checkpoint at models/planner; fetch it")

    service = serve(load)
    client = connect(service)
    with pytest.raises(ItkError, match="no checkpoint at models/planner"):
        client.wait_ready(5)
    with pytest.raises(TransportError, match="broken"):
        client.submit(FRAME, "go")
    with pytest.raises(ItkError, match="no checkpoint at models/planner") as broken:
        service.wait_ready(5)
    assert not isinstance(broken.value, TransportError), "waiting longer would not help"
    stream = client.subgoals(service.submit(FRAME, _task("go")), deadline_s=10)
    assert list(stream) == [] and "no checkpoint" in stream.reason


def _task(text: str) -> Any:
    from itk_embodied.types import Task

    return Task(text)


def test_bad_requests_are_refused_with_a_sentence_and_the_service_lives_on(serve: Any, connect: Any) -> None:
    service = serve(pipeline_of())
    client = connect(service)
    with pytest.raises(InputError, match="the task is empty"):
        client.submit(FRAME, "  ")
    with pytest.raises(InputError, match="at least 32 px"):
        client.submit(np.zeros((1, 1, 3), np.uint8), "go")
    info, payload = wire.ImageInfo(encoding="png", height=40, width=40, size_bytes=9), b"not a png"
    answers = [
        _ask(service, [b"request"]),
        _ask(service, [b"request", b"\xc1", b""]),
        _ask(service, [b"request", encode(wire.Ping(request_id="r", version=7))[1], b""]),
        _ask(service, encode(wire.Heartbeat(state="ready"))),
        _ask(service, encode(_submit(info), payload)),
        _ask(service, encode(_submit(info, task=" "), payload)),
    ]
    expected = ["3 ZeroMQ frames", "not a msgpack map", "wire version 7", "not a request", "not a whole png", "not a"]
    for answer, says in zip(answers, expected, strict=True):
        assert isinstance(answer, Refused) and says in answer.error
    assert len(list(client.subgoals(client.submit(FRAME, "go"), deadline_s=10))) == 2


def _submit(info: wire.ImageInfo, task: str = "go") -> wire.Submit:
    return wire.Submit(request_id="r", task_id="abcdefgh", task=task, stamp_ns=1, frame_id="f", image=info)


def _ask(service: SubgoalService, parts: Any) -> wire.Message:
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.linger = 0
        socket.connect(service.requests_address)
        socket.send_multipart(parts)
        assert socket.poll(5000)
        return decode(socket.recv_multipart()).message


def test_submitting_twice_runs_once(serve: Any, connect: Any) -> None:
    heard: list[Any] = []
    service = serve(pipeline_of(), on_message=lambda message, payload: heard.append(message))
    client = connect(service)
    info, payload = wire.ImageInfo(encoding="raw", height=48, width=64, size_bytes=48 * 64 * 3), FRAME.image.tobytes()
    for _ in range(2):
        assert isinstance(_ask(service, encode(_submit(info), payload)), wire.SubmitReply)
    assert len(list(client.subgoals("abcdefgh", deadline_s=10))) == 2
    assert sum(isinstance(message, PlanMessage) for message in heard) == 1


def test_the_exact_stamp_of_a_source_that_counts_nanoseconds_is_kept(serve: Any, connect: Any) -> None:
    service = serve(pipeline_of())
    client = connect(service)
    task_id = service.submit(FRAME, _task("go"), stamp_ns=1_700_000_000_123_456_789)
    assert {goal.stamp_ns for goal in client.subgoals(task_id, deadline_s=10)} == {1_700_000_000_123_456_789}


def test_a_service_that_stops_says_so_to_everybody(serve: Any, connect: Any) -> None:
    service = serve(pipeline_of(paint_s=60))
    client = connect(service)
    client.wait_ready(5)
    stream = client.subgoals(client.submit(FRAME, "go"), deadline_s=10)
    threading.Timer(0.3, service.stop).start()
    assert list(stream) == []
    assert stream.status is SequenceStatus.CANCELLED and stream.reason == "the service stopped"


def test_a_service_that_is_gone_is_noticed_within_the_budget(serve: Any, connect: Any) -> None:
    service = serve(pipeline_of())
    client = connect(service, timeout_s=0.3, dead_after_s=0.5, patience_s=0)
    client.ping()
    service.stop()
    with pytest.raises(TransportError) as request:
        client.ping()
    for words in (service.requests_address, "within 0.3 s", "Check that it runs"):
        assert words in str(request.value)
    with pytest.raises(TransportError, match=r"silent for .*budget 0.5 s.*submit again") as silence:
        list(client.subgoals("abcdefgh", deadline_s=10))
    assert service.stream_address in str(silence.value)


def test_the_default_budget_for_a_dead_service_is_three_seconds() -> None:
    with SubgoalClient("tcp://127.0.0.1:9", "tcp://127.0.0.1:9") as client:
        assert client.dead_after_s == 3.0
        assert ServiceConfig().heartbeat_s == 1.0


def test_a_restarted_service_does_not_know_old_tasks(serve: Any, connect: Any) -> None:
    first = serve(pipeline_of(paint_s=60))
    client = connect(first, timeout_s=2.0)
    task_id = client.submit(FRAME, "go")
    addresses = {"stream": first.stream_address, "requests": first.requests_address}
    stream = client.subgoals(task_id, deadline_s=10)
    first.stop()
    serve(pipeline_of(), config=addresses)
    client.wait_ready(5)
    assert list(stream) == [] and stream.status is SequenceStatus.FAILED
    assert "was restarted and lost the task" in stream.reason
    with pytest.raises(TransportError, match="does not know task"):
        list(connect(first).subgoals(task_id, deadline_s=10))


def test_a_stream_past_its_own_deadline_says_so(serve: Any, connect: Any) -> None:
    service = serve(pipeline_of(paint_s=60))
    client = connect(service)
    with pytest.raises(TransportError, match=r"did not end within the 0.3 s given to subgoals"):
        list(client.subgoals(client.submit(FRAME, "go"), deadline_s=0.3))
    with pytest.raises(TransportError, match="no task was started"):
        connect(serve(pipeline_of())).wait_for_task(0.2)


def test_addresses_that_others_could_reach_are_refused() -> None:
    for address in ("tcp://0.0.0.0:5591", "tcp://*:5591", "tcp://192.168.1.5:5591", "tcp://robot.local:5591"):
        with pytest.raises(ConfigError, match="reached from other machines"):
            SubgoalService(pipeline_of(), ServiceConfig(stream=address, requests="tcp://127.0.0.1:0"))
        with pytest.raises(ConfigError, match="SSH tunnel"):
            SubgoalClient(address)
    for address in ("127.0.0.1:5591", "tcp://127.0.0.1", "tcp://127.0.0.1:70000", "udp://127.0.0.1:1", ""):
        with pytest.raises(ConfigError, match="not understood"):
            SubgoalClient(address)


def test_a_port_in_use_names_the_address_and_the_remedy(serve: Any) -> None:
    service = serve(pipeline_of())
    with pytest.raises(TransportError, match=r"another process has that port.*another port") as error:
        serve(pipeline_of(), config={"stream": service.stream_address})
    assert service.stream_address in str(error.value)


def test_starting_twice_is_an_error_and_stopping_twice_is_not(serve: Any) -> None:
    service = serve(pipeline_of())
    with pytest.raises(TransportError, match="started already"):
        service.start()
    service.stop()
    service.stop()
    never = SubgoalService(pipeline_of(), ServiceConfig(**ANYWHERE))
    never.stop()


def test_a_listener_that_raises_does_not_end_the_service(
    serve: Any, connect: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    service = serve(pipeline_of(), on_message=lambda message, payload: 1 / 0)
    client = connect(service)
    assert len(list(client.subgoals(client.submit(FRAME, "go"), deadline_s=10))) == 2


def test_wrong_settings_are_refused() -> None:
    for wrong in ({"deadline_s": 0}, {"heartbeat_s": -1}, {"hwm": 0}, {"encoding": "gif"}):
        with pytest.raises(ConfigError):
            ServiceConfig(**wrong)  # type: ignore[arg-type]
    with SubgoalService(pipeline_of(), ServiceConfig(**ANYWHERE)) as service:
        with pytest.raises(ConfigError, match="deadline_s"):
            service.submit(FRAME, _task("go"), deadline_s=-1)
        with pytest.raises(ConfigError, match="max_attempts"):
            service.submit(FRAME, _task("go"), max_attempts=0)


def test_messages_that_carry_pictures_are_subgoals_only(serve: Any, connect: Any) -> None:
    service = serve(pipeline_of())
    client = connect(service)
    task_id = client.submit(FRAME, "go")
    list(client.subgoals(task_id, deadline_s=10))
    _, received = client.snapshot(task_id)
    assert all(bool(len(r.payload)) == isinstance(r.message, SubgoalMessage) for r in received)
