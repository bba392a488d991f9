"""Runs a policy in a thread of its own, so that a stop is heard while the robot moves."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any

from itk_embodied.errors import ItkError
from itk_nodes.policies import Goal, Policy, TaskEnd

_IDLE_S = 0.2


class PolicyRunner:
    """Goals in, in order; each is reported as ``running``, then ``reached``, ``stopped``, ``dropped`` or ``failed``.

    Args:
        stale: why a goal must not be pursued now; empty where it may.
        on_goal: called with the goal, its new state and the reason, in the policy's thread.
        on_broken: called where the policy cannot even be opened.
    """

    def __init__(
        self,
        policy: Policy,
        *,
        stale: Callable[[Goal], str],
        on_goal: Callable[[Goal, str, str], None],
        on_broken: Callable[[str], None],
    ) -> None:
        self.current: Goal | None = None
        self._policy, self._stale, self._on_goal, self._on_broken = policy, stale, on_goal, on_broken
        self._items: queue.SimpleQueue[Goal | TaskEnd | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._main, name="policy", daemon=True)
        self._thread.start()

    def put(self, item: Goal | TaskEnd) -> None:
        self._items.put(item)

    def close(self, timeout_s: float = 5.0) -> None:
        self._items.put(None)
        self._thread.join(timeout_s)

    def _main(self) -> None:
        try:
            self._call("open")
        except Exception as error:
            self._on_broken(_said(error))
            return
        idle_s = _IDLE_S if hasattr(self._policy, "idle") else None
        try:
            while True:
                try:
                    item = self._items.get(timeout=idle_s)
                except queue.Empty:
                    self._safely("idle")
                    continue
                if item is None:
                    return
                if isinstance(item, TaskEnd):
                    self._safely("ended", item)
                else:
                    self._pursue(item)
        finally:
            self._safely("close")

    def _pursue(self, goal: Goal) -> None:
        if goal.stop.is_set():
            return self._on_goal(goal, "stopped", _why(goal))
        stale = self._stale(goal)
        if stale:
            return self._on_goal(goal, "dropped", stale)
        self.current = goal
        self._on_goal(goal, "running", "")
        try:
            self._policy(goal)
        except Exception as error:
            state, reason = "failed", _said(error)
        else:
            state, reason = ("stopped", _why(goal)) if goal.stop.is_set() else ("reached", "")
        self.current = None
        return self._on_goal(goal, state, reason)

    def _call(self, name: str, *arguments: Any) -> None:
        method = getattr(self._policy, name, None)
        if method is not None:
            method(*arguments)

    def _safely(self, name: str, *arguments: Any) -> None:
        try:
            self._call(name, *arguments)
        except Exception as error:
            self._on_broken(_said(error))


def _why(goal: Goal) -> str:
    return goal.why[0] if goal.why else "the goal was taken back"


def _said(error: Exception) -> str:
    return str(error) if isinstance(error, ItkError) else f"{type(error).__name__}: {error}"
