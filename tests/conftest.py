"""Shared helpers: scripted agents that stand in for models where the loop, not a model, is under test."""

from __future__ import annotations

import numpy as np
import pytest
from scripted import gradient_image

from itk_embodied.mesa import load_triton_first
from itk_embodied.types import Frame

load_triton_first()  # tests that render and tests that run models share this process


@pytest.fixture
def frame() -> Frame:
    return Frame(gradient_image(), stamp_s=12.5)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)
