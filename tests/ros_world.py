"""A real rosbridge process for tests, and where the environment with real rclpy is."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from pathlib import Path

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

    def start(self) -> None:
        command = ["sh", str(ROOT / "tools" / "rosbridge.sh"), "--bind", f"127.0.0.1:{self.port}"]
        quiet = subprocess.DEVNULL
        self._process = subprocess.Popen(command, env=ros_environment(), stdout=quiet, stderr=quiet)
        ends_s = time.monotonic() + BUDGET_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                assert self._process.poll() is None, "the rosbridge ended; run sh tools/rosbridge.sh to see why"
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
