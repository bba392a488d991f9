"""Image files in and out. RGB ``uint8`` ``(H, W, 3)`` inside; every refusal says what to do."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageOps

from itk_embodied.errors import InputError
from itk_embodied.types import Image, as_image

MAX_PIXELS = 50_000_000
_GREY_MODES = {"1", "L", "LA", "I", "I;16", "F"}


def load_image(path: str | Path) -> Image:
    """Read a colour picture from a file (PNG, JPEG, WebP, BMP, …), upright, alpha dropped.

    Raises:
        InputError: no such file, not a picture, truncated, too small, too large, or without colour.
    """
    path = Path(path)
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise InputError(f"image {path} {what}; give the path of a PNG or JPEG file.")
    try:
        with PIL.Image.open(path) as opened:
            if opened.width * opened.height > MAX_PIXELS:
                size = f"{opened.width}x{opened.height}"
                raise InputError(f"image {path} is {size} px; at most {MAX_PIXELS} pixels are allowed. Scale it down.")
            if opened.mode in _GREY_MODES:
                raise InputError(f"image {path} is grey (mode {opened.mode}); a colour (RGB) picture is needed.")
            array = np.asarray(PIL.ImageOps.exif_transpose(opened).convert("RGB"))
    except PIL.UnidentifiedImageError as error:
        raise InputError(f"{path} is not a picture that can be read; give a PNG or JPEG file.") from error
    except (OSError, SyntaxError, ValueError, PIL.Image.DecompressionBombError) as error:
        raise InputError(f"image {path} is damaged or cut short ({error}); save it again.") from error
    image = as_image(array, what=f"image {path}")
    # A camera that delivers grey as RGB has the same three numbers everywhere; the agents name things by colour.
    if int(np.ptp(image.astype(np.int16), axis=2).max()) <= 2:
        raise InputError(f"image {path} is grey in every pixel; a colour (RGB) picture is needed.")
    return image


def png_bytes(image: Image) -> bytes:
    """The same pixels always give the same bytes."""
    buffer = io.BytesIO()
    PIL.Image.fromarray(image).save(buffer, format="PNG", compress_level=6)
    return buffer.getvalue()


def save_png(image: Image, path: Path) -> None:
    path.write_bytes(png_bytes(image))


def png_data_url(image: Image) -> str:
    return "data:image/png;base64," + base64.b64encode(png_bytes(image)).decode()
