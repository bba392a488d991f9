"""visual_subgoal_node between real ROS processes: bare rclpy and bare roslibpy on the other side, a real rosbridge."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ros_world import HOW, ROS_PYTHON, RealBridge, RosProcess, free_port, have_ros

pytestmark = pytest.mark.skipif(not have_ros(), reason=HOW)


@pytest.fixture
def bridge() -> Iterator[RealBridge]:
    with RealBridge() as bridge:
        yield bridge


@pytest.fixture
def run() -> Iterator[Callable[..., RosProcess]]:
    started: list[RosProcess] = []

    def start(*arguments: str) -> RosProcess:
        python = sys.executable if "rosbridge" in arguments else ROS_PYTHON
        started.append(RosProcess(python, *arguments))
        return started[-1]

    yield start
    for process in reversed(started):
        process.end()


def node_arguments(backend: str, bridge: RealBridge | None, paint_s: float) -> tuple[str, ...]:
    where = ("--bridge", bridge.url) if bridge and backend == "rosbridge" else ()
    return ("node", str(paint_s), "--backend", backend, *where)


def robot_arguments(kind: str, bridge: RealBridge | None) -> tuple[str, ...]:
    return (kind, bridge.url) if bridge and kind == "roslibpy" else (kind,)


def is_end(said: dict[str, Any]) -> bool:
    return said.get("topic") == "status" and bool(said["terminal"])


def of(said: list[dict[str, Any]], topic: str) -> list[dict[str, Any]]:
    return [one for one in said if one.get("topic") == topic]


def is_whole(said: list[dict[str, Any]]) -> bool:
    return len(of(said, "subgoal")) == 3 and len(of(said, "picture")) == 2 and len(of(said, "plan")) == 1


def check_sequence(said: list[dict[str, Any]]) -> None:
    """Plan, three outcomes, and exactly the verified pictures, all with the source frame's stamp and frame."""
    (plan,), (end,) = of(said, "plan"), [one for one in said if is_end(one)]
    subgoals, pictures = of(said, "subgoal"), of(said, "picture")
    assert [step["instruction"] for step in plan["steps"]] == ["put a in b", "put c in d", "put e in f"]
    assert [goal["status"] for goal in subgoals] == ["verified", "unverified", "verified"]
    assert [goal["step"] for goal in subgoals] == [1, 2, 3]
    assert len(pictures) == 2
    assert len({picture["sha256"] for picture in pictures}) == 2
    assert {picture["frame_id"] for picture in pictures} == {"robot_camera"}
    assert {picture["stamp_ns"] for picture in pictures} == {plan["stamp_ns"]}
    assert (end["state"], end["verified"]) == ("partial", 2)
    assert {one["task_id"] for one in [plan, *subgoals, end]} == {end["task_id"]}


@pytest.mark.parametrize(
    ("robot_kind", "backend"), [("rclpy", "rclpy"), ("roslibpy", "rosbridge"), ("rclpy", "rosbridge")]
)
def test_a_task_over_ros(run: Callable[..., RosProcess], request: Any, robot_kind: str, backend: str) -> None:
    """The robot's frames and task go in; the plan and the subgoals come out, also for one who listens only later."""
    needs_bridge = {"roslibpy", "rosbridge"} & {robot_kind, backend}
    bridge = request.getfixturevalue("bridge") if needs_bridge else None
    node = run(*node_arguments(backend, bridge, 0.02))
    robot = run(*robot_arguments(robot_kind, bridge))
    node.ready()
    robot.ready()
    robot.tell("put everything away")
    said = robot.hear(is_end)
    while not is_whole(said):  # the order of messages on different topics is nobody's promise
        said += robot.hear(lambda one: "topic" in one)
    check_sequence(said)
    if robot_kind == "rclpy":
        late = run(*robot_arguments(robot_kind, bridge), "listen")
        told: list[dict[str, Any]] = []
        while not is_whole(told):
            told += late.hear(lambda one: "topic" in one)
        assert of(told, "subgoal") == of(said, "subgoal")
        assert {p["sha256"] for p in of(told, "picture")} == {p["sha256"] for p in of(said, "picture")}
    node.process.send_signal(signal.SIGTERM)
    assert node.process.wait(15) == 0, "".join(node.errors)
    assert "Traceback" not in "".join(node.errors)


def test_the_bridge_is_killed_and_restarted_in_mid_task(run: Callable[..., RosProcess], bridge: RealBridge) -> None:
    """Node and robot live on, what was said meanwhile is said again, and the robot hears the task's terminal status."""
    node = run(*node_arguments("rosbridge", bridge, 1.0))
    robot = run("rclpy")
    node.ready()
    robot.ready()
    robot.tell("put everything away")
    said = robot.hear(lambda one: one.get("topic") == "plan")
    bridge.kill()
    assert node.process.poll() is None and robot.process.poll() is None
    bridge.start()
    said += robot.hear(is_end, 40)
    assert said[-1]["state"] == "partial"
    while {goal["step"] for goal in of(said, "subgoal") if goal["status"] == "verified"} != {1, 3}:
        said += robot.hear(lambda one: one.get("topic") == "subgoal")
    assert "was lost; trying again" in "".join(node.errors) and "is back" in "".join(node.errors)
    assert node.process.poll() is None and robot.process.poll() is None
    said.clear()
    robot.tell("put everything away again")  # frames and tasks get in again
    said = robot.hear(lambda one: is_end(one) and one["task"] == "put everything away again", 40)
    assert said[-1]["state"] == "verified"


def test_a_missing_bridge_is_one_line(run: Callable[..., RosProcess], monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"ws://127.0.0.1:{free_port()}"
    monkeypatch.setenv("ITK_ROSBRIDGE_WAIT_S", "0.5")
    node = run("node", "0.02", "--backend", "rosbridge", "--bridge", url)
    assert node.process.wait(20) == 1
    (line,) = node.errors
    for part in (url, "127.0.0.1", "tried for 0.5 s", "refused", "--bridge"):
        assert part in line
