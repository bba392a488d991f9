"""Sizes: what a model paints at, and that pictures come back at the size given."""

from __future__ import annotations

import numpy as np
import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st

from itk_embodied.agents.conformance import example_image
from itk_embodied.agents.pictures import fit_longest_side, painted, working_size

SIDE = st.integers(32, 2000)


@given(SIDE, SIDE, st.sampled_from([0, 64, 512, 1024]), st.sampled_from([1, 8, 16]), st.sampled_from([0, 64]))
def test_working_sizes_are_multiples_and_never_too_small(
    height: int, width: int, resolution: int, multiple: int, least: int
) -> None:
    sides = working_size(height, width, resolution, multiple, least)
    assert all(side % multiple == 0 and side >= max(multiple, least) for side in sides)


@pytest.mark.parametrize(
    ("given_size", "resolution", "expected"),
    [
        ((480, 640), 1024, (880, 1184)),
        ((256, 256), 1024, (1024, 1024)),
        ((480, 640), 0, (480, 640)),
        ((33, 47), 0, (32, 48)),
    ],
)
def test_the_area_is_that_of_the_resolution_and_the_aspect_stays(
    given_size: tuple[int, int], resolution: int, expected: tuple[int, int]
) -> None:
    assert working_size(*given_size, resolution, 16) == expected


def test_fitting_the_longest_side_keeps_the_aspect() -> None:
    image = example_image(60, 120)
    assert fit_longest_side(image, None) is image
    assert fit_longest_side(image, 64).shape == (32, 64, 3)
    assert fit_longest_side(image, 240).shape == (120, 240, 3)


def test_what_was_painted_comes_back_frozen_at_the_size_given() -> None:
    like = example_image(48, 80)
    image = painted(PIL.Image.fromarray(example_image(64, 64)), like)
    assert image.shape == like.shape and image.dtype == np.uint8 and not image.flags.writeable
