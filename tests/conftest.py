"""Shared helpers: scripted agents that stand in for models where the loop, not a model, is under test."""

from __future__ import annotations

import faulthandler
import logging
from collections.abc import Iterator

import numpy as np
import pytest
from scripted import gradient_image

from itk_embodied.mesa import load_triton_first
from itk_embodied.types import Frame

load_triton_first()  # tests that render and tests that run models share this process


EXIT_S = 60.0
"""The interpreter must have ended so long after the last test; a thread that keeps it is shown and the run fails."""


def pytest_unconfigure() -> None:
    faulthandler.dump_traceback_later(EXIT_S, exit=True)


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
