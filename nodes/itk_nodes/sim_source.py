"""A camera over the simulated table, which stands still: something to try a graph on without a robot."""

from __future__ import annotations

import threading
import time
from typing import Any

from itk_embodied.errors import ConfigError, InputError, MissingDependencyError
from itk_embodied.types import Frame

_SIZE_PX = 256


class SimSource:
    """The front camera of a table that holds what a sentence names.

    The table is made and rendered in the thread that reads, as its graphics context wants it.

    Args:
        scene: a sentence such as a task; the cubes, bowls, mat and drawer it names stand on the table.
        seed: of the layout and the looks.
    """

    def __init__(self, scene: str, *, seed: int, rate_hz: float, frame_id: str) -> None:
        try:
            from itk_sim.errors import SimError
            from itk_sim.staging import scene_for
        except ImportError as error:
            raise MissingDependencyError(
                "the simulated table needs MuJoCo; install it: pip install 'itk-embodied[sim]'"
            ) from error
        if not rate_hz > 0:
            raise ConfigError(f"rate_hz is {rate_hz}; it must be more than 0.")
        try:
            self._spec = scene_for(scene, seed)
        except SimError as error:
            raise InputError(str(error)) from error
        self._period_s, self._frame_id = 1.0 / rate_hz, frame_id
        self._table: Any = None
        self._next_s = time.monotonic()
        self._closed = threading.Event()

    def read(self, timeout_s: float) -> Frame | None:
        if self._table is None:
            from itk_sim.table import Table

            self._table = Table()
            self._table.reset(self._spec)
        wait_s = self._next_s - time.monotonic()
        if self._closed.wait(max(0.0, min(wait_s, timeout_s))) or wait_s > timeout_s:
            return None
        self._next_s = max(self._next_s + self._period_s, time.monotonic())
        return Frame(self._table.render("front", _SIZE_PX), frame_id=self._frame_id)

    def close(self) -> None:
        self._closed.set()
        if self._table is not None:
            self._table.close()
