"""Pictures to bytes and back: PNG (lossless), JPEG (small, lossy), raw RGB rows (no work)."""

from __future__ import annotations

import hashlib
import io
import warnings

import numpy as np
import PIL.Image

from itk_embodied.bridges.codec import Part
from itk_embodied.bridges.wire import MAX_SIDE_PX, Encoding, ImageInfo
from itk_embodied.errors import ConfigError, WireError
from itk_embodied.types import Image

JPEG_QUALITY = 92
_PNG_LEVEL = 3  # of 9: half the time of Pillow's default for a few per cent more bytes
_FORMATS = {"png": "PNG", "jpeg": "JPEG"}


def encode_image(image: Image, encoding: Encoding = "png", *, hashed: bool = True) -> tuple[ImageInfo, Part]:
    """Describe and encode an RGB ``uint8`` ``(H, W, 3)`` picture. The same pixels give the same bytes.

    ``raw`` does not copy a contiguous picture. ``hashed=False`` leaves the payload's SHA-256 out, for camera streams.
    """
    if encoding not in ("png", "jpeg", "raw"):
        raise ConfigError(f"image encoding {encoding!r} is not known; allowed: png, jpeg, raw.")
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise WireError(f"a picture must be uint8 (height, width, 3) in RGB; got {image.dtype} {image.shape}.")
    height, width = image.shape[:2]
    if max(height, width) > MAX_SIDE_PX:
        raise WireError(f"the picture is {width}x{height} px; each side may have at most {MAX_SIDE_PX}. Scale it down.")
    payload: Part
    if encoding == "raw":
        payload = np.ascontiguousarray(image).data.cast("B")
    else:
        buffer = io.BytesIO()
        options = {"compress_level": _PNG_LEVEL} if encoding == "png" else {"quality": JPEG_QUALITY, "subsampling": 0}
        PIL.Image.fromarray(image).save(buffer, format=_FORMATS[encoding], **options)
        payload = buffer.getvalue()
    digest = hashlib.sha256(payload).hexdigest() if hashed else ""
    info = ImageInfo(encoding=encoding, height=height, width=width, size_bytes=len(payload), sha256=digest)
    return info, payload


def decode_image(info: ImageInfo, payload: Part) -> Image:
    """The RGB ``uint8`` ``(height, width, 3)`` picture, read-only. ``raw`` is a view of the payload.

    Raises:
        WireError: the bytes are not a picture of that kind and exactly that size.
    """
    if len(payload) != info.size_bytes:
        raise WireError(f"the payload has {len(payload)} bytes; the header says {info.size_bytes}.")
    if info.encoding == "raw":
        image = np.frombuffer(payload, np.uint8).reshape(info.height, info.width, 3)
        image.setflags(write=False)
        return image
    return decode_compressed(payload, info.encoding, size=(info.width, info.height))


def decode_compressed(payload: Part, encoding: str, *, size: tuple[int, int] | None = None) -> Image:
    """Decode PNG or JPEG bytes to RGB; the size in the file's own header is checked before any pixel is made.

    Args:
        size: the width and height it must have; None allows any up to ``MAX_SIDE_PX`` a side.
    """
    if encoding not in _FORMATS:
        raise WireError(f"image encoding {encoding!r} is not known; allowed: png, jpeg.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PIL.Image.DecompressionBombWarning)  # the size is checked just below
            opened = PIL.Image.open(io.BytesIO(payload), formats=[_FORMATS[encoding]])
        with opened:
            if size is not None and opened.size != size:
                has, says = f"{opened.width}x{opened.height}", f"{size[0]}x{size[1]}"
                raise WireError(f"the {encoding} picture is {has} px; the header says {says}.")
            if max(opened.size) > MAX_SIDE_PX:
                has = f"{opened.width}x{opened.height}"
                raise WireError(f"the {encoding} picture is {has} px; each side may have at most {MAX_SIDE_PX}.")
            image = np.array(opened.convert("RGB"))
    except WireError:
        raise
    except Exception as error:  # Pillow raises many kinds for damaged bytes: OSError, SyntaxError, struct.error, …
        raise WireError(f"the payload is not a whole {encoding} picture ({type(error).__name__}: {error}).") from error
    image.setflags(write=False)
    return image
