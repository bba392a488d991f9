"""Work in several processes: every item once, and none of it goes on when who asked for it is told to stop."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from itk_embodied.errors import InputError
from itk_embodied.training.fanout import fan_out

SLOW = """
import os, pathlib, signal, sys, time
from itk_embodied.training.fanout import fan_out

class Slow:
    def __call__(self, item):
        pathlib.Path(self.folder, str(os.getpid())).touch()
        time.sleep(600)

def stop(*_):
    raise KeyboardInterrupt

if __name__ == "__main__":
    work = Slow()
    work.folder = sys.argv[1]
    signal.signal(signal.SIGTERM, stop)
    for _ in fan_out(range(4), work, workers=2):
        pass
"""


class Square:
    def __call__(self, item: int) -> dict[str, int]:
        return {"item": item, "square": item * item}


@pytest.mark.parametrize("workers", [1, 2])
def test_every_item_is_done_once(workers: int) -> None:
    done = sorted(fan_out(range(5), Square(), workers=workers), key=lambda one: one["item"])
    assert done == [{"item": n, "square": n * n} for n in range(5)]


def test_no_worker_is_an_error() -> None:
    with pytest.raises(InputError, match="workers is 0"):
        list(fan_out([1], Square(), workers=0))


def test_who_is_stopped_stops_its_workers_in_a_shells_background_too(tmp_path: Path) -> None:
    script, seen = tmp_path / "slow.py", tmp_path / "seen"
    script.write_text(SLOW)
    seen.mkdir()
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    process = subprocess.Popen(
        [sys.executable, str(script), str(seen)],
        env=environment,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),  # as after "command &"
    )
    try:
        deadline = time.monotonic() + 120
        while len(list(seen.iterdir())) < 2 and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        workers = [int(path.name) for path in seen.iterdir()]
        assert len(workers) == 2, "they have not begun"
        process.terminate()
        process.wait(120)
        assert [pid for pid in workers if Path(f"/proc/{pid}").exists()] == []
    finally:
        process.kill()
