"""camera_node and visual_subgoal_node in one process on the in-process backend: the whole graph without ROS.

with NodeGraph(load_pipeline, frames="tcp://127.0.0.1:5593") as graph:
    graph.wait_ready(600)
    status = graph.run_task("put the red cube in the teal bowl", deadline_s=900)
"""

from __future__ import annotations

import contextlib
import json
import queue
import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

from itk_embodied import ros
from itk_embodied.bridges.sockets import DEFAULT_FRAMES
from itk_embodied.bridges.worker import PipelineSource, Worker
from itk_embodied.errors import InputError, TransportError
from itk_embodied.service import ServiceConfig
from itk_embodied.types import SubgoalSequence
from itk_nodes import topics
from itk_nodes.camera_node import CameraNode
from itk_nodes.policies import Policy
from itk_nodes.policy_node import PolicyNode
from itk_nodes.runtime import spin_until
from itk_nodes.sources import FrameSource, ZmqSource
from itk_nodes.visual_subgoal_node import VisualSubgoalNode


class NodeGraph:
    """The nodes, spun by a thread of their own.

    Args:
        pipeline: a stack, a pipeline, a function that loads one, or a worker (see `SubgoalService`).
        frames: the address of a camera's `FramePublisher`, or a `FrameSource`.
        service: where subgoals go over ZeroMQ.
        policy: also run a policy_node with it, for a robot in this same process.
        on_sequence: called with each finished sequence, attempts and pictures included, in the worker's thread.
        frame_wait_s: how long a task waits for a fresh frame; a simulator on a busy machine may be slow.
        ros_args: ``--ros-args …`` for remaps and parameters.
    """

    def __init__(
        self,
        pipeline: PipelineSource | Worker,
        *,
        frames: str | FrameSource = DEFAULT_FRAMES,
        service: ServiceConfig | None = None,
        policy: Policy | None = None,
        on_sequence: Callable[[str, SubgoalSequence], None] | None = None,
        frame_wait_s: float = 10.0,
        ros_args: Sequence[str] = (),
    ) -> None:
        self._stop = threading.Event()
        self._frame_wait_s = frame_wait_s
        self._statuses: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._closing = contextlib.ExitStack()
        ros.use_backend("inproc")
        ros.init(args=list(ros_args))
        self._closing.callback(ros.try_shutdown)
        try:
            source = ZmqSource(frames) if isinstance(frames, str) else frames
            executor = ros.SingleThreadedExecutor()
            self._camera_at = ros.create_node("camera_node")
            self._subgoals_at = ros.create_node(
                "visual_subgoal_node",
                cli_args=["--ros-args", "-r", "~/image:=/camera_node/image"],
                parameter_overrides=[ros.Parameter("frame_wait_s", value=float(frame_wait_s))],
            )
            self._user = ros.create_node("user")
            for node in (self._camera_at, self._subgoals_at, self._user):
                executor.add_node(node)
            self.camera = CameraNode(self._camera_at, source)
            self._closing.callback(self.camera.close)
            self.subgoals = VisualSubgoalNode(self._subgoals_at, pipeline, service, on_sequence=on_sequence)
            self._closing.callback(self.subgoals.close)
            if policy is not None:
                node = ros.create_node("policy_node")
                executor.add_node(node)
                self.policy = PolicyNode(node, policy)
                self._closing.callback(self.policy.close)
            self._make_user()
        except BaseException:
            self._closing.close()
            raise
        self._thread = threading.Thread(target=spin_until, args=(executor, self._stop), name="nodes", daemon=True)
        self._thread.start()

    def _make_user(self) -> None:
        String = ros.message_type(topics.STRING)
        name = "/visual_subgoal_node"
        self._task = self._user.create_publisher(String, f"{name}/task", topics.words())
        self._cancel = self._user.create_publisher(ros.message_type(topics.EMPTY), f"{name}/cancel", topics.words())
        self._user.create_subscription(
            String, f"{name}/status", lambda m: self._statuses.put(json.loads(m.data)), topics.words()
        )

    @property
    def stream_address(self) -> str:
        return self.subgoals.service.stream_address

    @property
    def requests_address(self) -> str:
        return self.subgoals.service.requests_address

    def wait_ready(self, timeout_s: float) -> None:
        """Wait until the models are loaded and camera frames come.

        Raises:
            TransportError: not within ``timeout_s``.
            ItkError: the models could not be loaded.
        """
        ends_s = time.monotonic() + timeout_s
        self.subgoals.service.wait_ready(timeout_s)
        while not self.subgoals.frames.count:
            if time.monotonic() > ends_s:
                raise TransportError(f"no camera frame came within {timeout_s:g} s; is the camera's process running?")
            self._stop.wait(0.02)

    def run_task(
        self, task: str, *, deadline_s: float, seed: int = 0, max_attempts: int | None = None
    ) -> dict[str, Any]:
        """Publish a task and wait for its terminal status: {task_id, state, reason, verified, attempts, seconds, …}.

        Raises:
            InputError: the node refused the task (no fresh frame, an empty sentence); nothing was started.
            TransportError: no terminal status within the deadline and a few seconds.
        """
        request = {"task": task, "deadline_s": deadline_s, "seed": seed, "max_attempts": max_attempts}
        text = json.dumps({key: value for key, value in request.items() if value is not None})
        self._task.publish(topics.text(text))
        ends_s = time.monotonic() + deadline_s + self._frame_wait_s + 5.0
        while (left_s := ends_s - time.monotonic()) > 0:
            try:
                status = self._statuses.get(timeout=left_s)
            except queue.Empty:
                break
            if status["terminal"] and status["task"] == text:
                if status.get("refused"):
                    raise InputError(f"the node refused the task: {status['reason']}")
                return status
        raise TransportError(f"the task had no terminal status within {deadline_s:g} s; the node may be stuck.")

    def cancel(self) -> None:
        """Publish a cancel."""
        self._cancel.publish(ros.message_type(topics.EMPTY)())

    def close(self) -> None:
        """End open tasks and stop the nodes. May be called twice."""
        self._stop.set()
        self._thread.join(5.0)
        self._closing.close()

    def __enter__(self) -> NodeGraph:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()
