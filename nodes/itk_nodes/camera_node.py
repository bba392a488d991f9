"""camera_node: publishes ``~/image`` (sensor_msgs/Image, rgb8) and, if asked, ``~/image/compressed``.

Parameters: ``source`` file | device | sim | zmq, with ``path`` (picture or video), ``device``, ``scene`` and ``seed``
(a simulated table that stands still), or ``address`` (a running simulator's frames); ``rate_hz`` (picture, sim),
``frame_id`` (all but zmq), and ``compressed`` "", "png" or "jpeg".
"""

from __future__ import annotations

import threading
from typing import Any

from itk_embodied import ros
from itk_embodied.bridges.images import encode_image
from itk_embodied.bridges.sockets import DEFAULT_FRAMES
from itk_embodied.bridges.wire import stamp_to_ns
from itk_embodied.errors import ConfigError
from itk_embodied.ros.pictures import compressed_message, image_message
from itk_embodied.types import Frame
from itk_nodes import parameters, topics
from itk_nodes.sources import FrameSource, open_source

NAME = "camera_node"
_DEFAULTS = {
    "source": "file",
    "path": "frame.png",
    "device": "0",
    "address": DEFAULT_FRAMES,
    "rate_hz": 10.0,
    "frame_id": "front",
    "scene": "put the red cube in the drawer",
    "seed": 7,
    "compressed": "",
}
_READ_S = 0.2


class CameraNode:
    """Reads its source in a thread and publishes in the executor's; a frame that comes too fast is skipped.

    Args:
        source: overrides the parameters, for tests and programs that have a source already.
    """

    def __init__(self, node: Any, source: FrameSource | None = None) -> None:
        self.node = node
        self.published = 0
        values = parameters.declare(node, _DEFAULTS)
        self._compressed = values.pop("compressed")
        if self._compressed not in ("", "png", "jpeg"):
            raise ConfigError(f"compressed is {self._compressed!r}; allowed: '' (none), png, jpeg.")
        kind = values.pop("source")
        self._source = source or open_source(kind, **values)
        self._image = node.create_publisher(ros.message_type(topics.IMAGE), "~/image", topics.camera())
        self._small = node.create_publisher(ros.message_type(topics.COMPRESSED), "~/image/compressed", topics.camera())
        self._newest: Frame | None = None
        self._wake = node.create_guard_condition(self._publish)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._main, name=NAME, daemon=True)
        self._thread.start()
        node.get_logger().info(f"publishing {self._image.topic_name} from {kind}")

    def _main(self) -> None:
        try:
            self._read()
        finally:
            self._source.close()  # here, as a simulator's graphics belong to the thread that drew with them

    def _read(self) -> None:
        while not self._stop.is_set():
            try:
                frame = self._source.read(_READ_S)
            except Exception as error:  # one bad frame is not the end of a camera
                self.node.get_logger().error(f"a camera frame was lost: {error}", throttle_duration_sec=5.0)
                self._stop.wait(_READ_S)
                continue
            if frame is not None:
                self._newest = frame
                self._wake.trigger()

    def _publish(self) -> None:
        frame, self._newest = self._newest, None
        if frame is None:
            return
        stamp_ns = stamp_to_ns(frame.stamp_s)
        self._image.publish(image_message(frame.image, stamp_ns, frame.frame_id))
        if self._compressed:
            info, payload = encode_image(frame.image, self._compressed, hashed=False)
            self._small.publish(compressed_message(payload, info.encoding, stamp_ns, frame.frame_id))
        self.published += 1

    def close(self) -> None:
        self._stop.set()
        self._thread.join(2.0)


def main(argv: list[str] | None = None) -> int:
    """``camera_node [--backend NAME] [--ros-args -p source:=device -p device:=0 …]``."""
    from itk_nodes.runtime import run_node

    return run_node(NAME, CameraNode, argv, description="Publish camera frames.")


if __name__ == "__main__":
    raise SystemExit(main())
