"""The same graph without ROS: camera_node and visual_subgoal_node in one process; subgoals go out over ZeroMQ.

    python launch/graph_without_ros.py --camera 0 --task "put the red cube in the teal bowl"
    python launch/graph_without_ros.py --camera tcp://127.0.0.1:5593          # a task a line on stdin

``--camera`` takes a device number, a picture, or the address of a `FramePublisher`.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from pathlib import Path
from types import FrameType

from itk_embodied.bridges import DEFAULT_REQUESTS, DEFAULT_STREAM
from itk_embodied.errors import InputError, ItkError
from itk_embodied.run import build_pipeline
from itk_embodied.service import ServiceConfig
from itk_nodes.graph import NodeGraph
from itk_nodes.runtime import set_up_logging
from itk_nodes.sources import FrameSource, open_source


def camera(name: str) -> FrameSource:
    """A camera by what its name looks like."""
    kind = "zmq" if name.startswith(("tcp://", "ipc://")) else "file" if Path(name).is_file() else "device"
    return open_source(kind, path=name, device=name, address=name, rate_hz=10.0, frame_id="front")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Camera frames and tasks in, verified visual subgoals out; no ROS.")
    parser.add_argument("--camera", default="0", help="device number, picture, or tcp://127.0.0.1:PORT")
    parser.add_argument("--stack", default="embedded", help="a shipped stack's name or a TOML file")
    parser.add_argument("--task", help="run this task and end; without it, a task a line is read from stdin")
    parser.add_argument("--stream", default=DEFAULT_STREAM, help="where to publish subgoals")
    parser.add_argument("--requests", default=DEFAULT_REQUESTS, help="where to take requests")
    parser.add_argument("--load-s", type=float, default=600.0, help="seconds the models may take to load")
    parser.add_argument("--deadline-s", type=float, default=900.0, help="seconds a task may take")
    options = parser.parse_args(argv)
    set_up_logging()
    signal.signal(signal.SIGTERM, interrupt)
    service = ServiceConfig(stream=options.stream, requests=options.requests)
    try:
        source = camera(options.camera)
        with NodeGraph(lambda: build_pipeline(options.stack), frames=source, service=service) as graph:
            graph.wait_ready(options.load_s)
            print(f"ready; subgoals at {graph.stream_address}, requests at {graph.requests_address}", flush=True)
            if options.task is not None:
                return run(graph, options.task, options.deadline_s)
            for line in sys.stdin:
                try:
                    run(graph, line, options.deadline_s)
                except InputError as error:  # a mistyped line is not the end
                    print(f"refused: {error}", file=sys.stderr)
    except ItkError as error:
        print(f"graph_without_ros: {' '.join(str(error).split())}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    return 0


def run(graph: NodeGraph, task: str, deadline_s: float) -> int:
    """One task; prints its terminal status. 0 where every step was verified."""
    status = graph.run_task(task, deadline_s=deadline_s)
    print(json.dumps(status), flush=True)
    return 0 if status["state"] == "verified" else 4


def interrupt(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    raise SystemExit(main())
