"""One diagnostic_msgs/DiagnosticArray that says how the node is, and what is wrong with its topics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from itk_embodied import ros
from itk_embodied.ros.pictures import header


@dataclass(frozen=True)
class Health:
    """What the node knows of itself.

    Attributes:
        lifecycle: the lifecycle state's label.
        service, detail: the service's state, and why; ``idle`` where it does not run.
        frame_age_s: of the newest camera frame; None where none has come.
        errors: what keeps it from working, such as an image encoding; one sentence each.
        warnings: what does not, such as a recording that stopped.
    """

    lifecycle: str
    service: str
    detail: str
    frame_age_s: float | None
    max_frame_age_s: float
    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def level(self, Status: Any) -> tuple[bytes, str]:
        """OK: tasks can be taken. WARN: not yet, or not all is well. STALE: no fresh frame. ERROR: it cannot work."""
        if self.service == "broken":
            return Status.ERROR, self.detail
        if self.lifecycle not in ("active", "activating"):
            doing = f": {self.service}{f' ({self.detail})' if self.detail else ''}" if self.service != "idle" else ""
            return Status.WARN, f"the node is {self.lifecycle}{doing}"
        if self.service != "ready":
            return Status.WARN, f"the service is {self.service}"
        if self.errors:
            return Status.ERROR, self.errors[0]
        if self.frame_age_s is None:
            return Status.STALE, "no camera frame has come yet"
        if self.frame_age_s > self.max_frame_age_s:
            return Status.STALE, f"the newest camera frame is {self.frame_age_s:.1f} s old"
        if self.warnings:
            return Status.WARN, self.warnings[0]
        return Status.OK, "ready"


def report(node_name: str, now_ns: int, health: Health, values: Mapping[str, object]) -> Any:
    """The message. ``hardware_id`` is the node's name; ``values`` are shown beside the state."""
    Status = ros.message_type("diagnostic_msgs/msg/DiagnosticStatus")
    KeyValue = ros.message_type("diagnostic_msgs/msg/KeyValue")
    level, message = health.level(Status)
    age = "" if health.frame_age_s is None else f"{health.frame_age_s:.3f}"
    shown = {"lifecycle": health.lifecycle, "state": health.service, "frame_age_s": age, **values}
    status = Status(
        level=level,
        name=f"{node_name}: pipeline",
        message=message,
        hardware_id=node_name,
        values=[KeyValue(key=key, value=str(value)) for key, value in shown.items()],
    )
    return ros.message_type("diagnostic_msgs/msg/DiagnosticArray")(header=header(now_ns, ""), status=[status])


class TypeWatch:
    """Looks for topics on which somebody speaks another type: nothing would ever come, and nobody would say why.

    Args:
        wanted: topic, full name -> our type, such as ``sensor_msgs/msg/Image``.
    """

    def __init__(self, node: Any, wanted: Mapping[str, str]) -> None:
        self._node, self._wanted = node, wanted
        self._known: tuple[str, ...] = ()

    def problems(self) -> tuple[str, ...]:
        """One sentence each; a new one is logged as an error, once."""
        listed = getattr(self._node, "get_topic_names_and_types", None)
        if listed is None:  # a backend that cannot know
            return ()
        found: list[str] = []
        for topic, types in listed():
            ours = self._wanted.get(topic)
            others = [kind for kind in types if ours and kind != ours]
            if others:
                found.append(
                    f"topic {topic} has the type {others[0]} elsewhere; this node speaks {ours}, so nothing gets "
                    f"through. Remap it: --ros-args -r {topic}:=OTHER."
                )
        for problem in found:
            if problem not in self._known:
                self._node.get_logger().error(problem)
        self._known = tuple(found)
        return self._known
