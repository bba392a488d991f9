"""Which subgoals may reach a policy, and why the others may not. Pure rules: no topics, no threads, no clock."""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from itk_embodied.errors import InputError
from itk_embodied.ros.pictures import NANOSECONDS, rgb_of_compressed
from itk_embodied.types import Image

_KEPT = 64

Words: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Matched:
    """A verified subgoal's words with its picture."""

    words: Words
    image: Image


@dataclass(frozen=True)
class Dropped:
    """A subgoal that must not reach the policy; ``verified`` where it would have been good enough."""

    task_id: str
    step: int
    reason: str
    verified: bool = False


class GoalDesk:
    """Matches words and pictures and applies the rules.

    Picture and words travel on two topics; they are matched by the picture's SHA-256, which the words carry, so that a
    picture is never taken for another step's.

    Args:
        began_ns: goals from an older camera frame are dropped: a robot that has just started must not carry out what
            was planned for the scene before.
    """

    def __init__(self, began_ns: int) -> None:
        self._began_ns = began_ns
        self._words: OrderedDict[str, list[Words]] = OrderedDict()  # by the picture's SHA-256, not yet matched
        self._pictures: OrderedDict[str, Any] = OrderedDict()
        self._last_step: OrderedDict[str, int] = OrderedDict()

    def words(self, text: str) -> list[Matched | Dropped]:
        """A message of the subgoal topic; what can be decided now."""
        try:
            words = json.loads(text)
            task_id, step, status = words["task_id"], words["step"], words["status"]
            digest = (words.get("image") or {}).get("sha256", "")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            return [Dropped("", 0, f"a subgoal cannot be read ({type(error).__name__}: {error})")]
        if status != "verified":
            return [Dropped(task_id, step, f"it is {status}, not verified")]
        if not digest:
            return [Dropped(task_id, step, "it has no picture")]
        self._keep(self._words, digest, [*self._words.get(digest, []), words])
        return self._match(digest)

    def picture(self, message: Any) -> list[Matched | Dropped]:
        """A message of the picture topic; what can be decided now."""
        digest = hashlib.sha256(message.data).hexdigest()
        self._keep(self._pictures, digest, message)
        return self._match(digest)

    @staticmethod
    def _keep(table: OrderedDict[str, Any], key: str, value: Any) -> None:
        table[key] = value
        while len(table) > _KEPT:
            table.popitem(last=False)

    def _match(self, digest: str) -> list[Matched | Dropped]:
        if digest not in self._words or digest not in self._pictures:
            return []
        # Two steps may have the very same picture.
        return [self._judge(words, self._pictures[digest]) for words in self._words.pop(digest)]

    def _judge(self, words: Words, picture: Any) -> Matched | Dropped:
        task_id, step = words["task_id"], words["step"]
        if words["stamp_ns"] < self._began_ns:
            return Dropped(task_id, step, "its camera frame is from before this policy started", True)
        if step <= self._last_step.get(task_id, 0):
            return Dropped(task_id, step, "it came twice, or after a later step", True)
        try:
            image = rgb_of_compressed(picture)
        except InputError as error:
            return Dropped(task_id, step, f"its picture cannot be read: {error}", True)
        self._keep(self._last_step, task_id, step)
        return Matched(words, image)


def staleness(stamp_ns: int, valid_until_ns: int | None, now_ns: int, max_age_s: float) -> str:
    """Why a goal is too old to pursue; empty where it is not."""
    age_s = (now_ns - stamp_ns) / NANOSECONDS
    if age_s > max_age_s:
        return f"its camera frame is {age_s:.0f} s old; at most {max_age_s:g} s are allowed (max_goal_age_s)"
    if valid_until_ns is not None and now_ns > valid_until_ns:
        return f"it expired {(now_ns - valid_until_ns) / NANOSECONDS:.1f} s ago"
    return ""
