"""A bench for visual_subgoal_node on the in-process backend: the node, a camera, a user and a listener."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from scripted import NoiseGenerator, ScriptedCritic, ScriptedPlanner, gradient_image, plan_of

from itk_embodied import ros
from itk_embodied.pipeline import PipelineConfig, VisualSubgoalPipeline
from itk_embodied.ros.pictures import image_message
from itk_embodied.service import ServiceConfig
from itk_nodes import topics
from itk_nodes.visual_subgoal_node import VisualSubgoalNode

NODE = "/visual_subgoal_node"
ANYWHERE = ServiceConfig(stream="tcp://127.0.0.1:0", requests="tcp://127.0.0.1:0")
BUDGET_S = 10.0


def pipeline_of(*judgements: bool, paint_s: float = 0.0) -> VisualSubgoalPipeline:
    config = PipelineConfig(max_attempts=2, continue_after_unverified=True)
    critic = ScriptedCritic(*(judgements or (True,)))
    planner = ScriptedPlanner(plan_of("put a in b", "put c in d"))
    return VisualSubgoalPipeline(planner, NoiseGenerator(paint_s), critic, config, stack_name="scripted")


class Bench:
    """The node, a camera, a user and a listener, spun by the test."""

    def __init__(self, pipeline: Any, ros_args: tuple[str, ...] = (), **options: Any) -> None:
        ros.use_backend("inproc")
        ros.init(args=list(ros_args))
        self.executor = ros.SingleThreadedExecutor()
        self.nodes: list[Any] = []
        self.at = self.node("visual_subgoal_node")
        self.subject = VisualSubgoalNode(self.at, pipeline, options.pop("service", ANYWHERE), **options)
        self.outside = self.node("outside")
        string = ros.message_type(topics.STRING)
        self.image = self.outside.create_publisher(ros.message_type(topics.IMAGE), f"{NODE}/image", topics.camera())
        self.task = self.outside.create_publisher(string, f"{NODE}/task", topics.words())
        self.stop = self.outside.create_publisher(ros.message_type(topics.EMPTY), f"{NODE}/cancel", topics.words())
        self.heard: dict[str, list[Any]] = {}
        for name in ("plan", "subgoal", "status"):
            self.listen(f"{NODE}/{name}", string)
        self.listen(f"{NODE}/subgoal/compressed", ros.message_type(topics.COMPRESSED))
        self.listen("/diagnostics", ros.message_type(topics.DIAGNOSTICS))

    def node(self, name: str) -> Any:
        node = ros.create_node(name)
        self.executor.add_node(node)
        self.nodes.append(node)
        return node

    def listen(self, topic: str, kind: Any, qos: Any = None) -> list[Any]:
        got: list[Any] = []
        self.heard[topic.removeprefix(NODE).strip("/")] = got
        self.outside.create_subscription(kind, topic, got.append, qos or topics.words())
        return got

    def show(self, age_s: float = 0.0, encoding: str = "rgb8") -> int:
        """Publish a camera frame; returns its stamp."""
        taken_ns = time.time_ns() - round(age_s * 1e9)
        message = image_message(gradient_image(), taken_ns, "wrist")
        message.encoding = encoding
        self.image.publish(message)
        return taken_ns

    def ask(self, text: str) -> None:
        self.task.publish(topics.text(text))

    def until(self, condition: Callable[[], Any], budget_s: float = BUDGET_S) -> None:
        ends_s = time.monotonic() + budget_s
        while not condition():
            assert time.monotonic() < ends_s, "it did not happen in time"
            self.executor.spin_once(timeout_sec=0.02)

    def finish(self, subgoals: int = 2) -> None:
        """Until the first task has ended and so many subgoals have come: topics keep no order among each other."""
        self.until(lambda: self.ends and len(self.heard["subgoal"]) == subgoals and self.heard["plan"])

    @property
    def statuses(self) -> list[dict[str, Any]]:
        return [json.loads(m.data) for m in self.heard["status"]]

    @property
    def ends(self) -> list[dict[str, Any]]:
        return [status for status in self.statuses if status["terminal"]]

    def close(self) -> None:
        """May be called twice."""
        if not self.nodes:
            return
        self.subject.close()
        for node in self.nodes:
            self.executor.remove_node(node)
            node.destroy_node()
        self.nodes.clear()
        ros.try_shutdown()
