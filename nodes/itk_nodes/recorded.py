"""What a bag says happened: the tasks that were taken, the frame each was planned from, and what came of it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from itk_embodied.errors import InputError
from itk_embodied.recording import BagMessage, read_bag
from itk_embodied.ros.pictures import stamp_ns
from itk_nodes import topics

_FRAMES = (topics.IMAGE, topics.COMPRESSED)


@dataclass(eq=False)
class RecordedTask:
    """One task that the node accepted.

    Attributes:
        text: what came on the task topic, as it was.
        seed: what it ran with, whether it came with the task or from the node's parameter.
        frame: the camera frame it was planned from.
        subgoals: the words of its subgoals, in order; ``status`` is how it ended, empty where the bag ends before.
    """

    task_id: str
    text: str
    seed: int
    stamp_ns: int
    frame: BagMessage | None = None
    subgoals: list[dict[str, Any]] = field(default_factory=list)
    status: str = ""


def recorded_tasks(path: Path, node: str = "/visual_subgoal_node") -> list[RecordedTask]:
    """The accepted tasks of a bag, in order.

    Args:
        node: the full name that the node had.

    Raises:
        InputError: no such bag, no accepted task in it, or a task's frame is missing.
    """
    tasks = _collect(read_bag(path), node)
    if not tasks:
        raise InputError(f"the bag {path} holds no task that {node} accepted; give the node's full name with --node.")
    _find_frames(path, node, tasks)
    for task in tasks.values():
        if task.frame is None:
            raise InputError(
                f"the bag {path} lacks the camera frame of the task {task.text!r}; record the image topic too."
            )
    return list(tasks.values())


def _collect(messages: Iterable[BagMessage], node: str) -> dict[str, RecordedTask]:
    tasks: dict[str, RecordedTask] = {}
    for message in messages:
        if message.topic == f"{node}/status":
            status = json.loads(message.message.data)
            task = tasks.get(status["task_id"])
            if status["state"] == "accepted" and task is None:
                tasks[status["task_id"]] = RecordedTask(
                    status["task_id"], status["task"], status["seed"], status["stamp_ns"]
                )
            elif task is not None and status["terminal"]:
                task.status = status["state"]
        elif message.topic == f"{node}/subgoal":
            words = json.loads(message.message.data)
            if words["task_id"] in tasks:
                tasks[words["task_id"]].subgoals.append(words)
    return tasks


def _find_frames(path: Path, node: str, tasks: dict[str, RecordedTask]) -> None:
    """A second pass, as a frame comes before its task; wherever the image topic was remapped to."""
    for message in read_bag(path):
        if message.type_name in _FRAMES and message.topic != f"{node}/subgoal/compressed":
            taken_ns = stamp_ns(message.message.header)
            for task in tasks.values():
                if task.stamp_ns == taken_ns and task.frame is None:
                    task.frame = message
