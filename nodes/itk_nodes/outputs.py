"""What visual_subgoal_node says on its topics, and the recording of what it hears and says."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec

from itk_embodied import ros
from itk_embodied.bridges.codec import Part
from itk_embodied.bridges.wire import EndMessage, PlanMessage, SubgoalMessage, TaskMessage
from itk_embodied.recording import Recorder
from itk_embodied.ros.pictures import compressed_message
from itk_nodes import topics
from itk_nodes.frames import Held

_KEPT_SUBGOALS = 64


class Outputs:
    """The node's publishers. Everything that goes through is recorded too, where a recording runs.

    Args:
        session: who is speaking: a restarted node has another one, and knows nothing of older tasks.
    """

    def __init__(self, node: Any, session: str) -> None:
        self.counts: Counter[str] = Counter()
        self.recorder: Recorder | None = None
        self._node = node
        self._session = session
        self._texts: dict[str, str] = {}
        String, Compressed = ros.message_type(topics.STRING), ros.message_type(topics.COMPRESSED)
        self._plan = node.create_publisher(String, "~/plan", topics.current(1))
        self._subgoal = node.create_publisher(String, "~/subgoal", topics.current(_KEPT_SUBGOALS))
        self._picture = node.create_publisher(Compressed, "~/subgoal/compressed", topics.current(_KEPT_SUBGOALS))
        self._status = node.create_publisher(String, "~/status", topics.current())
        self._diagnostics = node.create_publisher(ros.message_type(topics.DIAGNOSTICS), "/diagnostics", topics.words())

    def new_task(self, task_id: str, text: str) -> None:
        """Remember a task's text for its statuses."""
        self._texts[task_id] = text

    def say(self, task_id: str, state: str, reason: str, **more: Any) -> None:
        """``state`` is accepted, running, or a terminal status."""
        terminal = state not in ("accepted", "running")
        text = self._texts.pop(task_id, "") if terminal else self._texts.get(task_id, "")
        status = {"task_id": task_id, "state": state, "terminal": terminal, "reason": reason, "task": text, **more}
        self._send(self._status, topics.STRING, topics.text(json.dumps({**status, "session": self._session})))

    def refuse(self, task_id: str, reason: str) -> None:
        self.counts["refused"] += 1
        self._node.get_logger().warning(f"task refused: {reason}")
        self.say(task_id, "failed", reason, refused=True)

    def publish(self, message: TaskMessage, payload: Part) -> None:
        """Put one of the service's messages on its topics."""
        if isinstance(message, PlanMessage):
            self._send(self._plan, topics.STRING, topics.text(_json(message)))
            self.say(message.task_id, "running", "")
        elif isinstance(message, SubgoalMessage):
            self.counts[message.status] += 1
            if message.status == "verified" and message.image is not None:
                # A picture alone cannot say that it is unverified, so only verified ones go out as pictures.
                picture = compressed_message(payload, message.image.encoding, message.stamp_ns, message.frame_id)
                self._send(self._picture, topics.COMPRESSED, picture)
            self._send(self._subgoal, topics.STRING, topics.text(_json(message)))
        elif isinstance(message, EndMessage):
            self.counts["tasks"] += 1
            self._node.get_logger().info(f"task {message.task_id} ended: {message.status}. {message.reason}")
            more = {"verified": message.verified, "attempts": message.attempts, "seconds": message.total_s}
            self.say(message.task_id, message.status, message.reason, **more)

    def diagnose(self, message: Any) -> None:
        self._send(self._diagnostics, topics.DIAGNOSTICS, message)

    def _send(self, publisher: Any, type_name: str, message: Any) -> None:
        publisher.publish(message)
        self.record(publisher.topic_name, type_name, message)

    def start_recording(self, path: Path, metadata: dict[str, str]) -> None:
        """Raises `InputError` where the file exists or cannot be made."""
        self.recorder = Recorder(path, metadata)

    def stop_recording(self) -> None:
        if self.recorder is not None:
            self.recorder.close()
            self.recorder = None

    def record(self, topic: str, type_name: str, message: Any) -> None:
        if self.recorder is not None:
            self.recorder.put(self._node.resolve_topic_name(topic), type_name, message)

    def record_frame(self, held: Held, *, used: bool) -> None:
        """A camera frame. One that a task is planned from is recorded in any case, others where the disk keeps up."""
        if self.recorder is not None and not held.recorded:
            topic = "~/image" if held.type_name == topics.IMAGE else "~/image/compressed"
            name = self._node.resolve_topic_name(topic)
            held.recorded = self.recorder.put(name, held.type_name, held.message, may_drop=not used)


def _json(message: msgspec.Struct) -> str:
    return msgspec.json.encode(message).decode()
