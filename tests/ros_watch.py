"""A user and a witness of the whole graph, with bare rclpy: says what the nodes say as JSON lines.

``python ros_watch.py``: a line on stdin is a task; the line ``!cancel`` publishes a cancel.
"""

from __future__ import annotations

import hashlib
import json
import sys
import threading
from typing import Any

NODE, POLICY = "/visual_subgoal_node", "/policy_node"


def say(**what: Any) -> None:
    print(json.dumps(what), flush=True)


def main() -> None:
    import rclpy
    from diagnostic_msgs.msg import DiagnosticArray
    from rclpy.qos import DurabilityPolicy, QoSProfile
    from sensor_msgs.msg import CompressedImage
    from std_msgs.msg import Empty, String

    rclpy.init()
    user = rclpy.create_node("user")
    kept = QoSProfile(depth=64, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    for name, topic in (("status", f"{NODE}/status"), ("subgoal", f"{NODE}/subgoal"), ("policy", f"{POLICY}/status")):
        user.create_subscription(String, topic, lambda m, name=name: say(topic=name, **json.loads(m.data)), kept)

    def on_picture(m: Any) -> None:
        say(topic="picture", sha256=hashlib.sha256(m.data).hexdigest())

    def on_diagnostics(m: Any) -> None:
        for status in m.status:
            say(topic="diagnostics", level=status.level[0], message=status.message)

    user.create_subscription(CompressedImage, f"{NODE}/subgoal/compressed", on_picture, kept)
    user.create_subscription(DiagnosticArray, "/diagnostics", on_diagnostics, 10)
    task = user.create_publisher(String, f"{NODE}/task", 10)
    cancel = user.create_publisher(Empty, f"{NODE}/cancel", 10)

    def read() -> None:
        for line in sys.stdin:
            if line.strip() == "!cancel":
                cancel.publish(Empty())
            else:
                task.publish(String(data=line.strip()))

    threading.Thread(target=read, daemon=True).start()
    say(ready=True)
    rclpy.spin(user)


if __name__ == "__main__":
    main()
