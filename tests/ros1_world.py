"""Debian's real roscore, and the stand-in for ROS 1's rosbridge, for tests."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import time
import xmlrpc.client
from functools import cache
from pathlib import Path

from ros_world import BUDGET_S, ROOT, RealBridge, free_port

SYSTEM_PYTHON = "/usr/bin/python3"
HOW_ROS1 = "no ROS 1 under /usr/bin/python3 here; install Debian's with: make ros1-env"
_NEEDED = "import rospy, websockets, sensor_msgs.msg, diagnostic_msgs.msg, std_srvs.srv"


@cache
def have_ros1() -> bool:
    """Whether roscore, rospy, the messages and a WebSocket library are there."""
    if shutil.which("roscore") is None or not Path(SYSTEM_PYTHON).exists():
        return False
    return subprocess.run([SYSTEM_PYTHON, "-c", _NEEDED], capture_output=True, timeout=60).returncode == 0


class Roscore:
    """A real roscore on a port of its own, with its logs in ``folder``."""

    def __init__(self, folder: Path) -> None:
        port = free_port()
        self.environment = {
            "ROS_MASTER_URI": f"http://127.0.0.1:{port}",
            "ROS_HOSTNAME": "127.0.0.1",
            "ROS_PYTHON_VERSION": "3",
            "ROS_HOME": str(folder),
            "ROS_LOG_DIR": str(folder / "log"),
        }
        with (folder / "roscore.log").open("ab") as log:
            self._process = subprocess.Popen(
                ["roscore", "-p", str(port)], env={**os.environ, **self.environment}, stdout=log, stderr=log
            )
        master = xmlrpc.client.ServerProxy(self.environment["ROS_MASTER_URI"])
        ends_s = time.monotonic() + BUDGET_S
        while True:
            with contextlib.suppress(OSError, xmlrpc.client.Error):
                if "/rosout" in str(master.getSystemState("/test")):  # the last thing that roscore starts
                    return
            assert self._process.poll() is None, f"roscore ended; see {folder / 'roscore.log'}"
            assert time.monotonic() < ends_s, f"roscore is not ready; see {folder / 'roscore.log'}"
            time.sleep(0.05)

    def end(self) -> None:
        """As Ctrl-C does, so that it ends what it started."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(60)


class Ros1Bridge(RealBridge):
    """The stand-in `ros1_bridge` on a port of its own, beside a `Roscore`. It can be killed and restarted.

    Where the machine has a real rosbridge_suite, ITK_ROS1_BRIDGE takes its place: a command that the port is added to,
    ``rosrun rosbridge_server rosbridge_websocket --address 127.0.0.1 --port``.
    """

    def __init__(self, roscore: Roscore, folder: Path) -> None:
        self._environment, self._log = {**os.environ, **roscore.environment}, folder / "bridge.log"
        super().__init__()

    def launch(self) -> subprocess.Popen[bytes]:
        ours = f"{SYSTEM_PYTHON} {shlex.quote(str(ROOT / 'tests' / 'ros1_bridge.py'))}"
        command = [*shlex.split(os.environ.get("ITK_ROS1_BRIDGE", ours)), str(self.port)]
        with self._log.open("ab") as log:
            return subprocess.Popen(command, env=self._environment, stdout=log, stderr=log)

    def refused(self) -> list[str]:
        """What it has not done, and why: one line each."""
        signs = ("refused", "[ERROR]", "[WARN]")  # the stand-in's, and rosbridge_suite's
        # Rospy's own words on other people's haste: a subscriber that is gone before its connection is, and one that
        # comes while the topic is being closed, whose listeners are None by then.
        hurried = ("terminated before handshake header received", "'NoneType' object is not iterable")
        lines = [line for line in self._log.read_text().splitlines() if not any(words in line for words in hurried)]
        return [line for line in lines if any(sign in line for sign in signs)]
