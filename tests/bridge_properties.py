"""Whatever bytes come, decoder and service read them or refuse them with a sentence, and stay as they were.

Some thousands of messages by default; ``make soak`` sends 100,000 and more (``ITK_EXAMPLES``). They run in a process of
their own (`e2e/test_bridge_properties.py`), so that the memory measured is theirs.
"""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Iterator
from pathlib import Path

import hypothesis.strategies as st
import pytest
import zmq
from hypothesis import given, settings
from scripted import NoiseGenerator, ScriptedCritic, ScriptedPlanner, plan_of
from wire_samples import ENCODED, damaged, hostile

from itk_embodied.bridges import wire
from itk_embodied.bridges.codec import decode
from itk_embodied.bridges.images import decode_image
from itk_embodied.errors import WireError
from itk_embodied.pipeline import VisualSubgoalPipeline
from itk_embodied.service import ServiceConfig, SubgoalService

EXAMPLES = int(os.environ.get("ITK_EXAMPLES", "5000"))
BATCH = 20
SOME = settings(max_examples=max(150, EXAMPLES // 100), deadline=None, database=None)
MANY = settings(max_examples=EXAMPLES // 2 // BATCH, deadline=None, database=None)
ROOM_KB = 48 * 1024
"""What all these messages together may add to the process: each is a few kB, and claims up to gigabytes."""


def memory_kb(what: str) -> int:
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith(what)).split()[1])


@settings(max_examples=20, deadline=None, database=None)
@given(hostile, st.integers(0, 2**64), st.text())
def draw_some(parts: list[bytes], number: int, text: str) -> None:
    """Nothing but draws: on a new machine Hypothesis makes its tables of characters and constants (200 MB) for them."""


@pytest.fixture(scope="module")
def peak() -> Iterator[None]:
    """The process's peak of resident memory, from here on."""
    draw_some()
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    before = memory_kb("VmRSS")
    yield
    grown = memory_kb("VmHWM") - before
    assert grown < ROOM_KB, f"{grown} kB were allocated for messages of a few kB"


def read_or_refuse(parts: list[bytes]) -> None:
    try:
        received = decode(parts)
        image = wire.image_of(received.message)
        if image is not None:
            assert decode_image(image, received.payload).shape == (image.height, image.width, 3)
    except WireError as error:
        assert len(str(error)) > 20 and "\n" not in str(error)


@pytest.mark.timeout(3600)
@SOME
@given(hostile)
def test_the_decoder_reads_or_refuses_in_a_sentence(peak: None, parts: list[bytes]) -> None:
    read_or_refuse(parts)


@pytest.mark.timeout(3600)
@MANY
@given(st.integers(0, 2**64))
def test_the_decoder_reads_or_refuses_whatever_is_damaged(peak: None, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(BATCH):
        read_or_refuse(damaged(chance))


@pytest.fixture(scope="module")
def service() -> Iterator[SubgoalService]:
    pipeline = VisualSubgoalPipeline(ScriptedPlanner(plan_of("go")), NoiseGenerator(), ScriptedCritic(True))
    config = ServiceConfig(stream="tcp://127.0.0.1:0", requests="tcp://127.0.0.1:0", keep_tasks=1)
    with SubgoalService(pipeline, config) as running:
        running.wait_ready(10)
        yield running


@pytest.fixture(scope="module")
def dealer(service: SubgoalService) -> Iterator[zmq.Socket[bytes]]:
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.linger = 0
        socket.connect(service.requests_address)
        yield socket


def one_clear_answer(dealer: zmq.Socket[bytes], parts: list[bytes]) -> None:
    dealer.send_multipart(parts)
    assert dealer.poll(5000), f"no answer to {parts!r}"
    reply = decode(dealer.recv_multipart()[:3]).message
    assert isinstance(reply, wire.Reply)
    if isinstance(reply, wire.Refused):
        assert len(reply.error) > 20 and "\n" not in reply.error


def still_there(dealer: zmq.Socket[bytes]) -> None:
    dealer.send_multipart(ENCODED["ping"])
    assert dealer.poll(5000), "the service has not survived that"
    pong = decode(dealer.recv_multipart()).message
    assert isinstance(pong, wire.Pong) and pong.request_id == "r4", "more than one answer to a message"
    assert pong.state == "ready"


@pytest.mark.timeout(3600)
@SOME
@given(hostile)
def test_the_service_answers_every_message_once_and_clearly(
    peak: None, dealer: zmq.Socket[bytes], parts: list[bytes]
) -> None:
    one_clear_answer(dealer, parts)
    still_there(dealer)


@pytest.mark.timeout(3600)
@MANY
@given(st.integers(0, 2**64))
def test_the_service_answers_whatever_is_damaged(peak: None, dealer: zmq.Socket[bytes], seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(BATCH):
        one_clear_answer(dealer, damaged(chance))
    still_there(dealer)
