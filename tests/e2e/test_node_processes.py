"""Camera, node and robot as three real processes: the robot receives exactly the verified subgoals."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from scripted import gradient_image

from itk_embodied.images import save_png

TESTS = Path(__file__).resolve().parent.parent
BUDGET_S = 30.0


class Process:
    """One role in a process of its own; what it says comes line by line."""

    def __init__(self, *arguments: str) -> None:
        paths = [str(TESTS), *(str(TESTS.parent / part) for part in (".", "nodes"))]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, str(TESTS / "graph_roles.py"), *arguments]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self.said: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.put(json.loads(line))
        self.said.put(None)

    def hear(self, key: str) -> dict[str, Any]:
        """The next thing it says that has this key."""
        while (said := self.said.get(timeout=BUDGET_S)) is not None:
            if key in said:
                return said
        raise AssertionError(f"the process ended without saying {key!r}")

    def rest(self) -> list[dict[str, Any]]:
        said: list[dict[str, Any]] = []
        while (one := self.said.get(timeout=BUDGET_S)) is not None:
            said.append(one)
        return said

    def tell(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)


@pytest.fixture
def run() -> Iterator[Callable[..., Process]]:
    started: list[Process] = []

    def start(*arguments: str) -> Process:
        started.append(Process(*arguments))
        return started[-1]

    yield start
    for process in reversed(started):
        process.end()


def start_all(run: Callable[..., Process], paint_s: float) -> tuple[Process, Process, Process]:
    camera = run("camera", "tcp://127.0.0.1:0")
    node = run("node", camera.hear("address")["address"], str(paint_s))
    addresses = node.hear("stream")
    robot = run("robot", addresses["stream"], addresses["requests"])
    node.hear("ready")
    robot.hear("ready")
    return camera, node, robot


def test_the_robot_gets_exactly_the_verified_subgoals(run: Callable[..., Process]) -> None:
    camera, node, robot = start_all(run, 0.02)
    node.tell("put everything away")
    sequence = node.hear("task_id")
    assert node.hear("ended")["ended"] == "partial"
    *goals, end = [said for said in robot.rest() if "heard" not in said]
    assert sequence["statuses"] == ["verified", "unverified", "verified"]
    assert sequence["frame_id"] == "robot_camera", "the frame came from the camera's process"
    assert [goal["step"] for goal in goals] == [1, 3]
    assert [goal["picture"] for goal in goals] == [sequence["pictures"][0], sequence["pictures"][2]]
    assert {goal["status"] for goal in goals} == {"verified"}
    assert {goal["id"] for goal in goals} == {sequence["task_id"]}
    assert end == {"status": "partial"}
    assert robot.process.wait(10) == 0
    assert camera.process.poll() is None and node.process.poll() is None


def test_sigterm_ends_the_task_for_everybody_and_the_process_cleanly(run: Callable[..., Process]) -> None:
    _, node, robot = start_all(run, 60)
    node.tell("put everything away")
    robot.hear("heard")
    node.process.send_signal(signal.SIGTERM)
    assert robot.rest()[-1] == {"status": "cancelled"}
    assert node.hear("closed")["closed"] and node.process.wait(10) == 0


def test_a_killed_node_is_noticed_by_the_robot(run: Callable[..., Process]) -> None:
    _, node, robot = start_all(run, 60)
    node.tell("put everything away")
    robot.hear("heard")
    node.process.kill()
    error = robot.hear("error")["error"]
    assert "tcp://127.0.0.1:" in error and "budget 3 s" in error and "Check that it runs" in error
    assert robot.process.wait(10) == 0


def test_the_camera_executable_publishes_and_ends_on_sigterm(tmp_path: Path) -> None:
    save_png(gradient_image(), tmp_path / "f.png")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS.parent), str(TESTS.parent / "nodes")])}
    command = [sys.executable, "-m", "itk_nodes.camera_node", "--ros-args", "-p", f"path:={tmp_path / 'f.png'}"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            assert "publishing" in process.stderr.readline()
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0
            assert "Traceback" not in process.stderr.read()
        finally:
            process.kill()
