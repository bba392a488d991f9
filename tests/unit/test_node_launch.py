"""The launch files name parameters that exist, and a user's mistake is one line."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import yaml
from scripted import NoiseGenerator, ScriptedCritic, ScriptedPlanner, plan_of

from itk_embodied import ros
from itk_embodied.pipeline import VisualSubgoalPipeline
from itk_embodied.service import ServiceConfig
from itk_nodes.camera_node import CameraNode
from itk_nodes.policy_node import PolicyNode
from itk_nodes.visual_subgoal_node import VisualSubgoalNode

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "launch" / "parameters.yaml"


def test_the_parameter_file_holds_the_nodes_own_defaults() -> None:
    wanted = {name.rpartition("/")[2]: v["ros__parameters"] for name, v in yaml.safe_load(FILE.read_text()).items()}

    class NoCamera:
        def read(self, timeout_s: float) -> None:
            time.sleep(timeout_s)

        def close(self) -> None: ...

    pipeline = VisualSubgoalPipeline(ScriptedPlanner(plan_of("a")), NoiseGenerator(), ScriptedCritic(True))
    config = ServiceConfig(stream="tcp://127.0.0.1:0", requests="tcp://127.0.0.1:0")
    ros.use_backend("inproc")
    ros.init(args=[])
    try:
        made: dict[str, Any] = {
            "camera_node": CameraNode(ros.create_node("camera_node"), NoCamera()),
            "visual_subgoal_node": VisualSubgoalNode(ros.create_node("visual_subgoal_node"), pipeline, config),
            "policy_node": PolicyNode(ros.create_node("policy_node"), print),
        }
        declared = {
            name: {key: p.value for key, p in one.node.get_parameters_by_prefix("").items()}
            for name, one in made.items()
        }
        for one in made.values():
            one.close()
    finally:
        ros.shutdown()
    assert wanted == declared


def test_the_graph_without_ros_says_what_is_wrong_in_one_line() -> None:
    command = [sys.executable, str(ROOT / "launch" / "graph_without_ros.py"), "--camera", "tcp://0.0.0.0:5593"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "nodes"), str(ROOT / "sim")])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert "reached from other machines" in line
