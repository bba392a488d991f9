"""docs/wire.md says what the program does, and messages that were recorded once stay readable."""

from __future__ import annotations

import json
import re
import struct
from pathlib import Path
from typing import get_args

import msgspec
import numpy as np
import pytest
from wire_page import GROUPS, rows
from wire_samples import ENCODED, PIXELS, SAMPLES

from itk_embodied.bridges import wire, wire_fields
from itk_embodied.bridges.codec import decode, encode
from itk_embodied.bridges.images import decode_image
from itk_embodied.bridges.sockets import DEAD_AFTER_S, DEFAULT_FRAMES, DEFAULT_REQUESTS, DEFAULT_STREAM
from itk_embodied.types import image_hash

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "wire.md").read_text(encoding="utf-8")
GOLDEN = sorted((ROOT / "tests" / "golden" / "wire").glob("*.bin"))


def section(heading: str) -> str:
    match = re.search(rf"^### {re.escape(heading)}\n(.*?)(?=^### |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert match, f"docs/wire.md has no section {heading!r}"
    return match[1]


@pytest.mark.parametrize("heading", list(GROUPS))
def test_every_table_has_the_structs_fields_types_and_defaults(heading: str) -> None:
    table = [
        tuple(cell.strip() for cell in line.strip().strip("|").split("|")[:3])
        for line in section(heading).splitlines()
        if line.startswith("|") and not line.startswith(("| field", "| ---"))
    ]
    assert table == rows(heading)


def test_every_kind_of_message_has_its_section_and_the_page_no_other() -> None:
    kinds = {str(message.__struct_config__.tag) for message, _ in SAMPLES.values()}
    assert {str(kind.__struct_config__.tag) for kind in get_args(wire.Message)} == kinds
    assert set(re.findall(r"^### (.*)$", PAGE, re.MULTILINE)) == set(GROUPS)
    assert kinds <= set(GROUPS)


def test_numbers_and_addresses_on_the_page_are_the_programs() -> None:
    for address in (DEFAULT_STREAM, DEFAULT_REQUESTS, DEFAULT_FRAMES):
        assert f"`{address}`" in PAGE
    assert f"# The wire, version {wire_fields.VERSION}\n" in PAGE
    assert f"Nothing heard for {DEAD_AFTER_S:g} s" in PAGE
    assert wire_fields.MAX_HEADER_BYTES == 1 << 20 and "at most 2^20 bytes" in PAGE
    assert wire_fields.MAX_PAYLOAD_BYTES == 1 << 26 and "at most 2^26 bytes" in PAGE


def frames_of(path: Path) -> list[bytes]:
    data, frames = path.read_bytes(), []
    while data:
        (length,) = struct.unpack_from(">I", data)
        frames.append(data[4 : 4 + length])
        data = data[4 + length :]
    return frames


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_recorded_messages_stay_readable(path: Path) -> None:
    received = decode(frames_of(path))
    said = json.loads(path.with_suffix(".json").read_text())
    now = json.loads(msgspec.json.encode(received.message))
    assert {name: now[name] for name in said} == said, "no field has changed its meaning"
    image = wire.image_of(received.message)
    if image is not None:
        pixels = decode_image(image, received.payload)
        if image.encoding == "jpeg":
            assert np.abs(pixels.astype(int) - PIXELS).mean() < 12
        else:
            np.testing.assert_array_equal(pixels, PIXELS)
            assert getattr(received.message, "image_sha256", "") in ("", image_hash(pixels))


def test_every_kind_was_recorded() -> None:
    assert {path.stem for path in GOLDEN} >= {f"v1_{name}" for name in ENCODED}


def test_readers_skip_fields_they_do_not_know_and_fill_in_those_they_miss() -> None:
    message = wire.Pong(request_id="r", state="ready")
    fields = msgspec.msgpack.decode(encode(message)[1])
    newer = {**fields, "gpu_count": 2}
    older = {name: value for name, value in fields.items() if name in ("kind", "version", "request_id", "state")}
    for header in (newer, older):
        assert decode([b"reply", msgspec.msgpack.encode(header), b""]).message == message
