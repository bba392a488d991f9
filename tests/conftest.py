"""Shared helpers: scripted agents that stand in for models where the loop, not a model, is under test."""

from __future__ import annotations

import faulthandler
import logging
import os
import sys
import threading
from collections.abc import Iterator

import numpy as np
import pytest
from scripted import gradient_image

from itk_embodied.mesa import load_triton_first
from itk_embodied.types import Frame

load_triton_first()  # tests that render and tests that run models share this process


EXIT_S = 60.0
"""The interpreter must have ended so long after the last test. Whatever keeps it is shown, and does not keep it."""
_status = 1


def pytest_sessionfinish(exitstatus: int) -> None:
    global _status
    _status = int(exitstatus)


def pytest_unconfigure() -> None:
    def end() -> None:
        faulthandler.dump_traceback(sys.__stderr__, all_threads=True)
        os._exit(_status)

    faulthandler.dump_traceback_later(2 * EXIT_S, exit=True)  # where not even a thread of Python runs any more
    timer = threading.Timer(EXIT_S, end)
    timer.daemon = True
    timer.start()


@pytest.fixture(autouse=True)
def _log_handlers() -> Iterator[None]:
    """A handler that a test set up writes to that test's streams, which end with it."""
    log = logging.getLogger()
    before, level = list(log.handlers), log.level
    yield
    for handler in [handler for handler in log.handlers if handler not in before]:
        log.removeHandler(handler)
    log.setLevel(level)


@pytest.fixture
def frame() -> Frame:
    return Frame(gradient_image(), stamp_s=12.5)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)
