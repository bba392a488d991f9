"""Colour order, padding, and refusals of ROS images."""

from __future__ import annotations

import array
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from itk_embodied import ros
from itk_embodied.bridges.images import encode_image
from itk_embodied.errors import InputError
from itk_embodied.ros import pictures

PIXELS = np.random.default_rng(3).integers(0, 256, (33, 35, 3), dtype=np.uint8)
ALPHA = np.full((33, 35, 1), 7, np.uint8)


@pytest.fixture(autouse=True)
def _backend() -> Iterator[None]:
    ros.use_backend("inproc")
    yield


def image(rows: np.ndarray, kind: str, padding: int = 0, **changes: Any) -> Any:
    height, width = rows.shape[:2]
    flat = rows.reshape(height, -1)
    padded = np.concatenate([flat, np.full((height, padding), 255, np.uint8)], 1)
    fields = {
        "height": height,
        "width": width,
        "encoding": kind,
        "step": padded.shape[1],
        "data": array.array("B", padded.tobytes()),
    }
    return ros.message_type("sensor_msgs/msg/Image")(**{**fields, **changes})


@pytest.mark.parametrize("padding", [0, 5])
@pytest.mark.parametrize(
    ("encoding", "rows"),
    [
        ("rgb8", PIXELS),
        ("bgr8", PIXELS[..., ::-1]),
        ("8UC3", PIXELS[..., ::-1]),
        ("rgba8", np.concatenate([PIXELS, ALPHA], 2)),
        ("bgra8", np.concatenate([PIXELS[..., ::-1], ALPHA], 2)),
    ],
)
def test_every_colour_order_becomes_rgb(encoding: str, rows: np.ndarray, padding: int) -> None:
    np.testing.assert_array_equal(pictures.rgb_of(image(rows, encoding, padding)), PIXELS)


def test_grey_becomes_rgb() -> None:
    grey = PIXELS[..., :1]
    np.testing.assert_array_equal(pictures.rgb_of(image(grey, "mono8", 3)), np.repeat(grey, 3, 2))


def test_the_last_row_may_come_without_its_padding() -> None:
    message = image(PIXELS, "rgb8", 5)
    message.data = message.data[:-5]
    np.testing.assert_array_equal(pictures.rgb_of(message), PIXELS)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"encoding": "mono16"}, "16 bits a channel"),
        ({"encoding": "16UC1"}, "16 bits"),
        ({"encoding": "yuv422"}, "allowed: rgb8, bgr8"),
        ({"encoding": ""}, "not supported"),
        ({"step": 10}, "step is 10 bytes"),
        ({"height": 0}, "each side"),
        ({"width": 100_000}, "each side"),
        ({"data": b"short"}, "cut short"),
        ({"height": 4000}, "cut short"),
    ],
)
def test_what_cannot_be_read_is_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        pictures.rgb_of(image(PIXELS, "rgb8", **changes))


@pytest.mark.parametrize("kind", ["png", "jpeg"])
def test_compressed_pictures_survive(kind: Any) -> None:
    _, payload = encode_image(PIXELS, kind)
    message = pictures.compressed_message(payload, kind, 5_000_000_007, "front")
    got = pictures.rgb_of_compressed(message)
    assert got.shape == PIXELS.shape
    if kind == "png":
        np.testing.assert_array_equal(got, PIXELS)
    assert (message.header.stamp.sec, message.header.stamp.nanosec, message.header.frame_id) == (5, 7, "front")


@pytest.mark.parametrize("name", ["rgb8; jpeg compressed bgr8", "bgr8; png compressed ", "jpg"])
def test_the_formats_of_image_transport_are_known(name: str) -> None:
    kind: Any = "png" if "png" in name else "jpeg"
    message = pictures.compressed_message(encode_image(PIXELS, kind)[1], name, 0, "")
    assert pictures.rgb_of_compressed(message).shape == PIXELS.shape


@pytest.mark.parametrize(("name", "says"), [("webp", "allowed: jpeg, png"), ("16UC1; png", "8-bit"), ("png", "whole")])
def test_other_formats_and_damaged_bytes_are_refused(name: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        pictures.rgb_of_compressed(pictures.compressed_message(b"\x89PNG\r\n\x1a\n", name, 0, ""))


def test_an_image_message_says_what_it_is() -> None:
    message = pictures.image_message(PIXELS, 1_700_000_000_123_456_789, "wrist")
    assert (message.encoding, message.step, message.height, message.width) == ("rgb8", 105, 33, 35)
    assert pictures.stamp_ns(message.header) == 1_700_000_000_123_456_789
    np.testing.assert_array_equal(pictures.rgb_of(message), PIXELS)
