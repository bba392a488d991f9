"""The property tests of decoder and service, in a process where nothing else allocates: see `bridge_properties`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]

pytestmark = pytest.mark.soak


@pytest.mark.timeout(3600)
def test_whatever_bytes_come_are_read_or_refused_within_bounds() -> None:
    command = [sys.executable, "-m", "pytest", str(TESTS / "bridge_properties.py"), "-p", "no:cacheprovider"]
    ran = subprocess.run(command, cwd=TESTS.parent, capture_output=True, text=True, timeout=3500)
    assert ran.returncode == 0, ran.stdout[-4000:] + ran.stderr[-1000:]
    assert "4 passed" in ran.stdout or ran.stdout.strip().startswith("...."), ran.stdout
