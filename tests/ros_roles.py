"""The processes of `tests/ros`: ``python ros_roles.py node|rclpy|roslibpy …``, each saying JSON lines on stdout.

``node`` is our visual_subgoal_node with scripted agents. ``rclpy`` and ``roslibpy`` are the robot beyond it: a camera,
a user and a subscriber, written with the bare library, so that nothing of ours is on both sides.
"""

from __future__ import annotations

import array
import base64
import hashlib
import json
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

NODE = "/visual_subgoal_node"
HEARS = ("plan", "subgoal", "status")
HEIGHT, WIDTH = 48, 64
PIXELS = bytes((row * 5 + column * 4 + channel * 90) % 256 for row in range(HEIGHT) for column in range(WIDTH)
               for channel in range(3))  # fmt: skip


def say(**what: Any) -> None:
    sys.stdout.write(json.dumps(what) + "\n")  # one write: some libraries call back in several threads
    sys.stdout.flush()


def heard(topic: str, text: str) -> None:
    say(topic=topic, **json.loads(text))


def heard_picture(stamp_ns: int, frame_id: str, data: bytes) -> None:
    say(topic="picture", stamp_ns=stamp_ns, frame_id=frame_id, sha256=hashlib.sha256(data).hexdigest())


def on_lines(call: Callable[[str], None]) -> None:
    def read() -> None:
        for line in sys.stdin:
            call(line.strip())

    threading.Thread(target=read, daemon=True).start()


def node(paint_s: str, *arguments: str) -> None:
    from scripted import NoiseGenerator, ScriptedCritic, ScriptedPlanner, plan_of

    from itk_embodied.pipeline import PipelineConfig, VisualSubgoalPipeline
    from itk_embodied.service import ServiceConfig
    from itk_nodes.runtime import run_node
    from itk_nodes.visual_subgoal_node import NAME, VisualSubgoalNode

    def load() -> VisualSubgoalPipeline:
        planner = ScriptedPlanner(plan_of("put a in b", "put c in d", "put e in f"))
        critic = ScriptedCritic(True, False, False, True)
        config = PipelineConfig(max_attempts=2, continue_after_unverified=True)
        return VisualSubgoalPipeline(planner, NoiseGenerator(float(paint_s)), critic, config, stack_name="scripted")

    def make(rosnode: Any) -> VisualSubgoalNode:
        made = VisualSubgoalNode(rosnode, load, ServiceConfig(stream="tcp://127.0.0.1:0", requests="tcp://127.0.0.1:0"))
        made.service.wait_ready(20)
        say(ready=True)
        return made

    raise SystemExit(run_node(NAME, make, arguments))


def rclpy_robot(*only_listen: str) -> None:
    import rclpy
    from rclpy.qos import DurabilityPolicy, QoSProfile
    from sensor_msgs.msg import CompressedImage, Image
    from std_msgs.msg import String

    rclpy.init()
    robot = rclpy.create_node("robot")
    kept = QoSProfile(depth=64, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    for name in HEARS:
        robot.create_subscription(String, f"{NODE}/{name}", lambda m, name=name: heard(name, m.data), kept)

    def on_picture(m: Any) -> None:
        heard_picture(m.header.stamp.sec * 10**9 + m.header.stamp.nanosec, m.header.frame_id, bytes(m.data))

    robot.create_subscription(CompressedImage, f"{NODE}/subgoal/compressed", on_picture, kept)
    if not only_listen:
        camera = robot.create_publisher(Image, f"{NODE}/image", 1)
        task = robot.create_publisher(String, f"{NODE}/task", 1)

        def publish() -> None:
            message = Image(height=HEIGHT, width=WIDTH, encoding="rgb8", step=WIDTH * 3, data=array.array("B", PIXELS))
            message.header.stamp = robot.get_clock().now().to_msg()
            message.header.frame_id = "robot_camera"
            camera.publish(message)

        robot.create_timer(0.05, publish)
        on_lines(lambda line: task.publish(String(data=line)))
        while not (camera.get_subscription_count() and task.get_subscription_count()):
            rclpy.spin_once(robot, timeout_sec=0.05)
    say(ready=True)
    rclpy.spin(robot)


def roslibpy_robot(url: str, *only_listen: str) -> None:
    import roslibpy

    host, port = url.removeprefix("ws://").split(":")
    link = roslibpy.Ros(host, int(port), transport="asyncio")
    link.run(10)

    def topic(name: str, kind: str) -> Any:
        return roslibpy.Topic(link, f"{NODE}/{name}", kind)

    for name in HEARS:
        topic(name, "std_msgs/msg/String").subscribe(lambda m, name=name: heard(name, m["data"]))

    def on_picture(m: Any) -> None:
        stamp = m["header"]["stamp"]
        heard_picture(stamp["sec"] * 10**9 + stamp["nanosec"], m["header"]["frame_id"], base64.b64decode(m["data"]))

    topic("subgoal/compressed", "sensor_msgs/msg/CompressedImage").subscribe(on_picture)
    if not only_listen:
        camera, task = topic("image", "sensor_msgs/msg/Image"), topic("task", "std_msgs/msg/String")
        camera.advertise()
        task.advertise()
        time.sleep(1.0)  # roslibpy cannot say when it is heard
        on_lines(lambda line: task.publish(roslibpy.Message({"data": line})))
    say(ready=True)
    while True:
        if not only_listen and link.is_connected:
            sec, nanosec = divmod(time.time_ns(), 10**9)
            header = {"stamp": {"sec": sec, "nanosec": nanosec}, "frame_id": "robot_camera"}
            message = {"header": header, "height": HEIGHT, "width": WIDTH, "encoding": "rgb8", "step": WIDTH * 3}
            camera.publish(roslibpy.Message({**message, "data": base64.b64encode(PIXELS).decode()}))
        time.sleep(0.05)


if __name__ == "__main__":
    {"node": node, "rclpy": rclpy_robot, "roslibpy": roslibpy_robot}[sys.argv[1]](*sys.argv[2:])
