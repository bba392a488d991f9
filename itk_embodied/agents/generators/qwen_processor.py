"""Qwen2-VL's processor without its video part, which needs torchvision and which an image edit never uses."""

from __future__ import annotations

from typing import Any

from transformers import Qwen2VLProcessor


class ImageOnlyQwen2VLProcessor(Qwen2VLProcessor):
    """Loads the folders that the stock processor saved, and its own."""

    def __init__(
        self, image_processor: Any = None, tokenizer: Any = None, chat_template: str | None = None, **ignored: Any
    ) -> None:
        super().__init__(image_processor, tokenizer, None, chat_template=chat_template)

    @classmethod
    def get_attributes(cls) -> list[str]:
        return ["image_processor", "tokenizer"]
