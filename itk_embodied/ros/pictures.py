"""sensor_msgs/Image and CompressedImage to RGB and back. The colour order is handled here and nowhere else."""

from __future__ import annotations

import array
from typing import Any

import numpy as np

from itk_embodied import ros
from itk_embodied.bridges.codec import Part
from itk_embodied.bridges.images import decode_compressed
from itk_embodied.bridges.wire import MAX_SIDE_PX
from itk_embodied.errors import InputError, WireError
from itk_embodied.types import Image, as_image

NANOSECONDS = 1_000_000_000
_RGB_CHANNELS: dict[str, tuple[int, list[int]]] = {
    "rgb8": (3, [0, 1, 2]),
    "bgr8": (3, [2, 1, 0]),
    "rgba8": (4, [0, 1, 2]),
    "bgra8": (4, [2, 1, 0]),
    "mono8": (1, [0, 0, 0]),
    "8uc3": (3, [2, 1, 0]),  # OpenCV's own order, as cv_bridge has it
}


def stamp_ns(header: Any) -> int:
    """A header's stamp in nanoseconds since the epoch of its clock."""
    return int(header.stamp.sec) * NANOSECONDS + int(header.stamp.nanosec)


def header(stamp_nanoseconds: int, frame_id: str) -> Any:
    """A std_msgs/Header of the chosen backend."""
    sec, nanosec = divmod(stamp_nanoseconds, NANOSECONDS)
    stamp = ros.message_type("builtin_interfaces/msg/Time")(sec=sec, nanosec=nanosec)
    return ros.message_type("std_msgs/msg/Header")(stamp=stamp, frame_id=frame_id)


def rgb_of(message: Any) -> Image:
    """The RGB ``uint8`` ``(H, W, 3)`` pixels of a sensor_msgs/Image; padding at the end of rows is dropped.

    Raises:
        InputError: an encoding that is not 8-bit colour or grey, or sizes that contradict each other.
    """
    name = message.encoding.lower()
    if name not in _RGB_CHANNELS:
        what = " (16 bits a channel)" if "16" in name else ""
        raise InputError(
            f"image encoding {message.encoding!r}{what} is not supported; allowed: rgb8, bgr8, rgba8, bgra8, mono8. "
            "Convert it in the camera driver (for example with image_proc)."
        )
    channels, order = _RGB_CHANNELS[name]
    height, width, step = int(message.height), int(message.width), int(message.step)
    if not (0 < height <= MAX_SIDE_PX and 0 < width <= MAX_SIDE_PX):
        raise InputError(f"the image is {width}x{height} px; each side must be 1 to {MAX_SIDE_PX} px.")
    row = width * channels
    if step < row:
        raise InputError(f"the image's step is {step} bytes; {width} px of {name} need {row}. Fix the camera driver.")
    data = np.frombuffer(message.data, np.uint8)
    if data.size < step * (height - 1) + row:
        raise InputError(
            f"the image has {data.size} bytes; {height} rows of {step} bytes need {step * height}. It was cut short."
        )
    rows = np.lib.stride_tricks.as_strided(data, (height, width, channels), (step, channels, 1), writeable=False)
    return as_image(rows[..., order].copy(), what="camera frame")


def rgb_of_compressed(message: Any) -> Image:
    """The same for a sensor_msgs/CompressedImage that holds PNG or JPEG.

    Raises:
        InputError: another format, or damaged bytes.
    """
    name = message.format.lower()
    kind = "png" if "png" in name else "jpeg" if "jpeg" in name or "jpg" in name else ""
    if not kind or "16" in name:
        raise InputError(f"compressed image format {message.format!r} is not supported; allowed: jpeg, png (8-bit).")
    try:
        return as_image(decode_compressed(memoryview(message.data), kind), what="camera frame")
    except WireError as error:
        raise InputError(str(error)) from error


def image_message(image: Image, stamp_nanoseconds: int, frame_id: str) -> Any:
    """A sensor_msgs/Image in rgb8."""
    height, width = image.shape[:2]
    return ros.message_type("sensor_msgs/msg/Image")(
        header=header(stamp_nanoseconds, frame_id),
        height=height,
        width=width,
        encoding="rgb8",
        is_bigendian=0,
        step=width * 3,
        data=_array(np.ascontiguousarray(image)),
    )


def compressed_message(payload: Part, kind: str, stamp_nanoseconds: int, frame_id: str) -> Any:
    """A sensor_msgs/CompressedImage of bytes that are PNG or JPEG already."""
    return ros.message_type("sensor_msgs/msg/CompressedImage")(
        header=header(stamp_nanoseconds, frame_id), format=kind, data=_array(payload)
    )


def _array(data: Any) -> array.array[int]:
    """One copy, whatever holds the bytes; what rclpy's messages keep as it is."""
    copy = array.array("B")
    copy.frombytes(data)
    return copy
