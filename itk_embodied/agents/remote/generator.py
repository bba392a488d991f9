"""The generator behind an OpenAI-compatible image-edit endpoint."""

from __future__ import annotations

import base64
import binascii
import io
from typing import Any

import PIL.Image

from itk_embodied.agents.base import CallContext
from itk_embodied.agents.pictures import painted
from itk_embodied.agents.remote.endpoint import Endpoint
from itk_embodied.agents.settings import ImageEditSettings
from itk_embodied.errors import ModelOutputError
from itk_embodied.images import MAX_PIXELS, png_bytes
from itk_embodied.types import Image


class ImageEditGenerator:
    """See `itk_embodied.agents.base.Generator`. Whether the same seed paints the same image is up to the server."""

    remote = True  # the models are somebody else's: nothing to warm up here

    def __init__(self, endpoint: Endpoint, settings: ImageEditSettings) -> None:
        self.name = f"openai:{settings.model}@{endpoint.address}"
        self._endpoint, self._settings = endpoint, settings

    @classmethod
    def from_settings(cls, settings: ImageEditSettings) -> ImageEditGenerator:
        """Read the key; contacts nobody yet. Raises ConfigError."""
        return cls(Endpoint(settings), settings)

    def generate(self, image: Image, prompt: str, context: CallContext) -> Image:
        settings = self._settings
        form = {"model": settings.model, "prompt": prompt, "n": "1"}
        if settings.size:
            form["size"] = settings.size
        if settings.response_format:
            form["response_format"] = settings.response_format
        if settings.send_seed:
            form["seed"] = str(context.seed)
        files = {"image": ("image.png", png_bytes(image), "image/png")}
        reply = self._endpoint.post("/images/edits", context, form=form | dict(settings.extra_fields), files=files)
        return painted(_picture(reply), image)


def _picture(reply: Any) -> PIL.Image.Image:
    try:
        encoded = reply["data"][0]["b64_json"]
        data = base64.b64decode(encoded, validate=True)
    except (KeyError, IndexError, TypeError, binascii.Error, ValueError) as error:
        raise ModelOutputError(
            "the endpoint's reply has no picture in data[0].b64_json; ask for one with "
            'response_format = "b64_json" in the stack, where the server takes that field',
            str(reply)[:2000],
        ) from error
    try:
        with PIL.Image.open(io.BytesIO(data)) as opened:
            if opened.width * opened.height > MAX_PIXELS:
                raise ModelOutputError(
                    f"the endpoint's picture is {opened.width}x{opened.height} px; that is too large"
                )
            return opened.convert("RGB")
    except (OSError, SyntaxError, ValueError, PIL.Image.DecompressionBombError) as error:
        raise ModelOutputError(f"the endpoint's picture cannot be read: {error}") from error
