"""Qwen3-VL's processor without a video part, so without torchvision; and two options for small models.

Qwen3-VL's vision tower takes two frames at once (temporal patches of 2), and a single picture fills both. With
``pair_frames`` the picture before and the picture after take one slot each: every patch then sees both, and the pair
costs no more than one picture; one picture alone fills both still. With ``crop_rows`` only that band of the picture
is looked at.
"""

from __future__ import annotations

from typing import Any

import PIL.Image
import torch
from transformers import Qwen3VLProcessor
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

IMAGE_BLOCK = "<|vision_start|><|image_pad|><|vision_end|>"


class ImageOnlyQwen3VLProcessor(Qwen3VLProcessor):
    """Loads the folders that the stock processor saved, and its own.

    Args:
        pair_frames: two pictures of a text share one place, one temporal slot each; a single one has both slots.
        crop_rows: the band of rows to look at, as fractions from the top; None for the whole picture.
        side_px: pictures are scaled to this width and height before the crop; None leaves scaling to the image
            processor.
    """

    def __init__(
        self,
        image_processor: Any = None,
        tokenizer: Any = None,
        chat_template: str | None = None,
        pair_frames: bool = False,
        crop_rows: tuple[float, float] | None = None,
        side_px: int | None = None,
        **ignored: Any,
    ) -> None:
        super().__init__(image_processor, tokenizer, None, chat_template=chat_template)
        self.pair_frames = pair_frames
        self.crop_rows = tuple(crop_rows) if crop_rows else None
        self.side_px = side_px

    @classmethod
    def get_attributes(cls) -> list[str]:
        return ["image_processor", "tokenizer"]

    @classmethod
    def _load_tokenizer_from_pretrained(cls, *args: Any, **kwargs: Any) -> Any:
        return super()._load_tokenizer_from_pretrained(*args, **kwargs)

    def __call__(self, images: Any = None, text: Any = None, videos: Any = None, **kwargs: Any) -> Any:
        if images is None:
            return super().__call__(images=images, text=text, videos=videos, **kwargs)
        pictures = _flat(images)
        pictures = [self._prepare(picture) for picture in pictures]
        if not self.pair_frames:
            return super().__call__(images=pictures, text=text, videos=videos, **kwargs)
        texts = text if isinstance(text, list) else [text]
        firsts, seconds = _paired(pictures, [one.count(IMAGE_BLOCK) for one in texts])
        texts = [_one_block_of_two(one) if one.count(IMAGE_BLOCK) == 2 else one for one in texts]
        batch = super().__call__(images=firsts, text=texts, videos=videos, **kwargs)
        after = self.image_processor(images=seconds, return_tensors="pt")["pixel_values"]
        batch["pixel_values"] = self._interleave(batch["pixel_values"], after)
        return batch

    def _interleave(self, before: Any, after: Any) -> Any:
        """Patch rows hold (channel, time, height, width): the first instant from before, the second from after."""
        rows = torch.as_tensor(before)  # an array where the caller asked for no tensors
        slots = rows.reshape(len(rows), 3, self.image_processor.temporal_patch_size, -1).clone()
        slots[:, :, 1:] = after.reshape(slots.shape)[:, :, 1:]
        return slots.reshape(rows.shape)

    def _prepare(self, picture: Any) -> Any:
        if self.side_px is None and self.crop_rows is None:
            return picture
        if not isinstance(picture, PIL.Image.Image):
            picture = PIL.Image.fromarray(picture)
        if self.side_px is not None and picture.size != (self.side_px, self.side_px):
            picture = picture.convert("RGB").resize((self.side_px, self.side_px), PIL.Image.Resampling.BOX)
        if self.crop_rows is not None:
            top, bottom = (round(share * picture.height) for share in self.crop_rows)
            picture = picture.crop((0, top, picture.width, bottom))
        return picture


def image_processor(side_px: int, rows_px: int, patch_px: int, merge: int) -> Qwen2VLImageProcessorPil:
    """An image processor that keeps pictures of ``rows_px`` x ``side_px`` as they are; pixels become -1..1."""
    area = side_px * rows_px
    return Qwen2VLImageProcessorPil(
        patch_size=patch_px,
        temporal_patch_size=2,
        merge_size=merge,
        size={"shortest_edge": area, "longest_edge": area},
        image_mean=[0.5, 0.5, 0.5],
        image_std=[0.5, 0.5, 0.5],
    )


def _flat(images: Any) -> list[Any]:
    if not isinstance(images, list | tuple):
        return [images]
    return [picture for item in images for picture in _flat(item)]


def _paired(pictures: list[Any], places: list[int]) -> tuple[list[Any], list[Any]]:
    """What fills the first and the second slot, text by text; ``places``: how many pictures each text has."""
    if sum(places) != len(pictures) or not all(1 <= count <= 2 for count in places):
        raise ValueError(
            f"pair_frames takes one picture or two for every text, before and after; {len(pictures)} were given "
            f"for texts with {', '.join(map(str, places))} places"
        )
    firsts, seconds, start = [], [], 0
    for count in places:
        firsts.append(pictures[start])
        seconds.append(pictures[start + count - 1])
        start += count
    return firsts, seconds


def _one_block_of_two(text: str) -> str:
    """Two pictures' places become one; what stood between them goes."""
    head, _, tail = text.partition(IMAGE_BLOCK)
    _, _, rest = tail.partition(IMAGE_BLOCK)
    return head + IMAGE_BLOCK + rest
