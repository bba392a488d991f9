"""The simulator demo over real ROS 2 with the embedded stack, and the replay of what it recorded."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from ros_world import HOW, ROOT, ROS_PYTHON, have_ros, ros_environment

pytestmark = [pytest.mark.skipif(not have_ros(), reason=HOW), pytest.mark.slow, pytest.mark.timeout(1500)]


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_three_rclpy_processes_achieve_the_task_and_the_recording_replays_byte_for_byte(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    command = [str(ROS_PYTHON), str(ROOT / "launch" / "demo_ros2.py"), "--out", str(out)]
    done = subprocess.run(command, env=ros_environment(), capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "Task achieved."
    result = json.loads((out / "result.json").read_text())
    assert result["achieved"] and result["judged_by"] == "task" and len(result["reached"]) == 3
    for log in (out / "logs").iterdir():
        assert "Traceback" not in log.read_text(errors="replace"), log.name
    for name in ("one", "two"):
        code = "import sys; from itk_embodied.cli import main; main(sys.argv[1:])"
        again = [sys.executable, "-c", code, "replay", str(out / "run.mcap"), "--out", str(tmp_path / name)]
        replayed = subprocess.run(again, env=ros_environment(), capture_output=True, text=True, timeout=600)
        assert replayed.returncode == 0, replayed.stderr
    assert files(tmp_path / "one") == files(tmp_path / "two")
    assert "task-01/step-03.png" in files(tmp_path / "one")
