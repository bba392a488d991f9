"""visual_subgoal_node: camera frames and a task in; plan, verified subgoals and status out, on topics and on ZeroMQ.

Topics, under the node's own name: in ``~/image`` (sensor_msgs/Image) or ``~/image/compressed``, ``~/task`` (a sentence,
or JSON {task, deadline_s, max_attempts, seed}), ``~/cancel`` (Empty); out ``~/plan`` and ``~/subgoal`` (JSON, kept for
late joiners), ``~/subgoal/compressed`` (verified pictures only, with the source frame's stamp), ``~/status``, and
``/diagnostics``.
"""

from __future__ import annotations

import json
import uuid
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

import msgspec

from itk_embodied import ros
from itk_embodied.bridges.codec import Part
from itk_embodied.bridges.wire import EndMessage, PlanMessage, SubgoalMessage, TaskMessage
from itk_embodied.bridges.worker import PipelineSource, Worker
from itk_embodied.errors import ConfigError, InputError
from itk_embodied.ros.pictures import NANOSECONDS, compressed_message
from itk_embodied.service import ServiceConfig, SubgoalService
from itk_embodied.types import SubgoalSequence
from itk_nodes import topics
from itk_nodes.diagnostics import report
from itk_nodes.frames import LatestFrame
from itk_nodes.requests import TaskRequest, parse_request

NAME = "visual_subgoal_node"
_TICK_S = 0.05
_KEPT_SUBGOALS = 64


class VisualSubgoalNode:
    """The node around a `SubgoalService`. All its callbacks run in the executor's thread.

    Args:
        node: an rclpy-shaped node, made by `itk_embodied.ros.create_node`.
        pipeline: a pipeline, a function that loads one, or a worker (see `SubgoalService`).
        service: addresses for ZeroMQ listeners; the encoding must be png or jpeg.
        on_sequence: called with each finished sequence, in the worker.
    """

    def __init__(
        self,
        node: Any,
        pipeline: PipelineSource | Worker,
        service: ServiceConfig | None = None,
        *,
        on_sequence: Callable[[str, SubgoalSequence], None] | None = None,
    ) -> None:
        service = service or ServiceConfig()
        if service.encoding == "raw":
            raise ConfigError("the node publishes compressed pictures; use encoding png or jpeg, not raw.")
        self.node = node
        self.frames = LatestFrame()
        self._log = node.get_logger()
        self._waiting: tuple[str, TaskRequest, int] | None = None  # task id, request, until (ROS time)
        self._texts: dict[str, str] = {}
        self._events: deque[tuple[TaskMessage, Part]] = deque()
        self._counts: Counter[str] = Counter()
        self._declare_parameters()
        self._make_topics()
        self._wake = node.create_guard_condition(self._publish_events)
        self.service = SubgoalService(pipeline, service, on_message=self._on_message, on_sequence=on_sequence)
        self.service.start()

    def _declare_parameters(self) -> None:
        self.node.declare_parameter("max_frame_age_s", 1.0)
        self.node.declare_parameter("frame_wait_s", 0.5)
        self.node.declare_parameter("deadline_s", 1800.0)
        self.node.declare_parameter("seed", 0)
        self.node.add_on_set_parameters_callback(self._check_parameters)

    def _check_parameters(self, parameters: list[Any]) -> Any:
        lowest = {"max_frame_age_s": 1e-3, "frame_wait_s": 0.0, "deadline_s": 1e-3, "seed": 0}
        wrong = [p for p in parameters if p.name in lowest and not p.value >= lowest[p.name]]
        reason = " ".join(f"{p.name} is {p.value}; it must be at least {lowest[p.name]:g}." for p in wrong)
        return ros.message_type("rcl_interfaces/msg/SetParametersResult")(successful=not wrong, reason=reason)

    def _make_topics(self) -> None:
        node = self.node
        types = {name: ros.message_type(name) for name in (topics.STRING, topics.EMPTY, topics.IMAGE)}
        String, Empty, Image = types.values()
        Compressed = ros.message_type(topics.COMPRESSED)
        node.create_subscription(Image, "~/image", self.frames.put_image, topics.frames())
        node.create_subscription(Compressed, "~/image/compressed", self.frames.put_compressed, topics.frames())
        node.create_subscription(String, "~/task", lambda m: self.take_task(m.data), topics.words())
        node.create_subscription(Empty, "~/cancel", lambda m: self.cancel(), topics.words())
        self._plan = node.create_publisher(String, "~/plan", topics.current(1))
        self._subgoal = node.create_publisher(String, "~/subgoal", topics.current(_KEPT_SUBGOALS))
        self._picture = node.create_publisher(Compressed, "~/subgoal/compressed", topics.current(_KEPT_SUBGOALS))
        self._status = node.create_publisher(String, "~/status", topics.current())
        self._diagnostics = node.create_publisher(ros.message_type(topics.DIAGNOSTICS), "/diagnostics", topics.words())
        node.create_timer(_TICK_S, self._tick)
        node.create_timer(1.0, self._diagnose)

    def _value(self, name: str) -> Any:
        return self.node.get_parameter(name).value

    def _now_ns(self) -> int:
        return int(self.node.get_clock().now().nanoseconds)

    def take_task(self, text: str) -> str:
        """Start a task from the newest frame, waiting ``frame_wait_s`` for a fresh one; returns its id."""
        task_id = uuid.uuid4().hex
        self._texts[task_id] = text
        try:
            request = parse_request(text, seed=self._value("seed"))
        except InputError as error:
            self._refuse(task_id, str(error))
            return task_id
        if self._waiting is not None:
            replaced, self._waiting = self._waiting[0], None
            self._say(replaced, "cancelled", "replaced by a newer task")
        until_ns = self._now_ns() + round(self._value("frame_wait_s") * NANOSECONDS)
        self._waiting = (task_id, request, until_ns)
        self._tick()
        return task_id

    def cancel(self) -> None:
        """Stop everything; each task still ends with its terminal status."""
        if self._waiting is not None:
            task_id, self._waiting = self._waiting[0], None
            self._say(task_id, "cancelled", "the task was cancelled before it started")
        self.service.cancel()

    def _tick(self) -> None:
        if self._waiting is None:
            return
        task_id, request, until_ns = self._waiting
        now_ns = self._now_ns()
        try:
            frame, stamp_ns = self.frames.fresh(now_ns, self._value("max_frame_age_s"))
        except InputError as error:
            if now_ns >= until_ns:
                self._waiting = None
                self._refuse(task_id, str(error))
            return
        self._waiting = None
        self._say(task_id, "accepted", "")
        self.service.submit(
            frame,
            request.task,
            deadline_s=request.deadline_s or self._value("deadline_s"),
            max_attempts=request.max_attempts,
            stamp_ns=stamp_ns,
            task_id=task_id,
        )

    def _refuse(self, task_id: str, reason: str) -> None:
        self._counts["refused"] += 1
        self._log.warning(f"task refused: {reason}")
        self._say(task_id, "failed", reason, refused=True)

    def _say(self, task_id: str, state: str, reason: str, **more: Any) -> None:
        """``state`` is accepted, running, or a terminal status."""
        terminal = state not in ("accepted", "running")
        text = self._texts.pop(task_id, "") if terminal else self._texts.get(task_id, "")
        status = {"task_id": task_id, "state": state, "terminal": terminal, "reason": reason, "task": text, **more}
        self._status.publish(topics.text(json.dumps(status)))

    def _on_message(self, message: TaskMessage, payload: Part) -> None:
        """In the service's thread: hand it to the executor's."""
        self._events.append((message, payload))
        self._wake.trigger()

    def _publish_events(self) -> None:
        while self._events:
            self._publish(*self._events.popleft())

    def _publish(self, message: TaskMessage, payload: Part) -> None:
        if isinstance(message, PlanMessage):
            self._plan.publish(topics.text(_json(message)))
            self._say(message.task_id, "running", "")
        elif isinstance(message, SubgoalMessage):
            self._counts[message.status] += 1
            if message.status == "verified" and message.image is not None:
                # A picture alone cannot say that it is unverified, so only verified ones go out as pictures.
                picture = compressed_message(payload, message.image.encoding, message.stamp_ns, message.frame_id)
                self._picture.publish(picture)
            self._subgoal.publish(topics.text(_json(message)))
        elif isinstance(message, EndMessage):
            self._counts["tasks"] += 1
            self._log.info(f"task {message.task_id} ended: {message.status}. {message.reason}")
            more = {"verified": message.verified, "attempts": message.attempts, "seconds": message.total_s}
            self._say(message.task_id, message.status, message.reason, **more)

    def _diagnose(self) -> None:
        state, detail = self.service.state
        self._diagnostics.publish(
            report(
                NAME,
                self._now_ns(),
                state=state,
                detail=detail,
                frame_age_s=self.frames.age_s(self._now_ns()),
                max_frame_age_s=self._value("max_frame_age_s"),
                values={"frames": self.frames.count, **self._counts},
            )
        )

    def close(self) -> None:
        """End open tasks, publish their ends, and stop the service."""
        if self._waiting is not None:
            task_id, self._waiting = self._waiting[0], None
            self._say(task_id, "cancelled", "the node stopped")
        self.service.stop()
        self._publish_events()
        self._diagnose()


def _json(message: msgspec.Struct) -> str:
    return msgspec.json.encode(message).decode()


def main(argv: list[str] | None = None) -> int:
    """``visual_subgoal_node [--stack NAME|FILE] [--stream ADDRESS] [--requests ADDRESS] [--ros-args …]``."""
    from itk_nodes.runtime import run_subgoal_node

    return run_subgoal_node(argv)


if __name__ == "__main__":
    raise SystemExit(main())
