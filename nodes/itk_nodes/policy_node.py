"""policy_node: takes verified subgoals off the topics and hands them, one by one, to a policy.

A subgoal that is not ``verified`` never reaches the policy, nor one whose task was cancelled, failed, expired or
replaced, nor one from a camera frame older than ``max_goal_age_s`` or older than this node; the policy is stopped in
the middle of a goal that becomes so, and where visual_subgoal_node falls silent or starts anew. ``~/status`` (JSON)
says what becomes of each goal and why, and how each task ended here: exactly one terminal status a task.
"""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from itk_embodied import ros
from itk_nodes import parameters, topics
from itk_nodes.goal_desk import Dropped, GoalDesk, Matched, staleness
from itk_nodes.policies import DESCRIBE, Goal, Policy, TaskEnd, load_policy
from itk_nodes.policy_runner import PolicyRunner

NAME = "policy_node"
DEFAULTS: dict[str, Any] = {"subgoals": "/visual_subgoal_node", "max_goal_age_s": 600.0, "node_timeout_s": 5.0}
_KEPT = 64
_STOPPING = ("cancelled", "failed", "expired")
_WATCH_S = 0.2
_LAST_GOAL_S = 5.0  # how long the last goals may take to arrive after their task's end: topics keep no common order


@dataclass(eq=False)
class _Open:
    """A task that has not ended here."""

    task_id: str
    session: str = ""
    task: str = ""
    stop: threading.Event = field(default_factory=threading.Event)
    why: list[str] = field(default_factory=list)
    goals: int = 0
    reached: list[int] = field(default_factory=list)
    pending: int = 0
    end: dict[str, Any] | None = None  # the node's terminal status
    ended_s: float = 0.0


class PolicyNode:
    """The node around a policy.

    Args:
        policy: called with one goal at a time, in order; see `itk_nodes.policies.Policy`.
    """

    def __init__(self, node: Any, policy: Policy) -> None:
        self.node = node
        self.finished: list[tuple[str, int]] = []
        self._log = node.get_logger()
        values = parameters.declare(node, DEFAULTS)
        parameters.check_values(
            node, parameters.range_check({"max_goal_age_s": 1e-3, "node_timeout_s": 1.5}), tuple(DEFAULTS)
        )
        self._start = node.resolve_topic_name(values["subgoals"].rstrip("/"))
        self._desk = GoalDesk(self._now_ns())
        self._lock = threading.RLock()
        self._task: _Open | None = None
        self._refused: dict[str, list[str]] = {}  # by task id: verified goals that the rules keep from the policy
        self._over: dict[str, str] = {}  # task id -> how it ended, so that nothing late of it is taken
        self._broken = ""
        self._heard_s, self._session = 0.0, ""
        String, Compressed = ros.message_type(topics.STRING), ros.message_type(topics.COMPRESSED)
        self._status = node.create_publisher(String, "~/status", topics.current())
        self._runner = PolicyRunner(policy, stale=self._stale, on_goal=self._on_goal, on_broken=self._on_broken)
        goals = topics.current(_KEPT)
        node.create_subscription(String, f"{self._start}/subgoal", self._on_words, goals)
        node.create_subscription(Compressed, f"{self._start}/subgoal/compressed", self._on_picture, goals)
        node.create_subscription(String, f"{self._start}/status", self._on_status, topics.current())
        diagnostics = ros.message_type(topics.DIAGNOSTICS)
        node.create_subscription(diagnostics, "/diagnostics", self._on_diagnostics, topics.words())
        node.create_timer(_WATCH_S, self._watch)

    def _now_ns(self) -> int:
        return int(self.node.get_clock().now().nanoseconds)

    def _stale(self, goal: Goal) -> str:
        max_age_s = self.node.get_parameter("max_goal_age_s").value
        return staleness(goal.stamp_ns, goal.valid_until_ns, self._now_ns(), max_age_s)

    # What comes in

    def _on_words(self, message: Any) -> None:
        self._take(self._desk.words(message.data))

    def _on_picture(self, message: Any) -> None:
        self._take(self._desk.picture(message))

    def _take(self, decided: list[Matched | Dropped]) -> None:
        with self._lock:
            for one in decided:
                if isinstance(one, Dropped):
                    self._say(one.task_id, one.step, "dropped", one.reason)
                    if one.verified:  # it may come before anything else that is heard of its task
                        self._refused.setdefault(one.task_id, []).append(f"step {one.step}: {one.reason}")
                else:
                    self._accept(one)
            self._end_if_complete()

    def _accept(self, matched: Matched) -> None:
        words = matched.words
        task_id, step = words["task_id"], words["step"]
        if task_id in self._over:
            return self._say(task_id, step, "dropped", f"its task is over: {self._over[task_id]}")
        if self._broken:
            return self._say(task_id, step, "dropped", f"the policy does not run: {self._broken}")
        task = self._open(task_id)
        task.goals += 1
        task.pending += 1
        goal = Goal(
            image=matched.image,
            instruction=words["instruction"],
            step=step,
            step_count=words["step_count"],
            task_id=task_id,
            stamp_ns=words["stamp_ns"],
            valid_until_ns=words.get("valid_until_ns") or None,
            stop=task.stop,
            why=task.why,
        )
        self._runner.put(goal)
        return self._say(task_id, step, "accepted", "")

    def _open(self, task_id: str) -> _Open:
        """The open task of that id; another one's goals must not move the robot any more."""
        if self._task is None or self._task.task_id != task_id:
            if self._task is not None:
                self._finish(self._task, "replaced", "a newer task has begun")
            self._task = _Open(task_id, self._session)
        return self._task

    def _on_status(self, message: Any) -> None:
        try:
            status = json.loads(message.data)
            task_id, state = status["task_id"], status["state"]
        except (ValueError, KeyError, TypeError):
            return
        with self._lock:
            self._on_session(status.get("session", ""))
            task = self._task if self._task is not None and self._task.task_id == task_id else None
            if task is not None:
                task.task = status.get("task", "") or task.task
            if state in _STOPPING:
                reason = f"the task is {state}: {status.get('reason', '')}"
                if task is not None:
                    self._finish(task, state, reason)
                else:
                    self._over[task_id] = reason
            elif task is not None and status.get("terminal"):
                task.end, task.ended_s = status, time.monotonic()
                self._end_if_complete()
            elif state == "running" and task_id not in self._over and task is None:
                self._open(task_id).task = status.get("task", "")

    def _on_diagnostics(self, message: Any) -> None:
        for status in message.status:
            if status.hardware_id == self._start:
                self._heard_s = time.monotonic()
                session = next((pair.value for pair in status.values if pair.key == "session"), "")
                with self._lock:
                    self._on_session(session)

    def _on_session(self, session: str) -> None:
        """A node that was restarted knows nothing of the task that was open, so nobody else would ever end it."""
        if not session:
            return
        self._session, task = session, self._task
        if task is not None and not task.session:
            task.session = session  # a goal came before anything said whose it was
        elif task is not None and task.session != session and task.end is None:
            self._finish(task, "failed", f"{self._start} was restarted; the task it worked on is lost")

    # What goes on

    def _watch(self) -> None:
        with self._lock:
            task = self._task
            if task is None:
                return
            goal = self._runner.current
            stale = self._stale(goal) if goal is not None and goal.task_id == task.task_id else ""
            silent_s = time.monotonic() - self._heard_s
            if stale:
                self._finish(task, "expired", f"step {goal.step if goal else 0} is stale: {stale}")
            elif task.end is None and self._heard_s and silent_s > self.node.get_parameter("node_timeout_s").value:
                self._finish(task, "failed", f"{self._start} has been silent for {silent_s:.0f} s; is it running?")
            else:
                self._end_if_complete()

    def _on_goal(self, goal: Goal, state: str, reason: str) -> None:
        """In the policy's thread."""
        with self._lock:
            self._say(goal.task_id, goal.step, state, reason)
            task = self._task
            if state == "reached":
                self.finished.append((goal.task_id, goal.step))
            if task is None or task.task_id != goal.task_id:
                return
            task.pending -= state != "running"
            if state == "reached":
                task.reached.append(goal.step)
            elif state in ("failed", "dropped"):
                self._finish(task, "expired" if state == "dropped" else "failed", f"step {goal.step}: {reason}")
            self._end_if_complete()

    def _on_broken(self, reason: str) -> None:
        with self._lock:
            self._broken = reason
            self._log.error(f"the policy is broken: {reason}")
            if self._task is not None:
                self._finish(self._task, "failed", f"the policy is broken: {reason}")

    def _end_if_complete(self) -> None:
        """A task whose node has ended it is over here when each of its verified goals was reached."""
        task = self._task
        if task is None or task.end is None or task.pending:
            return
        missing = int(task.end.get("verified", 0)) - task.goals
        refused = self._refused.get(task.task_id, [])
        if missing > len(refused) and time.monotonic() - task.ended_s < _LAST_GOAL_S:
            return
        if missing > 0:
            why = f" ({refused[-1]})" if refused else ""
            self._finish(task, "failed", f"{missing} of its verified goals did not reach the policy{why}")
        elif task.end["state"] == "verified":
            self._finish(task, "done", "")
        else:
            self._finish(task, "partial", f"the task is {task.end['state']}: {task.end.get('reason', '')}")

    def _finish(self, task: _Open, state: str, reason: str) -> None:
        task.why.append(reason)
        task.stop.set()
        self._task = None
        self._refused.pop(task.task_id, None)
        self._over[task.task_id] = reason or state
        self._say(task.task_id, None, state, reason, reached=task.reached, terminal=True)
        self._runner.put(TaskEnd(task.task_id, state, reason, task.task, tuple(task.reached)))

    def _say(self, task_id: str, step: int | None, state: str, reason: str, **more: Any) -> None:
        where = "the task" if step is None else f"step {step}"
        said = f"{where} is {state}{f': {reason}' if reason else ''}"
        if state in ("accepted", "running", "reached", "done"):
            self._log.info(said)
        else:
            self._log.warning(said)
        status = {"task_id": task_id, "step": step, "state": state, "reason": reason, "terminal": False, **more}
        self._status.publish(topics.text(json.dumps(status)))

    def close(self) -> None:
        with self._lock:
            if self._task is not None:
                self._finish(self._task, "cancelled", "the policy node stopped")
        self._runner.close()


def main(argv: list[str] | None = None) -> int:
    """``policy_node [--policy MODULE:CALLABLE] [--policy-options JSON] [--backend NAME] [--ros-args …]``."""
    from itk_nodes.runtime import node_parser, run_node

    parser = node_parser(NAME, "Hand verified subgoals to a policy.")
    parser.add_argument("--policy", default=DESCRIBE, help="module:callable, given each Goal")
    parser.add_argument("--policy-options", default="", help="a JSON object of arguments, for a policy that is a class")

    def make(node: Any, options: Any) -> PolicyNode:
        return PolicyNode(node, load_policy(options.policy, options.policy_options))

    return run_node(NAME, make, argv, parser=parser)


if __name__ == "__main__":
    raise SystemExit(main())
