"""``itk-embodied replay``: what a bag's camera and user sent, sent again into the node, with a stack of one's choice.

The same bag, stack and seed give the same files, byte for byte: nothing that a clock says is written.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from itk_embodied import ros
from itk_embodied.bridges.worker import PipelineSource
from itk_embodied.errors import InputError, ItkError
from itk_embodied.records import write_sequence
from itk_embodied.ros.pictures import header, stamp_ns
from itk_embodied.service import ServiceConfig
from itk_embodied.types import SubgoalSequence, image_hash
from itk_nodes import topics
from itk_nodes.recorded import RecordedTask, recorded_tasks
from itk_nodes.requests import parse_request
from itk_nodes.visual_subgoal_node import VisualSubgoalNode

_EVER_S = 1e9
_FIELDS: dict[str, tuple[str, ...]] = {
    topics.IMAGE: ("height", "width", "encoding", "is_bigendian", "step", "data"),
    topics.COMPRESSED: ("format", "data"),
}
Report = Callable[[str], None]


class _Stage:
    """The node in this process, a camera and a user that speak the bag's lines."""

    def __init__(self, pipeline: PipelineSource) -> None:
        self.sequences: dict[str, SubgoalSequence] = {}
        self.ended: dict[str, dict[str, Any]] = {}  # by the task's text
        self._closing = contextlib.ExitStack()
        ros.use_backend("inproc")
        ros.init(args=[])
        self._closing.callback(ros.try_shutdown)
        # A bag's frames are old, and a replay takes what time it takes: neither is refused here.
        patient = {"max_frame_age_s": _EVER_S, "frame_wait_s": 60.0, "deadline_s": 86_400.0}
        overrides = [ros.Parameter(name, value=value) for name, value in patient.items()]
        node = ros.create_node("visual_subgoal_node", parameter_overrides=overrides, use_global_arguments=False)
        user = ros.create_node("replay", use_global_arguments=False)
        self._executor = ros.SingleThreadedExecutor()
        for one in (node, user):
            self._executor.add_node(one)
        nowhere = ServiceConfig(stream="tcp://127.0.0.1:0", requests="tcp://127.0.0.1:0", deadline_s=86_400.0)
        self.node = VisualSubgoalNode(node, pipeline, nowhere, on_sequence=self.sequences.__setitem__)
        self._closing.callback(self.node.close)
        at = "/visual_subgoal_node"
        self._images = {
            kind: user.create_publisher(ros.message_type(kind), f"{at}/{name}", topics.camera())
            for kind, name in ((topics.IMAGE, "image"), (topics.COMPRESSED, "image/compressed"))
        }
        self._task = user.create_publisher(ros.message_type(topics.STRING), f"{at}/task", topics.words())
        user.create_subscription(ros.message_type(topics.STRING), f"{at}/status", self._on_status, topics.words())

    def _on_status(self, message: Any) -> None:
        status = json.loads(message.data)
        if status["terminal"]:
            self.ended[status["task"]] = status

    def until(self, condition: Callable[[], object]) -> None:
        while not condition():
            state, detail = self.node.service.state
            if state == "broken":
                raise ItkError(f"the stack cannot be used: {detail}")
            self._executor.spin_once(timeout_sec=0.05)

    def play(self, task: RecordedTask, seed: int | None) -> SubgoalSequence:
        """Show the frame, then say the task; returns what the node made of it."""
        assert task.frame is not None
        request = parse_request(task.text, seed=task.seed)
        words: dict[str, Any] = {"task": request.task.text, "seed": task.seed if seed is None else seed}
        if request.task.plan is not None:
            words["plan"] = [step.instruction for step in request.task.plan.steps]
        if request.max_attempts is not None:
            words["max_attempts"] = request.max_attempts
        before, kind, old = self.node.frames.count, task.frame.type_name, task.frame.message
        fields = {name: getattr(old, name) for name in _FIELDS[kind]}
        first = header(stamp_ns(old.header), old.header.frame_id)
        self._images[kind].publish(ros.message_type(kind)(header=first, **fields))
        self.until(lambda: self.node.frames.count > before)
        text = json.dumps(words)
        self.ended.pop(text, None)
        self._task.publish(topics.text(text))
        self.until(lambda: text in self.ended)
        end = self.ended[text]
        if end["task_id"] not in self.sequences:
            raise ItkError(f"the task {request.task.text!r} could not be replayed: {end['reason']}")
        return self.sequences[end["task_id"]]

    def close(self) -> None:
        self._closing.close()


def replay(
    bag: Path,
    out: Path,
    pipeline: PipelineSource,
    *,
    seed: int | None = None,
    node: str = "/visual_subgoal_node",
    say: Report = lambda line: None,
) -> bool:
    """Replay every task of a bag into ``out/task-01``, ``out/task-02``, …, and compare in ``out/replay.json``.

    Args:
        seed: instead of the recorded ones.
        node: the full name of the node in the bag.
        say: told each task's outcome, a line.

    Returns whether every subgoal that was recorded came out the same.
    """
    tasks = recorded_tasks(bag, node)
    _clear(out)
    records: list[dict[str, Any]] = []
    stage = _Stage(pipeline)
    try:
        for number, task in enumerate(tasks, 1):
            began_s = time.monotonic()
            sequence = timeless(stage.play(task, seed))
            write_sequence(sequence, out / f"task-{number:02d}")
            records.append(_compared(task, sequence))
            verdict = "the same as recorded" if records[-1]["same"] else "; ".join(records[-1]["differences"])
            say(f"task {number} of {len(tasks)}: {sequence.status}, {verdict} ({time.monotonic() - began_s:.1f} s)")
    finally:
        stage.close()
    report = {"bag": bag.name, "stack": sequence.stack, "tasks": records}
    (out / "replay.json").write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return all(record["same"] for record in records)


def _clear(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {out} is a file; give a folder.")
    ours = list(out.iterdir()) if out.exists() else []
    strangers = [path.name for path in ours if not (path.name.startswith("task-") or path.name == "replay.json")]
    if strangers:
        raise InputError(f"--out {out} holds other files ({sorted(strangers)[0]}, …); give an empty or new folder.")
    for path in ours:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    out.mkdir(parents=True, exist_ok=True)


def timeless(sequence: SubgoalSequence) -> SubgoalSequence:
    """The same sequence without anything that a clock said while it was made."""
    subgoals = tuple(
        dataclasses.replace(
            subgoal, attempts=tuple(dataclasses.replace(a, generate_s=0.0, judge_s=0.0) for a in subgoal.attempts)
        )
        for subgoal in sequence.subgoals
    )
    return dataclasses.replace(sequence, subgoals=subgoals, plan_s=0.0, first_subgoal_s=None, total_s=0.0)


def _compared(task: RecordedTask, sequence: SubgoalSequence) -> dict[str, Any]:
    made = {subgoal.step.step_number: subgoal for subgoal in sequence.subgoals}
    differences = []
    for words in task.subgoals:
        subgoal = made.get(words["step"])
        if subgoal is None:
            differences.append(f"step {words['step']} did not come")
            continue
        picture = "" if subgoal.image is None else image_hash(subgoal.image)
        if (str(subgoal.status), picture) != (words["status"], words["image_sha256"]):
            what = "picture" if str(subgoal.status) == words["status"] else f"status ({subgoal.status})"
            differences.append(f"step {words['step']} has another {what}")
    if task.status in ("verified", "partial", "failed") and str(sequence.status) != task.status:
        differences.append(f"the task was {task.status} when recorded")
    return {
        "task": sequence.task.text,
        "seed": sequence.task.seed,
        "status": str(sequence.status),
        "recorded_status": task.status,
        "same": not differences,
        "differences": differences,
    }
