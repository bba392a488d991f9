"""How each path puts a picture and its time of sending into bytes, and gets them out again.

Every style ends with what a robot's program works with: an RGB ``uint8 (H, W, 3)`` array. Encoding and decoding count.
"""

from __future__ import annotations

import base64
import json
import struct
from typing import Any, TypeAlias

import numpy as np

from itk_embodied.bridges.policies.arrays import pack_groot, pack_openpi, unpack_groot, unpack_openpi
from itk_embodied.types import Image

Sent: TypeAlias = tuple[int, Image]
"""When it was sent (`time.monotonic_ns`, the same in all processes of a machine), and the picture."""

_STAMP = struct.Struct("<QHH")


def pack_bare(image: Image, now_ns: int) -> list[Any]:
    """The least that works: a stamp and a shape, then the pixels, not copied."""
    height, width = image.shape[:2]
    return [_STAMP.pack(now_ns, height, width), image.data.cast("B")]


def unpack_bare(frames: list[Any]) -> Sent:
    sent_ns, height, width = _STAMP.unpack(frames[0].buffer)
    return sent_ns, np.frombuffer(frames[1].buffer, np.uint8).reshape(height, width, 3)


def pack_groot_style(image: Image, now_ns: int) -> bytes:
    """An observation as GR00T's client sends it: numpy.save's bytes inside msgpack."""
    observation = {
        "video": {"front": image[None, None]},
        "state": {"arm": np.zeros((1, 1, 7), np.float32)},
        "language": {"annotation.human.task_description": [["put the red cube in the teal bowl"]]},
    }
    return pack_groot({"endpoint": "get_action", "data": {"observation": observation, "options": {"sent_ns": now_ns}}})


def unpack_groot_style(data: Any) -> Sent:
    request = unpack_groot(data)["data"]
    return request["options"]["sent_ns"], request["observation"]["video"]["front"][0, 0]


GROOT_REPLY = pack_groot([{"arm": np.zeros((1, 16, 7), np.float32)}, {}])


def pack_openpi_style(image: Image, now_ns: int) -> bytes:
    """An observation as openpi's client sends it."""
    return pack_openpi(
        {
            "observation/exterior_image_1_left": image,
            "observation/joint_position": np.zeros(7, np.float32),
            "prompt": "put the red cube in the teal bowl",
            "sent_ns": now_ns,
        }
    )


def unpack_openpi_style(data: bytes) -> Sent:
    observation = unpack_openpi(data)
    return observation["sent_ns"], observation["observation/exterior_image_1_left"]


OPENPI_REPLY = pack_openpi({"actions": np.zeros((16, 7), np.float32)})


def pack_rosbridge_style(image: Image, now_ns: int) -> str:
    """A sensor_msgs/Image as rosbridge publishes it: JSON with base64 inside."""
    height, width = image.shape[:2]
    stamp = {"sec": now_ns // 10**9, "nanosec": now_ns % 10**9}
    message = {
        "header": {"stamp": stamp, "frame_id": "front"},
        "height": height,
        "width": width,
        "encoding": "rgb8",
        "is_bigendian": 0,
        "step": width * 3,
        "data": base64.b64encode(image.data).decode("ascii"),
    }
    return json.dumps({"op": "publish", "topic": "/front/image", "msg": message})


def unpack_rosbridge_style(text: str | bytes) -> Sent:
    message = json.loads(text)["msg"]
    stamp = message["header"]["stamp"]
    pixels = np.frombuffer(base64.b64decode(message["data"]), np.uint8)
    return stamp["sec"] * 10**9 + stamp["nanosec"], pixels.reshape(message["height"], message["width"], 3)


def zmtp_bytes(sizes: list[int]) -> int:
    """What ZeroMQ puts on the wire for a message of these frames: one flag byte and 1 or 8 bytes of length each."""
    return sum(size + (2 if size < 256 else 9) for size in sizes)


def websocket_bytes(size: int, *, masked: bool) -> int:
    """What a WebSocket puts on the wire for a message, which a client (not a server) masks."""
    header = 2 if size < 126 else 4 if size < 65536 else 10
    return size + header + (4 if masked else 0)


def sample_picture(height: int = 480, width: int = 640) -> Image:
    """A picture with edges, shades and a little noise, so that PNG and JPEG have what a camera gives them to do."""
    rows, columns = np.mgrid[0:height, 0:width]
    picture = np.stack([rows * 255 // height, columns * 255 // width, (rows + columns) * 255 // (height + width)], -1)
    for n in range(12):
        top, left = (n * 97) % (height - 80), (n * 173) % (width - 80)
        picture[top : top + 60, left : left + 60] = [(n * 37) % 256, (n * 91) % 256, (n * 151) % 256]
    picture = picture + np.random.default_rng(0).normal(0.0, 2.0, picture.shape)
    image: Image = np.clip(picture, 0, 255).astype(np.uint8)
    image.setflags(write=False)
    return image
