"""The robot of `tests/ros/test_ros1.py`, with Debian's bare rospy: ``ros1_robot.py [PICTURE | listen]``.

It publishes frames (raw, or a PNG file's bytes as CompressedImage), tasks and cancels from stdin, and says what it
hears as JSON lines, in the words of `ros_roles`.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import rospy
from diagnostic_msgs.msg import DiagnosticArray
from genpy import Time
from ros_roles import HEARS, HEIGHT, NODE, PIXELS, WIDTH, heard, heard_picture, on_lines, say
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Empty, String

SENT: set[int] = set()
"""Stamps of all published frames, in ns."""


class Peers(rospy.SubscribeListener):
    """Says who comes to hear us: what is published before is lost, as always in ROS 1."""

    def peer_subscribe(self, topic_name: str, topic_publish: Any, peer_publish: Any) -> None:
        say(peer=topic_name)


def on_picture(message: Any) -> None:
    stamp_ns = message.header.stamp.secs * 10**9 + message.header.stamp.nsecs
    heard_picture(stamp_ns, message.header.frame_id, message.data)
    say(stamp_ns=stamp_ns, mine=stamp_ns in SENT)


def on_diagnostics(message: Any) -> None:
    for status in message.status:
        stamp_ns = message.header.stamp.to_nsec()
        say(topic="diagnostics", level=status.level, values=len(status.values), stamp_ns=stamp_ns)


def frame(picture: bytes) -> Any:
    if picture:
        message = CompressedImage(format="png", data=picture)
    else:
        message = Image(height=HEIGHT, width=WIDTH, encoding="rgb8", step=WIDTH * 3, data=PIXELS)
    now_ns = time.time_ns()
    SENT.add(now_ns)
    message.header.stamp = Time(*divmod(now_ns, 10**9))
    message.header.frame_id = "robot_camera"
    return message


def main(picture: str = "") -> None:
    rospy.init_node("robot", anonymous=True, disable_signals=True)
    for name in HEARS:
        rospy.Subscriber(f"{NODE}/{name}", String, lambda m, name=name: heard(name, m.data))
    rospy.Subscriber(f"{NODE}/subgoal/compressed", CompressedImage, on_picture)
    if picture != "listen":
        rospy.Subscriber("/diagnostics", DiagnosticArray, on_diagnostics)
        data = Path(picture).read_bytes() if picture else b""
        kind, topic = (CompressedImage, "image/compressed") if data else (Image, "image")
        camera = rospy.Publisher(f"{NODE}/{topic}", kind, Peers(), queue_size=1)
        task = rospy.Publisher(f"{NODE}/task", String, Peers(), queue_size=1)
        cancel = rospy.Publisher(f"{NODE}/cancel", Empty, Peers(), queue_size=1)
        on_lines(lambda line: cancel.publish() if line == "!cancel" else task.publish(line))
        while not all(publisher.get_num_connections() for publisher in (camera, task, cancel)):
            time.sleep(0.05)
    say(ready=True)
    while True:
        if picture != "listen":
            camera.publish(frame(data))
        time.sleep(0.05)


if __name__ == "__main__":
    main(*sys.argv[1:])
