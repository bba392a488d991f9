"""The whole job in the simulator: ``itk-embodied demo``.

This process runs the nodes (camera frames and a task in, verified goal images out); the models have a process of their
own, watched by the service. The robot is another: it owns the simulated table, publishes camera frames over ZeroMQ,
receives the verified goal images over ZeroMQ, and moves its arm by a policy that sees pixels only. They share nothing
else.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from itk_embodied.bridges.wire import AttemptMessage, EndMessage, PlanMessage, SubgoalMessage, TaskMessage
from itk_embodied.bridges.worker import MessageReport, OnSequence, Post, Report
from itk_embodied.bridges.worker_process import ProcessWorker
from itk_embodied.display.report import write_report
from itk_embodied.errors import ItkError, TransportError
from itk_embodied.images import load_image, save_png
from itk_embodied.records import check_out_dir, write_sequence
from itk_embodied.run import console
from itk_embodied.service import ServiceConfig
from itk_embodied.types import Image, SubgoalSequence, Task
from itk_sim.staging import scene_for

LOAD_S, TASK_S = 600.0, 900.0


@dataclass(frozen=True)
class Addresses:
    """Three loopback addresses, so that several demos can run side by side."""

    frames: str
    stream: str
    requests: str


def free_addresses() -> Addresses:
    """Ports that are free now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
    try:
        return Addresses(*(f"tcp://127.0.0.1:{s.getsockname()[1]}" for s in sockets))
    finally:
        for s in sockets:
            s.close()


class ShownWorker(ProcessWorker):
    """The models in their own process; what they do is shown on the terminal as it is told."""

    def __init__(self, stack: str, progress: Progress, *, on_sequence: OnSequence) -> None:
        super().__init__(stack, on_sequence=on_sequence)
        self._progress = progress
        self._bar: TaskID | None = None

    def start(self, post: Post) -> None:
        def told(report: Report) -> None:
            if isinstance(report, MessageReport):
                self._show(report.message)
            post(report)

        super().start(told)

    def _show(self, message: TaskMessage) -> None:
        if isinstance(message, PlanMessage):
            self._bar = self._progress.add_task("planning", total=len(message.steps))
            for step in message.steps:
                self._progress.console.print(f"  plan {step.step}. {step.instruction or step.auxiliary_text}")
        elif isinstance(message, AttemptMessage) and message.state == "started" and self._bar is not None:
            what = f"step {message.step}, attempt {message.attempt}: {message.prompt}"
            self._progress.update(self._bar, description=what)
        elif isinstance(message, AttemptMessage):
            said = message.error if message.state == "error" else f"{message.state} (score {message.score:.2f})"
            self._progress.console.print(f"  step {message.step}, attempt {message.attempt}: {said}")
        elif isinstance(message, SubgoalMessage) and self._bar is not None:
            self._progress.advance(self._bar)
        elif isinstance(message, EndMessage) and self._bar is not None:
            self._progress.remove_task(self._bar)


def run_demo(task: str, *, seed: int, out: Path, stack: str) -> bool:
    """Run it and write the report. True where the arm achieved the task through verified goal images."""
    from itk_nodes.graph import NodeGraph

    wanted = Task(task, seed=seed)
    check_out_dir(out)
    scene = scene_for(wanted.text, seed)
    addresses = free_addresses()
    sequences: list[SubgoalSequence] = []
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with (
        tempfile.TemporaryDirectory(prefix="itk-demo-") as scratch,
        Progress(*columns, console=console, transient=True) as progress,
        robot_process(scene.to_json(), addresses, Path(scratch)) as robot,
    ):
        loading = progress.add_task(f"loading stack {stack}; starting the simulated robot", total=None)

        worker = ShownWorker(stack, progress, on_sequence=lambda _, sequence: sequences.append(sequence))
        config = ServiceConfig(stream=addresses.stream, requests=addresses.requests)
        with NodeGraph(worker, frames=addresses.frames, service=config) as graph:
            _wait_ready(graph, robot)
            progress.remove_task(loading)
            console.print(f"[bold]task[/bold] {wanted.text}")
            status = graph.run_task(wanted.text, deadline_s=TASK_S, seed=wanted.seed)
            if not sequences:  # ended from outside: the models were stuck, or their process died
                raise ItkError(f"the task ended as {status['state']}: {status['reason']}")
            moving = progress.add_task("the arm carries out the goal images", total=None)
            result = _result(robot, Path(scratch))
            progress.remove_task(moving)
        sequence = sequences[-1]
        achieved = _achieved_images(result, Path(scratch))
        _write(sequence, achieved, result, out, Path(scratch))
    said = sentence(sequence, result)
    console.print(f"[bold]{said}[/bold]")
    console.print(f"wrote {out / 'report.html'} and {out / 'sequence.json'}")
    return bool(result["achieved"])


@contextmanager
def robot_process(scene: dict[str, Any], addresses: Addresses, out: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The simulated robot, ended with the block."""
    command = [sys.executable, "-m", "itk_nodes.sim_robot", "--scene", json.dumps(scene), "--out", str(out)]
    command += ["--frames", addresses.frames, "--stream", addresses.stream, "--requests", addresses.requests]
    command += ["--deadline", str(LOAD_S + TASK_S)]
    with (out / "robot.log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)


def _wait_ready(graph: Any, robot: subprocess.Popen[bytes]) -> None:
    ends_s = time.monotonic() + LOAD_S
    while True:
        if robot.poll() is not None:
            raise ItkError(f"the simulated robot stopped with exit code {robot.returncode} before the task began.")
        try:
            return graph.wait_ready(2.0)
        except TransportError:
            if time.monotonic() > ends_s:
                raise


def _result(robot: subprocess.Popen[bytes], scratch: Path) -> dict[str, Any]:
    """What the robot process found, once the arm has stopped."""
    try:
        code = robot.wait(TASK_S)
    except subprocess.TimeoutExpired:
        raise ItkError(f"the simulated robot did not finish within {TASK_S:g} s.") from None
    path = scratch / "result.json"
    if code or not path.exists():
        tail = (scratch / "robot.log").read_text(errors="replace").strip().splitlines()[-1:]
        raise ItkError(f"the simulated robot stopped with exit code {code}: {' '.join(tail) or 'no message'}")
    return json.loads(path.read_text())


def _achieved_images(result: dict[str, Any], scratch: Path) -> list[Image]:
    return [load_image(scratch / step["image"]) for step in result["executed"]]


def _write(sequence: SubgoalSequence, achieved: list[Image], result: dict[str, Any], out: Path, scratch: Path) -> None:
    """The sequence's folder, with what the arm achieved and the report besides."""
    write_sequence(sequence, out)
    shutil.copytree(scratch / "achieved", out / "achieved")
    said = sentence(sequence, result)
    write_report(out / "report.html", sequence, achieved=achieved, outcome=said, achieved_task=result["achieved"])
    goals = [subgoal.image for subgoal in sequence.subgoals if subgoal.image is not None]
    save_png(side_by_side(sequence.frame.image, goals, achieved), out / "run.png")


def sentence(sequence: SubgoalSequence, result: dict[str, Any]) -> str:
    """How it ended, in plain words; "task achieved" is the simulator's word, never the planner's."""
    attempts = f"{sequence.attempts} attempt{'' if sequence.attempts == 1 else 's'}"
    steps = len(sequence.subgoals)
    took = f"{attempts} for {steps} step{'' if steps == 1 else 's'}"
    if sequence.first_subgoal_s is not None:
        took += (
            f"; the first verified subgoal after {sequence.first_subgoal_s:.1f} s, all after {sequence.total_s:.1f} s"
        )
    if result["achieved"]:
        if result["judged_by"] == "task":
            return f"Task achieved: {took}."
        return f"Plan carried out (the task's wording is too free for the simulator to judge by): {took}."
    return f"Task NOT achieved ({result['why'] or sequence.reason or sequence.status}): {took}."


def side_by_side(frame: Image, goals: list[Image], achieved: list[Image]) -> Image:
    """One picture to show around: the camera frame, then each goal image above what the arm achieved."""
    blank = np.full_like(frame, 255)
    upper = [frame, *goals]
    lower = [blank, *achieved, *[blank] * (len(goals) - len(achieved))]
    return np.concatenate([np.concatenate(upper, 1), np.concatenate(lower, 1)], 0)
