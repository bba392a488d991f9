"""Camera frames over ZeroMQ: the newest wins, pixels and stamp unchanged."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
import zmq
from scripted import gradient_image

from itk_embodied.bridges import FramePublisher, FrameSubscriber
from itk_embodied.types import Frame

ANY = "tcp://127.0.0.1:0"


def settle(publisher: FramePublisher, subscriber: FrameSubscriber) -> None:
    """Publish until the subscription has reached the publisher."""
    ends_s = time.monotonic() + 5
    while subscriber.latest(0.02) is None:
        assert time.monotonic() < ends_s
        publisher.publish(Frame(gradient_image(), stamp_s=1.0))
    while subscriber.latest(0.05) is not None:
        pass


@pytest.mark.parametrize("encoding", ["raw", "png"])
def test_pixels_stamp_and_name_arrive_unchanged(encoding: Any) -> None:
    with FramePublisher(ANY, encoding=encoding) as publisher, FrameSubscriber(publisher.address) as subscriber:
        settle(publisher, subscriber)
        sent = Frame(gradient_image(), stamp_s=1_700_000_000.1234567, frame_id="wrist")
        publisher.publish(sent)
        got = subscriber.latest(5)
        assert got is not None
        np.testing.assert_array_equal(got.image, sent.image)
        assert (got.stamp_s, got.frame_id) == (sent.stamp_s, "wrist")


def test_the_newest_frame_wins() -> None:
    with FramePublisher(ANY) as publisher, FrameSubscriber(publisher.address) as subscriber:
        settle(publisher, subscriber)
        for stamp_s in (10.0, 11.0, 12.0):
            publisher.publish(Frame(gradient_image(), stamp_s=stamp_s))
        time.sleep(0.2)
        got = subscriber.latest(5)
        assert got is not None and got.stamp_s == 12.0
        assert subscriber.latest(0.05) is None


def test_what_is_not_a_frame_is_dropped_and_counted() -> None:
    with zmq.Context() as context, context.socket(zmq.PUB) as socket:
        socket.linger = 0
        port = socket.bind_to_random_port("tcp://127.0.0.1")
        with FrameSubscriber(f"tcp://127.0.0.1:{port}") as subscriber:
            ends_s = time.monotonic() + 5
            while not subscriber.dropped and time.monotonic() < ends_s:
                socket.send_multipart([b"frame", b"\xc1", b""])
                assert subscriber.latest(0.05) is None
            assert "msgpack" in subscriber.last_error
