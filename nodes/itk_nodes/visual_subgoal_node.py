"""visual_subgoal_node: camera frames and a task in; plan, verified subgoals and status out, on topics and on ZeroMQ.

Topics, under the node's own name: in ``~/image`` (sensor_msgs/Image) or ``~/image/compressed``, ``~/task`` (a sentence,
or JSON {task, deadline_s, max_attempts, seed}), ``~/cancel`` (Empty); out ``~/plan`` and ``~/subgoal`` (JSON, kept for
late joiners), ``~/subgoal/compressed`` (verified pictures only, with the source frame's stamp), ``~/status``, and
``/diagnostics``. It is a managed node: configure loads the models, activate takes tasks (see `itk_nodes.lifecycle`).
"""

from __future__ import annotations

import time
import uuid
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from itk_embodied import ros
from itk_embodied.bridges.codec import Part
from itk_embodied.bridges.wire import TaskMessage
from itk_embodied.bridges.worker import PipelineSource, Worker
from itk_embodied.errors import ConfigError, InputError, ItkError
from itk_embodied.ros.pictures import NANOSECONDS
from itk_embodied.service import ServiceConfig, SubgoalService
from itk_embodied.types import SubgoalSequence
from itk_nodes import parameters, topics
from itk_nodes.diagnostics import Health, TypeWatch, report
from itk_nodes.frames import Held, LatestFrame, frame_of
from itk_nodes.lifecycle import Hook, Lifecycle, Progress
from itk_nodes.lifecycle_graph import State
from itk_nodes.outputs import Outputs
from itk_nodes.requests import TaskRequest, parse_request

NAME = "visual_subgoal_node"
_TICK_S, _DIAGNOSE_S = 0.05, 1.0


class VisualSubgoalNode:
    """The node around a `SubgoalService`. All its callbacks run in the executor's thread.

    Args:
        node: an rclpy-shaped node, made by `itk_embodied.ros.create_node`.
        pipeline: a pipeline, a function that loads one, or a worker (see `SubgoalService`).
        service: addresses for ZeroMQ listeners; the encoding must be png or jpeg.
        on_sequence: called with each finished sequence, in the worker.

    Raises:
        ItkError: with ``autostart``, it cannot even begin to configure; a port in use, for example.
    """

    def __init__(
        self,
        node: Any,
        pipeline: PipelineSource | Worker,
        service: ServiceConfig | None = None,
        *,
        on_sequence: Callable[[str, SubgoalSequence], None] | None = None,
    ) -> None:
        self._config = service or ServiceConfig()
        if self._config.encoding == "raw":
            raise ConfigError("the node publishes compressed pictures; use encoding png or jpeg, not raw.")
        self.node, self.session, self.frames = node, uuid.uuid4().hex, LatestFrame()
        self._pipeline, self._on_sequence = pipeline, on_sequence
        self._service: SubgoalService | None = None
        self._waiting: tuple[str, TaskRequest, int] | None = None  # task id, request, until (ROS time)
        self._events: deque[tuple[TaskMessage, Part]] = deque()
        self._diagnosed_s = 0.0
        parameters.declare_subgoal_node(node)
        self._make_topics()
        hooks: dict[str, Hook] = {
            "configure": self._configure,
            "activate": lambda: True,
            "deactivate": self._deactivate,
            "cleanup": self._release,
            "shutdown": self._release,
            "error": self._release,
        }
        self.lifecycle = Lifecycle(
            node, hooks, on_wait=lambda: self._diagnose(_DIAGNOSE_S), on_event=self._on_transition
        )
        self._autostart = bool(self._value("autostart"))
        if self._autostart:
            self._go_on(self.lifecycle.begin("configure"))
            if self.lifecycle.error is not None:
                raise self.lifecycle.error

    def _make_topics(self) -> None:
        node = self.node
        hears = (
            (topics.IMAGE, "~/image", self._on_image, topics.frames()),
            (topics.COMPRESSED, "~/image/compressed", self._on_compressed, topics.frames()),
            (topics.STRING, "~/task", self._on_task, topics.words()),
            (topics.EMPTY, "~/cancel", self._on_cancel, topics.words()),
        )
        for kind, name, callback, qos in hears:
            node.create_subscription(ros.message_type(kind), name, callback, qos)
        self._types = TypeWatch(node, {node.resolve_topic_name(name): kind for kind, name, _, _ in hears})
        self.out = Outputs(node, self.session)
        self._wake = node.create_guard_condition(self._publish_events)
        node.create_timer(_TICK_S, self._tick)
        node.create_timer(_DIAGNOSE_S, self._diagnose)

    @property
    def service(self) -> SubgoalService:
        """The service behind the node. Raises `ItkError` while the node is unconfigured."""
        if self._service is None:
            raise ItkError(f"the node is {self.lifecycle.state.label}; configure it first.")
        return self._service

    def _value(self, name: str) -> Any:
        return self.node.get_parameter(name).value

    def _now_ns(self) -> int:
        return int(self.node.get_clock().now().nanoseconds)

    # Lifecycle

    def _configure(self) -> Progress:
        self._release()  # what a configuring that failed has left
        if self._value("record_path"):
            known = {name: str(self._value(name)) for name in parameters.SUBGOAL_NODE}
            known["stack"] = str(self._pipeline) if isinstance(self._pipeline, str | Path) else "custom"
            self.out.start_recording(Path(self._value("record_path")), {"node": NAME, **known})
        service = SubgoalService(
            self._pipeline, self._config, on_message=self._on_message, on_sequence=self._on_sequence
        )
        service.start()
        self._service = service
        return self._configured

    def _configured(self) -> bool | None:
        state, detail = self.service.state
        if state == "broken":
            self.node.get_logger().error(f"the models could not be loaded: {detail}")
        return True if state == "ready" else False if state in ("broken", "stopping") else None

    def _go_on(self, configured: bool | None) -> None:
        if self._autostart and configured is not None:
            self._autostart = False
            if configured:
                self.lifecycle.begin("activate")

    def _on_transition(self, event: Any) -> None:
        self.out.record("~/transition_event", topics.TRANSITION, event)
        self._diagnose()

    def _deactivate(self) -> bool:
        self.cancel()
        return True

    def _release(self) -> bool:
        """End open tasks, publish their ends, stop the service and the recording."""
        self._drop_waiting("cancelled", "the node stopped")
        service, self._service = self._service, None
        if service is not None:
            service.stop()
        self._publish_events()
        self.out.stop_recording()
        return True

    def close(self) -> None:
        """Shut down as a lifecycle manager would."""
        self._autostart = False
        if self.lifecycle.begin("shutdown") is False:
            self._release()
        self._diagnose()

    # What comes in

    def _on_image(self, message: Any) -> None:
        self._keep(self.frames.put_image(message))

    def _on_compressed(self, message: Any) -> None:
        self._keep(self.frames.put_compressed(message))

    def _keep(self, held: Held) -> None:
        if self._value("record_frames") == "all":
            self.out.record_frame(held, used=False)

    def _on_task(self, message: Any) -> None:
        self.out.record("~/task", topics.STRING, message)
        self.take_task(message.data)

    def _on_cancel(self, message: Any) -> None:
        self.out.record("~/cancel", topics.EMPTY, message)
        self.cancel()

    def take_task(self, text: str) -> str:
        """Start a task from the newest frame, waiting ``frame_wait_s`` for a fresh one; returns its id."""
        task_id = uuid.uuid4().hex
        self.out.new_task(task_id, text)
        try:
            self._check_active()
            request = parse_request(text, seed=self._value("seed"))
        except InputError as error:
            self.out.refuse(task_id, str(error))
            return task_id
        self._drop_waiting("cancelled", "replaced by a newer task")
        until_ns = self._now_ns() + round(self._value("frame_wait_s") * NANOSECONDS)
        self._waiting = (task_id, request, until_ns)
        self._tick()
        return task_id

    def _check_active(self) -> None:
        """A task waits for models that load by themselves; else somebody must activate the node first."""
        state = self.lifecycle.state
        starting = self._autostart and state in (State.CONFIGURING, State.INACTIVE, State.ACTIVATING)
        if self.lifecycle.active or starting:
            return
        why = f" ({self._service.state[1]})" if self._service is not None and self._service.state[1] else ""
        wanted = "configure" if state is State.UNCONFIGURED else "activate"
        raise InputError(
            f"the node is {state.label}{why}; it takes tasks when active: ros2 lifecycle set "
            f"{self.node.get_fully_qualified_name()} {wanted}."
        )

    def cancel(self) -> None:
        """Stop everything; each task still ends with its terminal status."""
        self._drop_waiting("cancelled", "the task was cancelled before it started")
        if self._service is not None:
            self._service.cancel()

    def _drop_waiting(self, state: str, reason: str) -> None:
        if self._waiting is not None:
            task_id, self._waiting = self._waiting[0], None
            self.out.say(task_id, state, reason)

    def _tick(self) -> None:
        self._go_on(self.lifecycle.poll())
        if self._waiting is None:
            return
        task_id, request, until_ns = self._waiting
        now_ns = self._now_ns()
        try:
            held = self.frames.newest(now_ns, self._value("max_frame_age_s"))
            frame = frame_of(held)
        except InputError as error:
            if now_ns >= until_ns:
                self._waiting = None
                self.out.refuse(task_id, str(error))
            return
        self._waiting = None
        self.out.record_frame(held, used=True)
        used = {"stamp_ns": held.stamp_ns, "frame_id": frame.frame_id, "seed": request.task.seed}
        self.out.say(task_id, "accepted", "", **used)
        self.service.submit(
            frame,
            request.task,
            deadline_s=request.deadline_s or self._value("deadline_s"),
            max_attempts=request.max_attempts,
            stamp_ns=held.stamp_ns,
            task_id=task_id,
        )

    # What goes out

    def _on_message(self, message: TaskMessage, payload: Part) -> None:
        """In the service's thread: hand it to the executor's."""
        self._events.append((message, payload))
        self._wake.trigger()

    def _publish_events(self) -> None:
        while self._events:
            self.out.publish(*self._events.popleft())

    def _diagnose(self, least_s: float = 0.0) -> None:
        if time.monotonic() - self._diagnosed_s < least_s:
            return
        self._diagnosed_s = time.monotonic()
        service, detail = ("idle", "") if self._service is None else self._service.state
        problem = self.frames.problem
        recorder = self.out.recorder
        health = Health(
            lifecycle=self.lifecycle.state.label,
            service=service,
            detail=detail,
            frame_age_s=self.frames.age_s(self._now_ns()),
            max_frame_age_s=self._value("max_frame_age_s"),
            errors=(*self._types.problems(), *([problem] if problem else [])),
            warnings=(recorder.problem,) if recorder and recorder.problem else (),
        )
        values: dict[str, object] = {"session": self.session, "frames": self.frames.count, **self.out.counts}
        if recorder is not None:
            values |= {"recorded": recorder.written, "recording_dropped": recorder.dropped}
        message = report(self.node.get_fully_qualified_name(), self._now_ns(), health, values)
        self.out.diagnose(message)


def main(argv: list[str] | None = None) -> int:
    """``visual_subgoal_node [--stack NAME|FILE] [--stream ADDRESS] [--requests ADDRESS] [--ros-args …]``."""
    from itk_nodes.runtime import run_subgoal_node

    return run_subgoal_node(argv)


if __name__ == "__main__":
    raise SystemExit(main())
