"""policy_node: takes verified subgoals off the topics and hands them, one by one, to a policy.

Picture and words travel on two topics; they are matched by the picture's SHA-256, which the words carry, so that a
picture is never taken for another step's. A subgoal that is not ``verified`` never reaches the policy, nor one whose
task was cancelled, failed or replaced, nor one from a frame older than ``max_goal_age_s``.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import queue
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from itk_embodied import ros
from itk_embodied.errors import ConfigError, InputError
from itk_embodied.ros.pictures import NANOSECONDS, rgb_of_compressed
from itk_embodied.types import Image
from itk_nodes import topics

NAME = "policy_node"
_KEPT = 64
_STOPPING = ("cancelled", "failed", "expired")


@dataclass(frozen=True, eq=False)
class Goal:
    """One verified goal image for the policy. ``stop`` is set when it must let go of it."""

    image: Image
    instruction: str
    step: int
    step_count: int
    task_id: str
    stamp_ns: int
    stop: threading.Event


Policy: TypeAlias = Callable[[Goal], None]


class PolicyNode:
    """Runs the policy in a thread of its own, so that a stop is heard while the robot moves.

    Args:
        policy: called with one goal at a time, in order; it returns when the goal is reached or ``goal.stop`` is set.
    """

    def __init__(self, node: Any, policy: Policy) -> None:
        self.node = node
        self.finished: list[tuple[str, int]] = []
        self._policy = policy
        self._log = node.get_logger()
        start = node.declare_parameter("subgoals", "/visual_subgoal_node").value.rstrip("/")
        node.declare_parameter("max_goal_age_s", 600.0)
        self._words: OrderedDict[str, list[dict[str, Any]]] = OrderedDict()  # by the picture's SHA-256, not yet paired
        self._pictures: OrderedDict[str, Any] = OrderedDict()
        self._task_id = ""
        self._ended: set[str] = set()
        self._stop = threading.Event()
        self._goals: queue.SimpleQueue[Goal | None] = queue.SimpleQueue()
        String, Compressed = ros.message_type(topics.STRING), ros.message_type(topics.COMPRESSED)
        node.create_subscription(String, f"{start}/subgoal", self._on_words, topics.current(_KEPT))
        node.create_subscription(Compressed, f"{start}/subgoal/compressed", self._on_picture, topics.current(_KEPT))
        node.create_subscription(String, f"{start}/status", self._on_status, topics.current())
        self._thread = threading.Thread(target=self._run, name=NAME, daemon=True)
        self._thread.start()

    def _on_words(self, message: Any) -> None:
        words = json.loads(message.data)
        if words.get("status") != "verified" or not words.get("image"):
            self._log.info(f"step {words.get('step')} is {words.get('status')}: the policy does not get it")
            return
        digest = words["image"]["sha256"]
        self._keep(self._words, digest, [*self._words.get(digest, []), words])
        self._pair(digest)

    def _on_picture(self, message: Any) -> None:
        digest = hashlib.sha256(message.data).hexdigest()
        self._keep(self._pictures, digest, message)
        self._pair(digest)

    @staticmethod
    def _keep(table: OrderedDict[str, Any], digest: str, value: Any) -> None:
        table[digest] = value
        while len(table) > _KEPT:
            table.popitem(last=False)

    def _pair(self, digest: str) -> None:
        if digest not in self._words or digest not in self._pictures:
            return
        for words in self._words.pop(digest):  # two steps may have the very same picture
            self._take(words, self._pictures[digest])

    def _take(self, words: dict[str, Any], picture: Any) -> None:
        task_id = words["task_id"]
        if task_id in self._ended:
            return
        age_s = (self.node.get_clock().now().nanoseconds - words["stamp_ns"]) / NANOSECONDS
        if age_s > self.node.get_parameter("max_goal_age_s").value:
            self._log.warning(f"step {words['step']} is stale: its camera frame is {age_s:.0f} s old; dropped")
            return
        try:
            image = rgb_of_compressed(picture)
        except InputError as error:
            self._log.error(f"step {words['step']} cannot be read: {error}")
            return
        if task_id != self._task_id:
            self._new_task(task_id)
        self._goals.put(
            Goal(
                image=image,
                instruction=words["instruction"],
                step=words["step"],
                step_count=words["step_count"],
                task_id=task_id,
                stamp_ns=words["stamp_ns"],
                stop=self._stop,
            )
        )

    def _new_task(self, task_id: str) -> None:
        """Goals of an older task must not move the robot any more."""
        self._stop.set()
        self._stop = threading.Event()
        self._task_id = task_id

    def _on_status(self, message: Any) -> None:
        status = json.loads(message.data)
        if status["state"] in _STOPPING:
            self._ended.add(status["task_id"])
            if status["task_id"] == self._task_id:
                self._log.warning(f"the task is {status['state']}: {status['reason']}; the policy stops")
                self._stop.set()

    def _run(self) -> None:
        while (goal := self._goals.get()) is not None:
            if goal.stop.is_set():
                continue
            self._log.info(f"step {goal.step} of {goal.step_count}: {goal.instruction}")
            try:
                self._policy(goal)
            except Exception as error:
                self._log.error(f"the policy failed at step {goal.step}: {error}; it gets no more goals of this task")
                goal.stop.set()
                continue
            if not goal.stop.is_set():
                self.finished.append((goal.task_id, goal.step))

    def close(self) -> None:
        self._stop.set()
        self._goals.put(None)
        self._thread.join(5.0)


def describe(goal: Goal) -> None:
    """The policy of a robot that is not there: it says what it would do."""
    height, width = goal.image.shape[:2]
    print(f"goal {goal.step}/{goal.step_count} ({width}x{height} px): {goal.instruction}", flush=True)


def load_policy(name: str) -> Policy:
    """A policy by ``module:callable``.

    Raises:
        ConfigError: no such module or callable.
    """
    module, _, attribute = name.partition(":")
    try:
        policy = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"policy {name!r} cannot be loaded ({error}); write module:callable.") from error
    if not callable(policy):
        raise ConfigError(f"policy {name!r} is a {type(policy).__name__}; it must be callable with a Goal.")
    return policy  # type: ignore[no-any-return]


def main(argv: list[str] | None = None) -> int:
    """``policy_node [--policy MODULE:CALLABLE] [--backend NAME] [--ros-args …]``."""
    from itk_nodes.runtime import node_parser, run_node

    parser = node_parser(NAME, "Hand verified subgoals to a policy.")
    parser.add_argument("--policy", default="itk_nodes.policy_node:describe", help="module:callable, given each Goal")
    return run_node(NAME, lambda node, options: PolicyNode(node, load_policy(options.policy)), argv, parser=parser)


if __name__ == "__main__":
    raise SystemExit(main())
