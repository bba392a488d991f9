"""The simulator demo over real ROS 2: camera_node, visual_subgoal_node and policy_node as three processes.

    .venv-ros/bin/python launch/demo_ros2.py --task "put the red cube in the drawer" --out out/demo-ros2

This program is the user: it publishes the task and waits for what policy_node says of it. Exit code 0 where the arm
achieved the task through verified goal images, 4 where not.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from itk_embodied import ros
from itk_embodied.errors import ItkError
from itk_nodes import topics
from itk_nodes.runtime import stop_on_signals

HERE = Path(__file__).resolve().parent
NODE, POLICY = "/visual_subgoal_node", "/policy_node"


class User:
    """The user's own ROS node: says the task, hears how it goes."""

    def __init__(self, processes: dict[str, subprocess.Popen[bytes]], logs: Path, stop: Any) -> None:
        self.processes, self.logs, self.stop = processes, logs, stop
        self.node = ros.create_node("demo_user")
        self.levels: list[bytes] = []
        self.statuses: list[dict[str, Any]] = []
        self.policy: list[dict[str, Any]] = []
        String = ros.message_type(topics.STRING)
        self.task = self.node.create_publisher(String, f"{NODE}/task", topics.words())
        self.node.create_subscription(String, f"{NODE}/status", self._hear(self.statuses), topics.current())
        self.node.create_subscription(String, f"{POLICY}/status", self._hear(self.policy), topics.current())
        self.node.create_subscription(
            ros.message_type(topics.DIAGNOSTICS), "/diagnostics", self._on_diagnostics, topics.words()
        )

    def _hear(self, into: list[dict[str, Any]]) -> Callable[[Any], None]:
        def take(message: Any) -> None:
            said = json.loads(message.data)
            into.append(said)
            print(f"{said['state']}: {said.get('reason') or said.get('task') or said.get('step') or ''}", flush=True)

        return take

    def _on_diagnostics(self, message: Any) -> None:
        for status in message.status:
            if status.hardware_id == NODE:
                if not self.levels or self.levels[-1] != status.level:
                    print(f"{NODE}: {status.message}", flush=True)
                self.levels.append(status.level)

    def until(self, condition: Callable[[], object], budget_s: float, what: str) -> None:
        ends_s = time.monotonic() + budget_s
        while not condition():
            for name, process in self.processes.items():
                if process.poll() is not None:
                    raise ItkError(f"{name} ended with exit code {process.returncode}: {last_line(self.logs, name)}")
            if self.stop.is_set():
                raise ItkError("interrupted")
            if time.monotonic() > ends_s:
                raise ItkError(f"{what} did not happen within {budget_s:g} s; see the logs in {self.logs}.")
            ros.spin_once(self.node, timeout_sec=0.1)


def last_line(logs: Path, name: str) -> str:
    lines = (logs / f"{name}.log").read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"


def free_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"tcp://127.0.0.1:{server.getsockname()[1]}"


@contextlib.contextmanager
def started(commands: dict[str, list[str]], logs: Path) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """The processes, ended with the block."""
    logs.mkdir(parents=True, exist_ok=True)
    processes: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for name, command in commands.items():
            with (logs / f"{name}.log").open("wb") as log:
                processes[name] = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        yield processes
    finally:
        for process in processes.values():
            process.terminate()
        for process in processes.values():
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(15)


def commands_for(options: argparse.Namespace) -> dict[str, list[str]]:
    frames, stream, requests = (free_address() for _ in range(3))
    python = [sys.executable, "-m"]
    backend = ["--backend", options.backend]
    robot = {"task": options.task, "seed": options.seed, "frames": frames, "out": str(options.out)}
    return {
        "camera_node": [
            *(*python, "itk_nodes.camera_node", *backend, "--ros-args"),
            *("-p", "source:=zmq", "-p", f"address:={frames}"),
        ],
        "visual_subgoal_node": [
            *(*python, "itk_nodes.visual_subgoal_node", *backend),
            *("--stack", options.stack, "--stream", stream, "--requests", requests, "--ros-args"),
            *("-r", "~/image:=/camera_node/image", "-p", f"record_path:={options.out / 'run.mcap'}"),
            *("-p", "record_frames:=used", "-p", "frame_wait_s:=10.0"),
        ],
        "policy_node": [
            *(*python, "itk_nodes.policy_node", *backend),
            *("--policy", "itk_nodes.sim_policy:SimTable", "--policy-options", json.dumps(robot)),
        ],
    }


def run(options: argparse.Namespace) -> bool:
    options.out.mkdir(parents=True, exist_ok=True)
    for old in ("run.mcap", "result.json"):
        (options.out / old).unlink(missing_ok=True)
    logs = options.out / "logs"
    ros.use_backend(options.backend)
    ros.init(args=[])  # before our handlers of signals, as rclpy has its own
    with stop_on_signals() as stop, started(commands_for(options), logs) as processes:
        try:
            user = User(processes, logs, stop)
            ready = b"\x00"
            user.until(lambda: user.levels and user.levels[-1] == ready, options.load_s, "a ready node with a camera")
            user.until(lambda: user.task.get_subscription_count(), 20, "a match of the task topic")
            request = {"task": options.task, "seed": options.seed, "deadline_s": options.deadline_s}
            user.task.publish(topics.text(json.dumps(request)))
            user.until(lambda: over(user), options.deadline_s, "an end of the task")
            result = options.out / "result.json"
            if any(said["terminal"] for said in user.policy):
                user.until(result.exists, 20, "the robot's result")
        finally:
            ros.try_shutdown()
    if not result.exists():
        print(f"Task NOT achieved: {user.statuses[-1]['reason']}")
        return False
    outcome = json.loads(result.read_text())
    print("Task achieved." if outcome["achieved"] else f"Task NOT achieved: {outcome['why']}")
    return bool(outcome["achieved"])


def over(user: User) -> bool:
    """The policy is through with the task, or the node ended it before any goal could reach the policy."""
    if any(said["terminal"] for said in user.policy):
        return True
    return any(said["terminal"] and not said.get("verified") for said in user.statuses)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="The simulator demo over real ROS 2, as three processes.")
    parser.add_argument("--task", default="put the red cube in the drawer")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--stack", default="embedded", help="a shipped stack's name or a TOML file")
    parser.add_argument("--out", type=Path, default=Path("out/demo-ros2"), help="folder for result, recording and logs")
    parser.add_argument("--backend", default="rclpy", choices=ros.backend_names())
    parser.add_argument("--load-s", type=float, default=300.0, help="seconds the models may take to load")
    parser.add_argument("--deadline-s", type=float, default=600.0, help="seconds the task may take")
    options = parser.parse_args(argv)
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    os.environ.setdefault("ROS_DOMAIN_ID", str(random.SystemRandom().randint(1, 100)))
    os.environ.setdefault("FASTRTPS_DEFAULT_PROFILES_FILE", str(HERE / "fastdds_images.xml"))
    try:
        return 0 if run(options) else 4
    except ItkError as error:
        print(f"demo_ros2: {' '.join(str(error).split())}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    raise SystemExit(main())
