"""One diagnostic_msgs/DiagnosticArray that says how the node is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from itk_embodied import ros
from itk_embodied.ros.pictures import header


def report(
    name: str,
    now_ns: int,
    *,
    state: str,
    detail: str,
    frame_age_s: float | None,
    max_frame_age_s: float,
    values: Mapping[str, object],
) -> Any:
    """OK: models ready and frames fresh. WARN: loading or stopping. STALE: no fresh frame. ERROR: models broken."""
    Status = ros.message_type("diagnostic_msgs/msg/DiagnosticStatus")
    KeyValue = ros.message_type("diagnostic_msgs/msg/KeyValue")
    if state == "broken":
        level, message = Status.ERROR, detail
    elif state != "ready":
        level, message = Status.WARN, f"the service is {state}"
    elif frame_age_s is None:
        level, message = Status.STALE, "no camera frame has come yet"
    elif frame_age_s > max_frame_age_s:
        level, message = Status.STALE, f"the newest camera frame is {frame_age_s:.1f} s old"
    else:
        level, message = Status.OK, "ready"
    shown = {"state": state, "frame_age_s": "" if frame_age_s is None else f"{frame_age_s:.3f}", **values}
    status = Status(
        level=level,
        name=f"{name}: pipeline",
        message=message,
        hardware_id=name,
        values=[KeyValue(key=key, value=str(value)) for key, value in shown.items()],
    )
    return ros.message_type("diagnostic_msgs/msg/DiagnosticArray")(header=header(now_ns, ""), status=[status])
