"""Goal images held to the camera frame: what a generator changed a little, it did not mean to change.

An edit model leaves faint marks where nothing should differ: outlines of what stood there, a haze, the noise of a
latent code. Each goal image is painted over the one before, so over a long plan such marks add up. Wherever one
is all but the camera frame that the sequence started from, it is made that frame again, bit for bit; so is a spot that
differs faintly all over. What was moved for good differs strongly somewhere, and stays as it was painted, with its
shadow and its soft edge.
"""

from __future__ import annotations

import numpy as np

from itk_embodied.types import Image

FAINT, STRONG = 12, 48
"""Greatest difference over the channels, of 255: less than FAINT is none; a connected spot of more is a change only
where it reaches STRONG. On two chains of 25 edits true changes reached 80 and more, nine traces of ten less than 40."""
EDGE_PX = 1
"""A change keeps so many pixels around it as they were painted."""


def anchored(image: Image, frame: Image) -> Image:
    """``image`` where it is changed against ``frame``, which it is elsewhere; both uint8 RGB (H, W, 3)."""
    import cv2  # here, for whoever imports the pipeline's types without it: a client has no OpenCV

    apart = cv2.absdiff(image, frame).max(-1)
    _, spots = cv2.connectedComponents((apart >= FAINT).astype(np.uint8), connectivity=8)
    # Two pixels across, so that single ones do not count as strong.
    strong = np.unique(spots[cv2.blur(apart, (2, 2)) >= STRONG])
    changed = np.isin(spots, strong[strong > 0]).astype(np.uint8)
    around = cv2.dilate(changed, np.ones((2 * EDGE_PX + 1,) * 2, np.uint8)).astype(bool)
    return np.where(around[..., None], image, frame)
