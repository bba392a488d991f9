"""The wire: what goes in comes out; what is damaged, too large or of another version is refused with a sentence."""

from __future__ import annotations

import contextlib
import hashlib
import math
import subprocess
import sys

import hypothesis.strategies as st
import msgspec
import numpy as np
import pytest
from hypothesis import given, settings

from itk_embodied.bridges import wire
from itk_embodied.bridges.codec import WireVersionError, clip, decode, encode
from itk_embodied.bridges.images import decode_compressed, decode_image, encode_image
from itk_embodied.errors import ConfigError, WireError

PIXELS = np.random.default_rng(1).integers(0, 256, (40, 56, 3), dtype=np.uint8)
INFO, PNG = encode_image(PIXELS)
SUBGOAL = wire.SubgoalMessage(
    session="s", task_id="t", seq=3, step=1, step_count=2, instruction="put", status="verified", image=INFO, score=0.5
)
MESSAGES: list[tuple[wire.Header, bytes]] = [
    (wire.PlanMessage(task_id="t", task="put", seed=1, steps=()), b""),
    (wire.AttemptMessage(task_id="t", step=1, attempt=1, state="started", prompt="p", seed=2), b""),
    (SUBGOAL, bytes(PNG)),
    (wire.EndMessage(task_id="t", status="verified", prompt_hashes={"planner": "ab"}), b""),
    (wire.Heartbeat(state="ready"), b""),
    (wire.FrameMessage(seq=1, stamp_ns=5, frame_id="front", image=INFO), bytes(PNG)),
    (wire.Submit(request_id="r", task_id="abcdefgh", task="x", stamp_ns=0, frame_id="", image=INFO), bytes(PNG)),
    (wire.Snapshot(request_id="r"), b""),
    (wire.Cancel(request_id="r"), b""),
    (wire.Ping(request_id="r"), b""),
    (wire.SubmitReply(request_id="r", task_id="t", place="active"), b""),
    (wire.SnapshotReply(request_id="r", task_id="t", place="ended", last_seq=1, count=0), b""),
    (wire.CancelReply(request_id="r", task_ids=("t",)), b""),
    (wire.Pong(request_id="r", state="ready"), b""),
    (wire.Refused(request_id="r", error="no"), b""),
]


def header_of(message: wire.Header, **changes: object) -> bytes:
    """The header with fields changed behind the schema's back."""
    fields = msgspec.msgpack.decode(encode(message, PNG if wire.image_of(message) else b"")[1])
    for path, value in changes.items():
        *parents, last = path.split("__")
        target = fields
        for name in parents:
            target = target[name]
        target[last] = value
    return msgspec.msgpack.encode(fields)


@pytest.mark.parametrize(("message", "payload"), MESSAGES, ids=lambda value: type(value).__name__)
def test_every_kind_survives_the_wire(message: wire.Header, payload: bytes) -> None:
    topic, header, body = encode(message, payload)
    received = decode([bytes(topic), bytes(header), bytes(body)])
    assert received.message == message
    assert bytes(received.payload) == payload


@pytest.mark.parametrize("encoding", ["png", "raw"])
def test_lossless_encodings_keep_every_pixel_and_the_colour_order(encoding: wire.Encoding) -> None:
    info, payload = encode_image(PIXELS, encoding)
    image = decode_image(info, bytes(payload))
    np.testing.assert_array_equal(image, PIXELS)
    assert not image.flags.writeable
    assert info.sha256 == hashlib.sha256(payload).hexdigest()


def test_jpeg_keeps_red_red() -> None:
    red = np.zeros((64, 64, 3), np.uint8)
    red[..., 0] = 220
    image = decode_image(*encode_image(red, "jpeg")).astype(int)
    assert abs(image - red).max() <= 4


def test_the_same_pixels_give_the_same_bytes() -> None:
    assert encode_image(PIXELS) == encode_image(PIXELS.copy())


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"version": 2}, "wire version 2; this program speaks 1"),
        ({"version": 0}, "Update the sender"),
        ({"version": "1"}, "version"),
        ({"kind": "subgaol"}, "subgaol"),
        ({"status": "fine"}, "fine"),
        ({"score": 1.5}, "score"),
        ({"score": math.nan}, "score"),
        ({"version": True}, "version"),
        ({"seq": -1}, "seq"),
        ({"frame_sha256": "xyz"}, "frame_sha256"),
        ({"instruction": "x" * 4001}, "instruction"),
        ({"image__width": 5000}, "width"),
        ({"image__width": 55}, "the header says 55x40"),
        ({"image__height": 0}, "height"),
        ({"image__colour": "bgr"}, "bgr"),
        ({"image__encoding": "gif"}, "gif"),
        ({"image__size_bytes": 10}, "the header says 10"),
        ({"image__size_bytes": 1 << 40}, "size_bytes"),
        ({"image__sha256": "0" * 64}, "SHA-256"),
        ({"image": None}, "without a picture"),
        ({"status": "failed"}, "failed subgoal with a picture"),
    ],
)
def test_a_wrong_field_is_refused_by_name(changes: dict[str, object], says: str) -> None:
    with pytest.raises(WireError, match=says):
        received = decode([b"subgoal", header_of(SUBGOAL, **changes), bytes(PNG)])
        assert isinstance(received.message, wire.SubgoalMessage)
        assert received.message.image is not None
        decode_image(received.message.image, received.payload)


def test_another_version_is_told_apart_whatever_else_it_has() -> None:
    with pytest.raises(WireVersionError, match="Update this program"):
        decode([b"anything", msgspec.msgpack.encode({"version": 9, "kind": "novel", "x": [1, 2]}), b""])


def test_an_unknown_optional_field_is_skipped() -> None:
    header = header_of(SUBGOAL, of_the_future=5)
    assert decode([b"subgoal", header, bytes(PNG)]).message == SUBGOAL


@pytest.mark.parametrize(
    "parts",
    [
        [],
        [b"subgoal"],
        [b"subgoal", b""],
        [b"subgoal", b"", b""],
        [b"subgoal", b"\xc0", b""],
        [b"plan", encode(SUBGOAL, PNG)[1], PNG],
        [b"subgoal", encode(SUBGOAL, PNG)[1], PNG[:-1]],
        [b"subgoal", encode(SUBGOAL, PNG)[1], PNG[:-1] + b"x"],
        [b"subgoal", b"\x82\xa7version\x01\xa4kind" + b"\x91" * 50_000, b""],
        [b"subgoal", b"\x81\xa7version\xdf\x7f\xff\xff\xff", b""],
        [b"plan", b"\x83\xa7version\x01\xa4kind\xa4plan\xa5steps\xdd\x7f\xff\xff\xff", b""],
        [b"subgoal", b"x" * (wire.MAX_HEADER_BYTES + 1), b""],
    ],
    ids=range(12),
)
def test_malformed_messages_are_refused(parts: list[bytes]) -> None:
    with pytest.raises(WireError):
        decode(parts)


def test_a_picture_larger_than_its_header_says_is_not_decoded() -> None:
    _, big = encode_image(np.zeros((2000, 2000, 3), np.uint8))
    info = wire.ImageInfo(encoding="png", height=40, width=40, size_bytes=len(big))
    with pytest.raises(WireError, match="2000x2000 px; the header says 40x40"):
        decode_image(info, big)


@pytest.mark.parametrize("payload", [b"", b"GIF89a" + bytes(40), bytes(PNG)[:200], bytes(PNG)[:-30]])
def test_what_is_not_a_whole_png_is_refused(payload: bytes) -> None:
    with pytest.raises(WireError, match="not a whole png"):
        decode_compressed(payload, "png")


def test_a_sender_cannot_make_nonsense() -> None:
    with pytest.raises(WireError, match="header says"):
        encode(SUBGOAL, b"short")
    with pytest.raises(WireError, match="uint8"):
        encode_image(PIXELS.astype(np.float32))  # type: ignore[arg-type]
    with pytest.raises(WireError, match="at most 4096"):
        encode_image(np.zeros((1, 5000, 3), np.uint8))
    with pytest.raises(ConfigError, match="allowed: png, jpeg, raw"):
        encode_image(PIXELS, "tiff")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="finite"):
        wire.Heartbeat(state="ready", uptime_s=math.inf)


def test_long_texts_are_cut_and_say_so() -> None:
    assert clip("x" * 50, 50) == "x" * 50
    assert len(clip("x" * 51, 50)) == 50
    assert clip("x" * 51, 50).endswith("[cut]")
    assert clip(None, 5) == ""


@given(st.floats(0, 4e9))
def test_stamps_survive_as_nanoseconds(stamp_s: float) -> None:
    assert wire.stamp_to_s(wire.stamp_to_ns(stamp_s)) == pytest.approx(stamp_s, abs=5e-10 + math.ulp(stamp_s))
    if stamp_s > 1e9:
        assert wire.stamp_to_s(wire.stamp_to_ns(stamp_s)) == stamp_s


SEEDS = [[bytes(part) for part in encode(message, payload)] for message, payload in MESSAGES]


@st.composite
def mutated(draw: st.DrawFn) -> list[bytes]:
    """A valid message with bytes flipped, cut, inserted or frames swapped."""
    parts = list(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(parts) - 1))
        data = bytearray(parts[at])
        place = draw(st.integers(0, len(data)))
        action = draw(st.sampled_from(["flip", "cut", "insert", "swap"]))
        if action == "flip" and place < len(data):
            data[place] ^= draw(st.integers(1, 255))
        elif action == "cut":
            del data[place:]
        elif action == "insert":
            data[place:place] = draw(st.binary(min_size=1, max_size=12))
        elif action == "swap":
            other = draw(st.integers(0, len(parts) - 1))
            data, parts[other] = bytearray(parts[other]), bytes(data)
        parts[at] = bytes(data)
    return parts


def never_crashes(parts: list[bytes]) -> None:
    try:
        received = decode(parts)
        image = wire.image_of(received.message)
        if image is not None:
            decode_image(image, received.payload)
    except WireError as error:
        assert len(str(error)) > 10


@settings(max_examples=500, deadline=None)
@given(mutated())
def test_mutated_messages_are_read_or_refused(parts: list[bytes]) -> None:
    never_crashes(parts)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.binary(max_size=200), max_size=5))
def test_random_bytes_are_refused(parts: list[bytes]) -> None:
    never_crashes(parts)


@settings(max_examples=200, deadline=None)
@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**63), 2**64 - 1)
        | st.floats()
        | st.text(max_size=20)
        | st.binary(max_size=20),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
        max_leaves=12,
    ),
    st.sampled_from(["session", "task_id", "steps", "image", "seq", "score", "prompt_hashes", "kind", "task"]),
    st.sampled_from(MESSAGES),
)
def test_any_value_in_any_field_is_read_or_refused(value: object, field: str, seed: tuple[wire.Header, bytes]) -> None:
    fields = msgspec.msgpack.decode(encode(*seed)[1])
    fields[field] = value
    never_crashes([wire.topic_of(seed[0]), msgspec.msgpack.encode(fields), seed[1]])


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300), st.integers(0, len(PNG)))
def test_damaged_pictures_are_refused(junk: bytes, at: int) -> None:
    damaged = bytes(PNG[:at]) + junk
    info = wire.ImageInfo(encoding="png", height=40, width=56, size_bytes=max(1, len(damaged)))
    with contextlib.suppress(WireError):
        assert decode_image(info, damaged).shape == (40, 56, 3)


def test_the_client_needs_neither_torch_nor_a_simulator() -> None:
    blocked = ["torch", "diffusers", "transformers", "mujoco", "cv2", "rclpy", "itk_sim"]
    program = f"""
import sys
for name in {blocked}:
    sys.modules[name] = None
import itk_embodied.bridges, itk_embodied.service
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
