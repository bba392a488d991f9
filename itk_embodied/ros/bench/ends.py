"""One end of a measured path, a process: ``python -m itk_embodied.ros.bench.ends LIBRARY ROLE TOPIC KIND [URL]``.

Libraries: ``rclpy`` and ``roslibpy`` bare, as their users write them; ``ours-rclpy`` and ``ours-rosbridge``. Queues are
long enough to lose nothing: what is measured is the work, not what is dropped. Orders come
line by line on stdin, answers go out as JSON lines. A message's stamp is the sender's monotonic clock: same machine.
"""

from __future__ import annotations

import array
import base64
import io
import json
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from itk_embodied.errors import ConfigError

HEIGHT, WIDTH, FRAME_ID = 480, 640, "front"
DEPTH = 64
NS = 1_000_000_000
KINDS = ("image", "jpeg", "png")
Send = Callable[[int], None]
Took = Callable[[int, int], None]


def say(**what: Any) -> None:
    print(json.dumps(what), flush=True)


def payload(kind: str) -> bytes:
    """A 640x480 frame, raw or as JPEG; or a 128x128 goal image as PNG."""
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    height, width = (128, 128) if kind == "png" else (HEIGHT, WIDTH)
    rows, columns = np.mgrid[0:height, 0:width]
    picture = np.stack([rows % 256, columns % 256, (rows + columns) % 256], -1).astype(np.uint8)
    picture ^= rng.integers(0, 16, picture.shape, dtype=np.uint8)
    if kind == "image":
        return picture.tobytes()
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, kind, **({"quality": 60} if kind == "jpeg" else {}))
    return stream.getvalue()


def bare_rclpy(role: str, topic: str, kind: str, took: Took) -> tuple[Send, Callable[[], None]]:
    import rclpy
    from builtin_interfaces.msg import Time
    from sensor_msgs.msg import CompressedImage, Image
    from std_msgs.msg import Header

    rclpy.init(args=[])
    node = rclpy.create_node(f"bare_{role}")
    cls = Image if kind == "image" else CompressedImage
    if role == "sink":

        def take(message: Any) -> None:
            took(message.header.stamp.sec * NS + message.header.stamp.nanosec, len(message.data))

        node.create_subscription(cls, topic, take, DEPTH)
        return (lambda n: None), lambda: rclpy.spin(node)
    publisher = node.create_publisher(cls, topic, DEPTH)
    data = payload(kind)

    def send(now_ns: int) -> None:
        sec, nanosec = divmod(now_ns, NS)
        header = Header(stamp=Time(sec=sec, nanosec=nanosec), frame_id=FRAME_ID)
        if kind == "image":
            publisher.publish(
                Image(
                    header=header,
                    height=HEIGHT,
                    width=WIDTH,
                    encoding="rgb8",
                    step=WIDTH * 3,
                    data=array.array("B", data),
                )
            )
        else:
            publisher.publish(CompressedImage(header=header, format=kind, data=array.array("B", data)))

    return send, lambda: rclpy.spin(node)


def bare_roslibpy(role: str, topic: str, kind: str, took: Took, url: str) -> tuple[Send, Callable[[], None]]:
    import roslibpy

    host, port = url.removeprefix("ws://").split(":")
    link = roslibpy.Ros(host, int(port), transport="asyncio")
    link.run(10)
    handle = roslibpy.Topic(link, topic, "sensor_msgs/msg/CompressedImage", queue_length=DEPTH, queue_size=DEPTH)
    if role == "sink":

        def take(message: Any) -> None:
            stamp = message["header"]["stamp"]
            took(stamp["sec"] * NS + stamp["nanosec"], len(base64.b64decode(message["data"])))

        # As Topic.subscribe sends it, and reliable: Topic cannot ask for that, and best effort loses half of a flood.
        operation = {"op": "subscribe", "id": "bare", "topic": topic, "type": handle.message_type}
        qos = {"history": "keep_last", "depth": DEPTH, "reliability": "reliable"}
        link.on(topic, take)
        link.send_on_ready(roslibpy.Message({**operation, "queue_length": DEPTH, "qos": qos}))
    else:
        handle.advertise()
    data = payload(kind)

    def send(now_ns: int) -> None:
        sec, nanosec = divmod(now_ns, NS)
        header = {"stamp": {"sec": sec, "nanosec": nanosec}, "frame_id": FRAME_ID}
        handle.publish(roslibpy.Message({"header": header, "format": kind, "data": base64.b64encode(data).decode()}))

    return send, lambda: threading.Event().wait()  # type: ignore[return-value]


def ours(backend: str, role: str, topic: str, kind: str, took: Took, url: str) -> tuple[Send, Callable[[], None]]:
    """As our nodes do it: their messages, their helpers, their executor."""
    from itk_embodied import ros
    from itk_embodied.ros.pictures import compressed_message, header, stamp_ns
    from itk_embodied.ros.rosbridge import BridgeOptions, RosbridgeBackend

    chosen = ros.use_backend(backend)
    if isinstance(chosen, RosbridgeBackend):
        chosen.options = BridgeOptions(url)
    ros.init(args=[])
    node = ros.create_node(f"ours_{role}")
    Image = ros.message_type("sensor_msgs/msg/Image")
    cls = Image if kind == "image" else ros.message_type("sensor_msgs/msg/CompressedImage")
    executor = ros.SingleThreadedExecutor()  # type: ignore[attr-defined]
    executor.add_node(node)
    if role == "sink":
        node.create_subscription(cls, topic, lambda m: took(stamp_ns(m.header), len(m.data)), DEPTH)
        return (lambda n: None), executor.spin
    publisher = node.create_publisher(cls, topic, DEPTH)
    data = payload(kind)

    def send(now_ns: int) -> None:
        if kind == "image":
            head = header(now_ns, FRAME_ID)
            pixels = array.array("B", data)
            size = {"height": HEIGHT, "width": WIDTH, "encoding": "rgb8", "step": WIDTH * 3}
            publisher.publish(Image(header=head, data=pixels, **size))
        else:
            publisher.publish(compressed_message(data, kind, now_ns, FRAME_ID))

    return send, executor.spin


def make(library: str, role: str, topic: str, kind: str, took: Took, url: str) -> tuple[Send, Callable[[], None]]:
    if library == "rclpy":
        return bare_rclpy(role, topic, kind, took)
    if library == "roslibpy":
        return bare_roslibpy(role, topic, kind, took, url)
    if library.startswith("ours-"):
        return ours(library.removeprefix("ours-"), role, topic, kind, took, url)
    raise ConfigError(f"library {library!r} is not known; allowed: rclpy, roslibpy, ours-rclpy, ours-rosbridge.")


class End:
    """Obeys ``paced COUNT HZ``, ``flood COUNT`` (source) and ``report`` (sink: what came since the last one)."""

    def __init__(self) -> None:
        self.came: list[tuple[int, int]] = []  # sent, received; monotonic ns

    def took(self, sent_ns: int, size: int) -> None:
        self.came.append((sent_ns, time.monotonic_ns()))

    def obey(self, send: Send) -> None:
        for line in sys.stdin:
            order, *numbers = line.split()
            if order == "report":
                came, self.came = self.came, []
                sent, received = [one for one, _ in came], [one for _, one in came]
                say(sent_ns=sent, received_ns=received, cpu_s=time.process_time())
                continue
            count = int(numbers[0])
            period_s = 1 / float(numbers[1]) if order == "paced" else 0.0
            next_s = time.monotonic()
            for _ in range(count):
                send(time.monotonic_ns())
                next_s += period_s
                time.sleep(max(0.0, next_s - time.monotonic()))
            say(sent=count)


def main(library: str, role: str, topic: str, kind: str, url: str = "") -> None:
    end = End()
    send, spin = make(library, role, topic, kind, end.took, url)
    threading.Thread(target=spin, daemon=True).start()
    say(ready=True)
    end.obey(send)


if __name__ == "__main__":
    main(*sys.argv[1:])
