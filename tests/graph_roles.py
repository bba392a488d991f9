"""The processes of `tests/e2e/test_node_processes.py`: ``python graph_roles.py camera|node|robot ADDRESS…``.

Scripted agents, real sockets: the robot's camera, the node with the service, and the robot that receives subgoals.
"""

from __future__ import annotations

import contextlib
import json
import signal
import sys
import time
from typing import Any

from scripted import NoiseGenerator, ScriptedCritic, ScriptedPlanner, gradient_image, plan_of

from itk_embodied.bridges import FramePublisher, SubgoalClient
from itk_embodied.errors import ItkError
from itk_embodied.pipeline import PipelineConfig, VisualSubgoalPipeline
from itk_embodied.service import ServiceConfig
from itk_embodied.types import Frame, image_hash
from itk_nodes.graph import NodeGraph


def say(**what: Any) -> None:
    print(json.dumps(what), flush=True)


def camera(address: str) -> None:
    """Publishes a frame every 50 ms."""
    with FramePublisher(address) as publisher:
        say(address=publisher.address)
        while True:
            publisher.publish(Frame(gradient_image(), frame_id="robot_camera"))
            time.sleep(0.05)


def node(frames: str, paint_s: str) -> None:
    """Runs the graph; reads a task a line on stdin, answers with what each sequence was and how it ended."""

    def load() -> VisualSubgoalPipeline:
        planner = ScriptedPlanner(plan_of("put a in b", "put c in d", "put e in f"))
        critic = ScriptedCritic(True, False, False, True)
        config = PipelineConfig(max_attempts=2, continue_after_unverified=True)
        return VisualSubgoalPipeline(planner, NoiseGenerator(float(paint_s)), critic, config, stack_name="scripted")

    def tell(task_id: str, sequence: Any) -> None:
        pictures = [s.image is not None and image_hash(s.image) for s in sequence.subgoals]
        statuses = [str(s.status) for s in sequence.subgoals]
        say(task_id=task_id, pictures=pictures, statuses=statuses, frame_id=sequence.frame.frame_id)

    config = ServiceConfig(stream="tcp://127.0.0.1:0", requests="tcp://127.0.0.1:0")
    signal.signal(signal.SIGTERM, interrupt)
    with contextlib.suppress(KeyboardInterrupt), NodeGraph(load, frames=frames, service=config, on_sequence=tell) as g:
        say(stream=g.stream_address, requests=g.requests_address)
        g.wait_ready(20)
        say(ready=True)
        for line in sys.stdin:
            say(ended=g.run_task(line.strip(), deadline_s=60)["state"])
    say(closed=True)


def interrupt(signum: int, frame: object) -> None:
    raise KeyboardInterrupt


def robot(stream: str, requests: str) -> None:
    """Follows one task, whoever submits it, and says what it received."""
    with SubgoalClient(stream, requests, patience_s=0) as client:
        client.wait_ready(20)
        say(ready=True)
        try:
            task_id = client.wait_for_task(20)
            subgoals = client.subgoals(task_id, deadline_s=60, on_message=lambda message: say(heard=message.seq))
            for goal in subgoals:
                assert goal.image is not None
                say(step=goal.step, status=str(goal.status), picture=image_hash(goal.image), id=goal.task_id)
            say(status=str(subgoals.status))
        except ItkError as error:
            say(error=str(error))


if __name__ == "__main__":
    {"camera": camera, "node": node, "robot": robot}[sys.argv[1]](*sys.argv[2:])
