"""visual_subgoal_node and ROS 1: a real roscore and real rospy processes, through a STAND-IN for its rosbridge.

No package registry has ROS 1's rosbridge server. So these tests show that what our node sends becomes rospy's messages
and the other way round, and that latching, stamps and restarts work with rospy; not that rosbridge_suite does the same.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ros1_world import HOW_ROS1, SYSTEM_PYTHON, Ros1Bridge, Roscore, have_ros1
from ros_world import RosProcess
from scripted import gradient_image

from itk_embodied.images import save_png

pytestmark = pytest.mark.skipif(not have_ros1(), reason=HOW_ROS1)
OK, STALE = 0, 3


@pytest.fixture(scope="module")
def roscore(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Roscore]:
    roscore = Roscore(tmp_path_factory.mktemp("ros1"))
    yield roscore
    roscore.end()


@pytest.fixture
def bridge(roscore: Roscore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ros1Bridge]:
    for name, value in roscore.environment.items():
        monkeypatch.setenv(name, value)
    with Ros1Bridge(roscore, tmp_path) as bridge:
        yield bridge


@pytest.fixture
def run() -> Iterator[Callable[..., RosProcess]]:
    started: list[RosProcess] = []

    def start(*arguments: str, python: str = SYSTEM_PYTHON, script: str = "ros1_robot.py") -> RosProcess:
        started.append(RosProcess(python, *arguments, script=script))
        return started[-1]

    yield start
    for process in reversed(started):
        process.end()


def start_node(run: Callable[..., RosProcess], bridge: Ros1Bridge, paint_s: float) -> RosProcess:
    where = ("--backend", "rosbridge", "--bridge", bridge.url, "--ros-version", "1")
    return run("node", str(paint_s), *where, python=sys.executable, script="ros_roles.py")


def is_end(said: dict[str, Any]) -> bool:
    return said.get("topic") == "status" and bool(said["terminal"])


def of(said: list[dict[str, Any]], topic: str) -> list[dict[str, Any]]:
    return [one for one in said if one.get("topic") == topic]


def hear_until(robot: RosProcess, said: list[dict[str, Any]], enough: Callable[[], bool]) -> None:
    """The order of messages on different topics is nobody's promise."""
    while not enough():
        said += robot.hear(lambda one: True)


def check_pictures(said: list[dict[str, Any]]) -> None:
    """Every picture is that of a subgoal that was verified."""
    verified = {goal["image"]["sha256"] for goal in of(said, "subgoal") if goal["status"] == "verified"}
    assert {picture["sha256"] for picture in of(said, "picture")} == verified


def end_well(node: RosProcess, bridge: Ros1Bridge) -> None:
    node.process.send_signal(signal.SIGTERM)
    assert node.process.wait(15) == 0, "".join(node.errors)
    assert "Traceback" not in "".join(node.errors)
    assert bridge.refused() == []


@pytest.mark.parametrize("camera", ["raw", "compressed"])
def test_a_task_over_ros_1(run: Callable[..., RosProcess], bridge: Ros1Bridge, tmp_path: Path, camera: str) -> None:
    """rospy's frames and task go in; plan, statuses and verified subgoals come out, also for who listens only later."""
    picture = tmp_path / "frame.png"
    save_png(gradient_image(), picture)
    node = start_node(run, bridge, 0.02)
    node.ready()
    robot = run(*((str(picture),) if camera == "compressed" else ()))
    robot.ready()
    said = robot.hear(lambda one: one.get("topic") == "diagnostics" and one["level"] == OK)
    assert said[-1]["values"] and said[-1]["stamp_ns"]
    robot.tell("put everything away")
    said = robot.hear(is_end)
    hear_until(robot, said, lambda: (len(of(said, "subgoal")), len([s for s in said if "mine" in s])) == (3, 2))

    (plan,), (end,), pictures = of(said, "plan"), [one for one in said if is_end(one)], of(said, "picture")
    assert [step["instruction"] for step in plan["steps"]] == ["put a in b", "put c in d", "put e in f"]
    assert [(goal["step"], goal["status"]) for goal in of(said, "subgoal")] == [
        *((1, "verified"), (2, "unverified"), (3, "verified"))
    ]
    check_pictures(said)
    assert all(one["mine"] for one in said if "mine" in one)  # to the nanosecond
    assert {(p["stamp_ns"], p["frame_id"]) for p in pictures} == {(plan["stamp_ns"], "robot_camera")}
    assert [one["state"] for one in of(said, "status")] == ["accepted", "running", "partial"]
    assert {one["task_id"] for one in [plan, *of(said, "subgoal"), *of(said, "status")]} == {end["task_id"]}

    late = run("listen")
    told: list[dict[str, Any]] = []
    hear_until(late, told, lambda: {one.get("topic") for one in told} >= {"plan", "subgoal", "picture", "status"})
    assert (of(told, "plan"), of(told, "status")) == ([plan], [end])
    assert of(told, "subgoal") == of(said, "subgoal")[-1:]  # ROS 1 latches one message a topic
    assert of(told, "picture") == pictures[-1:]
    end_well(node, bridge)


def test_the_bridge_is_killed_and_restarted_in_mid_task(run: Callable[..., RosProcess], bridge: Ros1Bridge) -> None:
    """Node and robot live on; what was said meanwhile arrives, the task's terminal status too; the next task runs."""
    node = start_node(run, bridge, 1.0)
    node.ready()
    robot = run()
    robot.ready()
    robot.tell("put everything away")
    said = robot.hear(lambda one: one.get("topic") == "plan")
    bridge.kill()
    assert node.process.poll() is None and robot.process.poll() is None
    said = [one for one in said if "peer" not in one]
    bridge.start()
    said += robot.hear(is_end, 40)
    assert said[-1]["state"] == "partial"
    task_id = said[-1]["task_id"]
    hear_until(robot, said, lambda: {goal["step"] for goal in of(said, "subgoal")} == {1, 2, 3})
    hear_until(robot, said, lambda: len({picture["sha256"] for picture in of(said, "picture")}) == 2)
    check_pictures(said)
    assert {one["task_id"] for one in of(said, "subgoal")} == {task_id}
    assert {goal["step"]: goal["status"] for goal in of(said, "subgoal")}[2] == "unverified"
    assert "was lost; trying again" in "".join(node.errors) and "is back" in "".join(node.errors)
    assert robot.process.poll() is None

    hear_until(robot, said, lambda: len({one["peer"] for one in said if "peer" in one}) == 3)
    robot.tell("put it away again")  # frames, tasks and cancels get in again
    robot.hear(lambda one: one.get("topic") == "status" and one["state"] == "running" and one["task"].endswith("again"))
    robot.tell("!cancel")
    assert robot.hear(lambda one: is_end(one) and one["task_id"] != task_id)[-1]["state"] == "cancelled"
    end_well(node, bridge)
