"""The simulated robot, a process of its own: it shows its camera, receives verified goal images, and moves its arm.

It gets nothing but goal images over ZeroMQ; what it does with them is the goal-image policy's business, which sees
camera frames and calibration only. When the task has ended it judges the table by the simulator's state and writes
``result.json`` and a camera frame after every goal image.
"""

from __future__ import annotations

import argparse
import json
import queue
import signal
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from itk_embodied.bridges import ReceivedSubgoal, SubgoalClient
from itk_embodied.bridges.frames import FramePublisher
from itk_embodied.bridges.wire import PlanMessage
from itk_embodied.errors import ItkError
from itk_embodied.images import save_png
from itk_embodied.types import Frame
from itk_sim.errors import SimError
from itk_sim.language import parse_instruction
from itk_sim.outcome import plan_failure
from itk_sim.policy import GoalImagePolicy, SimRobot
from itk_sim.scene import SceneSpec
from itk_sim.staging import told_steps
from itk_sim.symbols import SceneState
from itk_sim.table import Table

FRAME_PERIOD_S = 0.2


@dataclass(frozen=True)
class TaskEnded:
    """What the stream said at its end."""

    status: str
    reason: str
    plan: PlanMessage | None


class GoalReceiver:
    """Follows one task in a thread of its own and queues what comes: subgoals, then `TaskEnded`, or an error."""

    def __init__(self, stream: str, requests: str, deadline_s: float) -> None:
        self.items: queue.Queue[ReceivedSubgoal | TaskEnded | Exception] = queue.Queue()
        self._addresses, self._deadline_s = (stream, requests), deadline_s
        threading.Thread(target=self._main, name="goal-receiver", daemon=True).start()

    def _main(self) -> None:
        try:
            with SubgoalClient(*self._addresses) as client:
                client.wait_ready(self._deadline_s)
                task_id = client.wait_for_task(self._deadline_s)
                stream = client.subgoals(task_id, deadline_s=self._deadline_s)
                for subgoal in stream:
                    self.items.put(subgoal)
                self.items.put(TaskEnded(str(stream.status), stream.reason, stream.plan))
        except Exception as error:
            self.items.put(error)


def serve(table: Table, scene: SceneSpec, args: argparse.Namespace) -> dict[str, Any]:
    """Show frames and carry out goal images until the task ends. Returns the result's record."""
    before = table.reset(scene)
    policy = GoalImagePolicy(SimRobot(table))
    receiver = GoalReceiver(args.stream, args.requests, args.deadline)
    steps: list[dict[str, Any]] = []
    stopped = ""
    ends_s = time.monotonic() + args.deadline
    with FramePublisher(args.frames) as camera:
        while time.monotonic() < ends_s:
            camera.publish(Frame(table.render("front", args.size), frame_id="front"))
            try:
                item = receiver.items.get(timeout=FRAME_PERIOD_S)
            except queue.Empty:
                continue
            if isinstance(item, Exception):
                raise item
            if isinstance(item, TaskEnded):
                return record(item, steps, stopped, before, table.state())
            if stopped or item.image is None:
                continue
            outcome = policy.act(item.image)
            image = f"achieved/step-{item.step:02d}.png"
            save_png(table.render("front", args.size), args.out / image)
            steps.append({"step": item.step, "done": outcome.done, "reason": outcome.reason, "image": image})
            if not outcome.done:
                stopped = f"step {item.step}: {outcome.reason}"
    raise ItkError(f"the task did not end within {args.deadline:g} s; raise --deadline or look at the node's log.")


def record(
    ended: TaskEnded, steps: list[dict[str, Any]], stopped: str, before: SceneState, after: SceneState
) -> dict[str, Any]:
    """What happened, and whether the table is as the task says."""
    instructions = [step.instruction for step in ended.plan.steps if step.instruction] if ended.plan else []
    told = told_steps(ended.plan.task) if ended.plan else None
    why = stopped or ended.reason
    if not why:
        try:
            # What the sentence says, where it can be read; else the plan's own steps, and the record says so.
            why = plan_failure(told or [parse_instruction(text) for text in instructions], before, after)
        except SimError as error:
            why = f"the plan cannot be judged: {error}"
    achieved = ended.status == "verified" and bool(instructions) and not why
    judged_by = "task" if told else "plan"
    return {"status": ended.status, "achieved": achieved, "judged_by": judged_by, "why": why, "executed": steps}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="sim_robot", description="The simulated robot: camera, policy and arm.")
    parser.add_argument("--scene", required=True, help="the scene as JSON")
    parser.add_argument("--frames", required=True, help="where to publish camera frames, e.g. tcp://127.0.0.1:5590")
    parser.add_argument("--stream", required=True, help="the service's stream of subgoals")
    parser.add_argument("--requests", required=True, help="the service's address for requests")
    parser.add_argument("--out", required=True, type=Path, help="folder for result.json and achieved/*.png")
    parser.add_argument("--size", type=int, default=256, help="side of the camera frame, px")
    parser.add_argument("--deadline", type=float, default=900.0, help="seconds for everything")
    args = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    (args.out / "achieved").mkdir(parents=True, exist_ok=True)
    try:
        with Table() as table:
            result = serve(table, SceneSpec.from_json(json.loads(args.scene)), args)
    except (ItkError, SimError, json.JSONDecodeError) as error:
        print(f"sim_robot: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    (args.out / "result.json").write_text(json.dumps(result, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
