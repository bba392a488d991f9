"""The recorder as a node of its own: hears what visual_subgoal_node hears and says, and writes it to a bag.

Parameters: ``record_path``, ``subgoals`` (the node's full name), ``image`` (the camera's topic; default the node's).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from itk_embodied import ros
from itk_embodied.errors import ConfigError
from itk_embodied.recording import Recorder
from itk_nodes import parameters, topics

NAME = "recorder"
DEFAULTS: dict[str, Any] = {"record_path": "", "subgoals": "/visual_subgoal_node", "image": ""}


class RecordNode:
    """Subscribes and records; a full disk ends the recording with an error, and the node says so every second."""

    def __init__(self, node: Any) -> None:
        values = parameters.declare(node, DEFAULTS)
        if not values["record_path"]:
            raise ConfigError("record_path is empty; give a new file: -p record_path:=run.mcap")
        at = node.resolve_topic_name(values["subgoals"].rstrip("/"))
        image = values["image"].rstrip("/") or f"{at}/image"
        self._node = node
        self.recorder = Recorder(Path(values["record_path"]), {"node": at})
        goals = topics.current(64)
        heard = (
            (image, topics.IMAGE, topics.frames()),
            (f"{image}/compressed", topics.COMPRESSED, topics.frames()),
            (f"{at}/task", topics.STRING, topics.words()),
            (f"{at}/cancel", topics.EMPTY, topics.words()),
            (f"{at}/plan", topics.STRING, topics.current(1)),
            (f"{at}/subgoal", topics.STRING, goals),
            (f"{at}/subgoal/compressed", topics.COMPRESSED, goals),
            (f"{at}/status", topics.STRING, topics.current()),
            (f"{at}/transition_event", topics.TRANSITION, topics.words()),
            ("/diagnostics", topics.DIAGNOSTICS, topics.words()),
        )
        for name, kind, qos in heard:
            full = node.resolve_topic_name(name)
            node.create_subscription(ros.message_type(kind), name, self._taker(full, kind, kind == topics.IMAGE), qos)
        node.create_timer(1.0, self._watch)
        node.get_logger().info(f"recording {at} to {values['record_path']}")

    def _taker(self, topic: str, kind: str, may_drop: bool) -> Callable[[Any], None]:
        def take(message: Any) -> None:
            self.recorder.put(topic, kind, message, may_drop=may_drop)

        return take

    def _watch(self) -> None:
        if self.recorder.problem:
            self._node.get_logger().error(self.recorder.problem, throttle_duration_sec=10.0)

    def close(self) -> None:
        self.recorder.close()
        self._node.get_logger().info(f"{self.recorder.written} messages recorded, {self.recorder.dropped} dropped")


def main(argv: list[str] | None = None) -> int:
    """``record_node [--backend NAME] --ros-args -p record_path:=run.mcap …``."""
    from itk_nodes.runtime import run_node

    return run_node(NAME, RecordNode, argv, description="Record visual_subgoal_node's topics to a bag.")


if __name__ == "__main__":
    raise SystemExit(main())
