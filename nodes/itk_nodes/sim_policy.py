"""The simulated robot as a policy of policy_node: its arm carries out goal images, its camera shows frames over ZeroMQ.

    policy_node --policy itk_nodes.sim_policy:SimTable --policy-options '{"task": "put the red cube in the drawer"}'
    camera_node --ros-args -p source:=zmq

What moves the arm is the goal-image policy, which sees camera frames and calibration only. When a task has ended, the
simulator's state says whether the table is as the sentence says, and ``result.json`` keeps it.
"""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

from itk_embodied.bridges.frames import FramePublisher
from itk_embodied.bridges.sockets import DEFAULT_FRAMES
from itk_embodied.errors import InputError
from itk_embodied.images import save_png
from itk_embodied.types import Frame
from itk_nodes.policies import Goal, PolicyStopped, TaskEnd
from itk_nodes.requests import parse_request
from itk_sim.errors import SimError
from itk_sim.language import parse_instruction
from itk_sim.outcome import plan_failure
from itk_sim.policy import GoalImagePolicy, SimRobot
from itk_sim.staging import scene_for, told_steps
from itk_sim.symbols import SceneState
from itk_sim.table import Table

_FRAME_PERIOD_S = 0.2
_SHARE = 9.0
"""While the arm moves, at most a tenth of the time goes into showing it, however slowly pictures are drawn."""


class _LetGo(Exception):
    """The goal was taken back while the arm moved."""


class _Robot(SimRobot):
    """The arm, with a camera that goes on showing while it moves, and a stop that is heard."""

    def __init__(self, table: Table, on_tick: Any) -> None:
        super().__init__(table)
        self._on_tick = on_tick

    def _tick(self) -> None:
        super()._tick()
        self._on_tick()


class SimTable:
    """See `itk_nodes.policies.Policy`.

    Args:
        task: a sentence; what it names stands on the table.
        seed: of the layout and the looks.
        frames: where to publish camera frames.
        out: folder for result.json and a camera frame after every goal; empty for none.
    """

    def __init__(self, task: str, seed: int = 7, frames: str = DEFAULT_FRAMES, out: str = "", size: int = 256) -> None:
        try:
            self._scene = scene_for(task, seed)
        except SimError as error:
            raise InputError(str(error)) from error
        self._frames, self._size = frames, size
        self._out = Path(out) if out else None
        self._stop = threading.Event()
        self._next_s = 0.0
        self._instructions: list[str] = []
        self._table: Table

    def open(self) -> None:
        """In the policy's thread, as the graphics context belongs to it."""
        self._camera = FramePublisher(self._frames)
        self._table = Table()
        self._table.reset(self._scene)
        self._before: SceneState = self._table.state()
        self._policy = GoalImagePolicy(_Robot(self._table, self._on_tick))

    def idle(self) -> None:
        self._show()

    def _show(self) -> None:
        began_s = time.monotonic()
        self._camera.publish(Frame(self._table.render("front", self._size), frame_id="front"))
        now_s = time.monotonic()
        self._next_s = now_s + max(_FRAME_PERIOD_S, _SHARE * (now_s - began_s))

    def _on_tick(self) -> None:
        if self._stop.is_set():
            raise _LetGo
        if time.monotonic() > self._next_s:
            self._show()

    def __call__(self, goal: Goal) -> None:
        self._stop = goal.stop
        try:
            outcome = self._policy.act(goal.image)
        except _LetGo:
            return
        finally:
            self._stop = threading.Event()
        self._instructions.append(goal.instruction)
        if self._out is not None:
            (self._out / "achieved").mkdir(parents=True, exist_ok=True)
            save_png(self._table.render("front", self._size), self._out / "achieved" / f"step-{goal.step:02d}.png")
        if not outcome.done:
            raise PolicyStopped(outcome.reason)

    def ended(self, end: TaskEnd) -> None:
        """Judge the table and write the result; the next task starts from how the table is now."""
        after = self._table.state()
        result = {**judged(end, self._instructions, self._before, after), "reached": list(end.reached)}
        self._before, self._instructions = after, []
        said = "achieved" if result["achieved"] else f"not achieved: {result['why']}"
        print(f"task {said}", flush=True)
        if self._out is not None:
            self._out.mkdir(parents=True, exist_ok=True)
            (self._out / "result.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")

    def close(self) -> None:
        self._camera.close()
        self._table.close()


def judged(end: TaskEnd, instructions: list[str], before: SceneState, after: SceneState) -> dict[str, Any]:
    """Whether the table is as the sentence says, where it can be read; else as the steps carried out say."""
    try:
        sentence = parse_request(end.task, seed=0).task.text
    except InputError:
        sentence = ""
    told = told_steps(sentence) if sentence else None
    why = end.reason
    if not why:
        try:
            why = plan_failure(told or [parse_instruction(text) for text in instructions], before, after)
        except SimError as error:
            why = f"the plan cannot be judged: {error}"
    achieved = end.state == "done" and bool(instructions) and not why
    judged_by = "task" if told else "plan"
    return {"task": sentence, "state": end.state, "achieved": achieved, "judged_by": judged_by, "why": why}
