"""A real rosbridge process for tests, and where the environment with real rclpy is."""

from __future__ import annotations

import json
import os
import queue
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
ROS_PYTHON = ROOT / ".venv-ros" / "bin" / "python"
HOW = "no .venv-ros here; make it with: make ros-env"
BUDGET_S = 20.0


def have_ros() -> bool:
    """Whether the environment with rclpy and the bridge was made and finished."""
    return (ROS_PYTHON.parent.parent / ".ready").exists() or (ROS_PYTHON.exists() and "CI" not in os.environ)


def domain() -> str:
    """A ROS domain of this process's own, so that tests never hear anybody else."""
    return str(1 + os.getpid() % 100)


def ros_environment(**more: str) -> dict[str, str]:
    """The environment of a process that takes part in ROS, on this machine only."""
    paths = os.pathsep.join(str(ROOT / part) for part in ("tests", ".", "nodes", "sim"))
    own = {
        "ROS_DOMAIN_ID": domain(),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "PYTHONPATH": paths,
        "OMP_NUM_THREADS": "1",
    }
    return {**os.environ, **own, **more}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class RealBridge:
    """rosbridge-server-rs on a port of its own; it can be killed and started again on the same one."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"ws://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def launch(self) -> subprocess.Popen[bytes]:
        command = ["sh", str(ROOT / "tools" / "rosbridge.sh"), "--bind", f"127.0.0.1:{self.port}"]
        quiet = subprocess.DEVNULL
        return subprocess.Popen(command, env=ros_environment(), stdout=quiet, stderr=quiet)

    def start(self) -> None:
        self._process = self.launch()
        ends_s = time.monotonic() + BUDGET_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                assert self._process.poll() is None, f"the rosbridge ended; to see why: {self._process.args}"
                assert time.monotonic() < ends_s, "the rosbridge does not listen"
                time.sleep(0.05)

    def kill(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait(10)
            self._process = None

    def __enter__(self) -> RealBridge:
        return self

    def __exit__(self, *exception: object) -> None:
        self.kill()


class RosProcess:
    """One role of `ros_roles` (or of another script) in a process of its own; what it says comes line by line."""

    def __init__(self, python: Path | str, *arguments: str, script: str = "ros_roles.py") -> None:
        command = [str(python), str(ROOT / "tests" / script), *arguments]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=ros_environment(ITK_ROS_BACKEND="")
        )
        self.lines: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self.errors: list[str] = []
        threading.Thread(target=self._listen, daemon=True).start()
        threading.Thread(target=self._complain, daemon=True).start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.put(json.loads(line))
        self.lines.put(None)

    def _complain(self) -> None:
        assert self.process.stderr is not None
        self.errors.extend(self.process.stderr)

    def hear(self, wanted: Callable[[dict[str, Any]], bool], budget_s: float = BUDGET_S) -> list[dict[str, Any]]:
        """Everything up to and including the first line that is wanted."""
        said: list[dict[str, Any]] = []
        ends_s = time.monotonic() + budget_s
        while True:
            try:
                one = self.lines.get(timeout=max(0.01, ends_s - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"not said in {budget_s:g} s; so far: {said}\n{''.join(self.errors)}") from None
            assert one is not None, f"the process ended; {said}\n{''.join(self.errors)}"
            said.append(one)
            if wanted(one):
                return said

    def ready(self) -> None:
        self.hear(lambda said: "ready" in said)

    def tell(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
