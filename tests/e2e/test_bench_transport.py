"""`itk-embodied bench transport`, one round of it: every path delivers, and the record is what was promised."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from itk_embodied.bridges.bench.runner import record
from itk_embodied.bridges.bench.styles import (
    pack_groot_style,
    pack_openpi_style,
    pack_rosbridge_style,
    sample_picture,
    unpack_groot_style,
    unpack_openpi_style,
    unpack_rosbridge_style,
)

PATHS = {
    "itk",
    "itk_curve",
    "itk_jpeg",
    "itk_png",
    "pyzmq",
    "pyzmq_curve",
    "groot_style",
    "openpi_style",
    "rosbridge_style",
}


def test_one_round_over_every_path(tmp_path: Path) -> None:
    out = tmp_path / "transport.json"
    command = [sys.executable, "-m", "itk_embodied", "bench", "transport", "--rounds", "1", "--json", str(out)]
    subprocess.run(command, check=True, timeout=200, stdout=subprocess.DEVNULL)
    result = json.loads(out.read_text())
    assert set(result) == {"paths", "throughput_vs_bare_pyzmq", "added_median_ms"}
    assert set(result["paths"]) == PATHS
    for path in result["paths"].values():
        assert set(path) == {"median_ms", "p99_ms", "messages_per_s", "bytes_on_wire"}
        assert 0 < path["median_ms"] <= path["p99_ms"] and path["messages_per_s"] > 0
    size = {name: path["bytes_on_wire"] for name, path in result["paths"].items()}
    assert 921_600 < size["pyzmq"] < size["itk"] < 921_600 + 1500, "a header of less than 1500 bytes"
    assert size["rosbridge_style"] > 1.3 * 921_600
    assert size["itk_jpeg"] < size["itk_png"] < size["itk"]


def test_the_record_compares_within_each_round() -> None:
    latencies = {"itk": [[1.0, 1.2], [5.0, 5.2], [1.1, 1.3]], "pyzmq": [[0.9, 1.1], [4.9, 5.1], [1.0, 1.2]]}
    result = record(latencies, {"itk": [90.0, 9.0, 45.0], "pyzmq": [100.0, 10.0, 50.0]}, {"itk": 2, "pyzmq": 1})
    assert result["throughput_vs_bare_pyzmq"] == 0.9 and result["added_median_ms"] == pytest.approx(0.1)
    assert result["paths"]["itk"] == {"median_ms": 1.25, "p99_ms": 5.2, "messages_per_s": 45.0, "bytes_on_wire": 2}


def test_every_style_delivers_the_pixels_and_the_time() -> None:
    picture = sample_picture()
    for pack, unpack in (
        (pack_groot_style, unpack_groot_style),
        (pack_openpi_style, unpack_openpi_style),
        (pack_rosbridge_style, unpack_rosbridge_style),
    ):
        sent_ns, image = unpack(pack(picture, 1_234_567_890_123))  # type: ignore[operator]
        assert sent_ns == 1_234_567_890_123
        np.testing.assert_array_equal(image, picture)
