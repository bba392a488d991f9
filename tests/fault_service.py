"""A whole service in a process of its own, with scripted agents, to be killed. Prints its addresses as JSON."""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Self

from scripted import NoiseGenerator, ScriptedCritic, ScriptedPlanner, plan_of

from itk_embodied.pipeline import PipelineConfig, VisualSubgoalPipeline
from itk_embodied.service import ServiceConfig, SubgoalService

ROOT = Path(__file__).parent.parent


class Planner(ScriptedPlanner):
    """Remembers nothing, so that a test of the service's memory does not measure this one. So do the others."""

    def plan(self, *arguments: Any) -> Any:
        self.contexts.clear()
        return super().plan(*arguments)


class Painter(NoiseGenerator):
    """Keeps no picture."""

    def generate(self, image: Any, prompt: str, context: Any) -> Any:
        self.calls.clear()
        return super().generate(image, prompt, context)


class Critic(ScriptedCritic):
    """Goes through its answers again and again."""

    def judge(self, *arguments: Any) -> Any:
        self.calls.clear()
        self.answers.append(self.answers[0])
        return super().judge(*arguments)


def free_port() -> int:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


class ServiceProcess:
    """Starts the service below, kills it, and starts it again on the same ports."""

    def __init__(self, **options: Any) -> None:
        self.stream = f"tcp://127.0.0.1:{free_port()}"
        self.requests = f"tcp://127.0.0.1:{free_port()}"
        self.options = options
        self.process: subprocess.Popen[str] | None = None
        self.start()

    def start(self) -> None:
        words = [f"--{name.replace('_', '-')}={value}" for name, value in self.options.items()]
        command = [sys.executable, __file__, self.stream, self.requests, *words]
        path = f"{ROOT}:{ROOT / 'tests'}"
        environment = {"PYTHONPATH": path, "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        assert self.process.stdout is not None
        ready = self.process.stdout.readline()
        assert json.loads(ready)["stream"] == self.stream

    def kill(self) -> None:
        """kill -9, and wait until the system has taken its ports back."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def restart(self) -> None:
        self.kill()
        self.start()

    def restart_soon(self, after_s: float = 0.0) -> threading.Thread:
        """The same from a thread, while a client listens."""

        def work() -> None:
            time.sleep(after_s)
            self.restart()

        thread = threading.Thread(target=work)
        thread.start()
        return thread

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.kill()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("stream")
    parser.add_argument("requests")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--paint-s", type=float, default=0.02)
    parser.add_argument("--verdicts", default="1", help="one digit an attempt, 1 for accepted; again and again")
    parser.add_argument("--encoding", default="png")
    parser.add_argument("--hwm", type=int, default=64)
    parser.add_argument("--keep-tasks", type=int, default=8)
    parser.add_argument("--heartbeat-s", type=float, default=0.2)
    args = parser.parse_args()
    pipeline = VisualSubgoalPipeline(
        Planner(plan_of(*(f"put cube {n + 1} in the bowl" for n in range(args.steps)))),
        Painter(args.paint_s),
        Critic(*(digit == "1" for digit in args.verdicts)),
        PipelineConfig(max_attempts=2, continue_after_unverified=True),
        stack_name="scripted",
    )
    config = ServiceConfig(
        stream=args.stream,
        requests=args.requests,
        encoding=args.encoding,
        hwm=args.hwm,
        keep_tasks=args.keep_tasks,
        heartbeat_s=args.heartbeat_s,
    )
    with SubgoalService(pipeline, config) as service:
        print(json.dumps({"stream": service.stream_address, "requests": service.requests_address}), flush=True)
        signal.sigwait({signal.SIGTERM, signal.SIGINT})


if __name__ == "__main__":
    main()
