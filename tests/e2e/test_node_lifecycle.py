"""The managed node: its states, its standard services, and what it refuses in which state."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from node_bench import NODE, Bench, pipeline_of

from itk_embodied import ros
from itk_embodied.errors import ConfigError
from itk_embodied.pipeline import VisualSubgoalPipeline
from itk_embodied.ros.pictures import stamp_ns
from itk_nodes import rosout
from itk_nodes.lifecycle_graph import EDGES, State, edge

MANUAL = ("--ros-args", "-p", "autostart:=false")


@pytest.fixture
def bench() -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def make(*args: Any, **options: Any) -> Bench:
        made.append(Bench(*args, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()
    ros.try_shutdown()


def call(b: Bench, service: str, kind: str, **fields: Any) -> Any:
    type_ = ros.message_type(f"lifecycle_msgs/srv/{kind}")
    client = b.outside.create_client(type_, f"{NODE}/{service}")
    assert client.wait_for_service(timeout_sec=5)
    future = client.call_async(type_.Request(**fields))
    b.until(future.done)
    b.outside.destroy_client(client)
    return future.result()


def change(b: Bench, label: str) -> bool:
    transition = ros.message_type("lifecycle_msgs/msg/Transition")(label=label)
    return bool(call(b, "change_state", "ChangeState", transition=transition).success)


def state(b: Bench) -> str:
    return str(call(b, "get_state", "GetState").current_state.label)


def level(b: Bench) -> tuple[Any, str]:
    """What a diagnosis says that was made from now on."""
    now_ns = b.outside.get_clock().now().nanoseconds
    said = b.heard["diagnostics"]
    b.until(lambda: said and stamp_ns(said[-1].header) >= now_ns, 3)
    return said[-1].status[0].level, said[-1].status[0].message


def test_through_all_states_and_back(bench: Any) -> None:
    loads: list[int] = []

    def load() -> VisualSubgoalPipeline:
        loads.append(1)
        return pipeline_of()

    b = bench(load, MANUAL)
    events = b.listen(f"{NODE}/transition_event", ros.message_type("lifecycle_msgs/msg/TransitionEvent"))
    assert state(b) == "unconfigured" and not loads, "nothing is loaded before somebody configures it"
    assert not change(b, "activate"), "there is no such way"
    assert change(b, "configure") and state(b) == "inactive" and loads == [1]
    assert change(b, "activate") and state(b) == "active"
    b.show()
    b.ask("go")
    b.until(lambda: b.ends)
    assert b.ends[0]["state"] == "verified"
    assert change(b, "deactivate") and change(b, "cleanup") and state(b) == "unconfigured"
    assert change(b, "configure") and loads == [1, 1], "the models are loaded again"
    assert change(b, "shutdown") and state(b) == "finalized"
    b.until(lambda: len(events) >= 12)
    assert [e.goal_state.label for e in events[:4]] == ["configuring", "inactive", "activating", "active"]
    assert all(e.timestamp > 0 for e in events)


@pytest.mark.parametrize(("steps", "says"), [((), "unconfigured"), (("configure",), "inactive")])
def test_a_task_for_a_node_that_is_not_active_is_refused_and_told_what_to_do(
    bench: Any, steps: tuple[str, ...], says: str
) -> None:
    b = bench(pipeline_of(), MANUAL)
    for step in steps:
        assert change(b, step)
    b.show()
    b.ask("go")
    b.until(lambda: b.ends)
    assert b.ends[0]["refused"] and f"the node is {says}" in b.ends[0]["reason"]
    assert "ros2 lifecycle set /visual_subgoal_node" in b.ends[0]["reason"]
    assert level(b) == (b"\x01", f"the node is {says}" + (": ready" if steps else ""))


def test_deactivating_ends_the_task_with_a_status(bench: Any) -> None:
    b = bench(pipeline_of(paint_s=60))
    b.show()
    b.ask("go")
    b.until(lambda: b.subject.lifecycle.active and any(s["state"] == "running" for s in b.statuses))
    assert change(b, "deactivate")
    b.until(lambda: b.ends)
    assert b.ends[0]["state"] == "cancelled" and state(b) == "inactive"


def test_a_node_starts_by_itself_and_shows_that_it_loads(bench: Any) -> None:
    loaded = threading.Event()

    def load() -> VisualSubgoalPipeline:
        assert loaded.wait(10)
        return pipeline_of()

    b = bench(load)
    assert state(b) == "configuring", "it answers while it loads"
    assert level(b) == (b"\x01", "the node is configuring: loading")
    b.show()
    b.ask("go")
    loaded.set()
    b.until(lambda: b.ends)
    assert b.ends[0]["state"] == "verified", "a task waits for models that load by themselves"
    b.until(lambda: b.subject.lifecycle.active)


def test_models_that_do_not_load_leave_it_unconfigured_and_it_may_be_tried_again(
    bench: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("CRITICAL")
    there = threading.Event()

    def load() -> VisualSubgoalPipeline:
        if there.is_set():
            return pipeline_of()
        raise ConfigError("no such checkpoint")

    b = bench(load, MANUAL)
    assert not change(b, "configure") and state(b) == "unconfigured"
    assert level(b) == (b"\x02", "the models did not load: no such checkpoint")
    there.set()
    assert change(b, "configure") and change(b, "activate") and state(b) == "active"


def test_a_port_in_use_is_an_error_that_it_recovers_from(bench: Any, caplog: pytest.LogCaptureFixture) -> None:
    from itk_embodied.service import ServiceConfig, SubgoalService

    caplog.set_level("CRITICAL")
    other = SubgoalService(pipeline_of(), ServiceConfig(stream="tcp://127.0.0.1:0", requests="tcp://127.0.0.1:0"))
    with other:
        taken = ServiceConfig(stream=other.stream_address, requests="tcp://127.0.0.1:0")
        b = bench(pipeline_of(), MANUAL, service=taken)
        assert not change(b, "configure") and state(b) == "unconfigured"
        assert "another process has that port" in str(b.subject.lifecycle.error)
    assert change(b, "configure") and state(b) == "inactive"


def test_the_standard_lists(bench: Any) -> None:
    b = bench(pipeline_of(), MANUAL)
    states = call(b, "get_available_states", "GetAvailableStates").available_states
    assert [(s.id, s.label) for s in states][:5] == [
        (0, "unknown"),
        (1, "unconfigured"),
        (2, "inactive"),
        (3, "active"),
        (4, "finalized"),
    ]
    here = call(b, "get_available_transitions", "GetAvailableTransitions").available_transitions
    assert [(t.transition.id, t.transition.label, t.goal_state.label) for t in here] == [
        (1, "configure", "configuring"),
        (5, "shutdown", "shuttingdown"),
    ]
    graph = call(b, "get_transition_graph", "GetAvailableTransitions").available_transitions
    assert len(graph) == len(EDGES) == 25


def test_the_ways_are_rcl_lifecycles() -> None:
    shutdowns = {state: edge(state, "shutdown") for state in (State.UNCONFIGURED, State.INACTIVE, State.ACTIVE)}
    assert [way.id for way in shutdowns.values() if way] == [5, 6, 7]
    assert edge(State.ERRORPROCESSING, 60) == next(e for e in EDGES if e.id == 60)
    assert edge(State.ACTIVE, "configure") is None
    for middle in (State.CONFIGURING, State.CLEANINGUP, State.ACTIVATING, State.DEACTIVATING):
        error = edge(middle, "transition_error")
        assert error is not None and error.goal is State.ERRORPROCESSING


@pytest.mark.parametrize(
    ("encoding", "says"), [("16UC1", "16 bits a channel"), ("mono16", "16 bits a channel"), ("yuv422", "not supported")]
)
def test_frames_that_cannot_be_read_are_said_at_once_and_refused(bench: Any, encoding: str, says: str) -> None:
    b = bench(pipeline_of(), ("--ros-args", "-p", "frame_wait_s:=0.0"))
    b.until(lambda: b.subject.lifecycle.active)
    b.show(encoding=encoding)
    b.until(lambda: b.subject.frames.count == 1)
    got, message = level(b)
    assert got == b"\x02" and says in message
    b.show(encoding=encoding)
    b.until(lambda: b.subject.frames.count == 2)
    b.ask("go")
    b.until(lambda: b.ends)
    assert b.ends[0]["refused"] and says in b.ends[0]["reason"]


def test_a_topic_of_another_type_is_named(bench: Any, caplog: pytest.LogCaptureFixture) -> None:
    b = bench(pipeline_of())
    b.until(lambda: b.subject.lifecycle.active)
    b.outside.create_publisher(ros.message_type("std_msgs/msg/String"), f"{NODE}/image", 1)
    got, message = level(b)
    assert got == b"\x02"
    assert f"topic {NODE}/image has the type std_msgs/msg/String elsewhere" in message
    said = [r.getMessage() for r in caplog.records if "elsewhere" in r.getMessage()]
    assert len(said) == 1, "said once, not every second"


def test_every_status_names_the_session(bench: Any) -> None:
    b = bench(pipeline_of())
    b.ask("")
    b.until(lambda: b.ends)
    b.until(lambda: b.heard["diagnostics"])
    values = {pair.key: pair.value for pair in b.heard["diagnostics"][-1].status[0].values}
    assert b.ends[0]["session"] == b.subject.session == values["session"]
    assert json.loads(b.heard["status"][0].data)["terminal"] is True


def test_log_lines_go_to_rosout(bench: Any) -> None:
    b = bench(pipeline_of(), MANUAL)
    end = rosout.attach(b.at)
    lines = b.listen("/rosout", ros.message_type("rcl_interfaces/msg/Log"))
    b.at.get_logger().warning("hot")
    b.until(lambda: lines)
    end()
    b.at.get_logger().error("unheard")
    assert [(one.name, one.level, one.msg) for one in lines] == [("visual_subgoal_node", 30, "hot")]
    assert lines[0].stamp.sec > 1_600_000_000
