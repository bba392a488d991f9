"""Contact sheets: rows of captioned pictures, to look at what is in the data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont

from itk_embodied.errors import InputError
from itk_embodied.types import Image

Cell = tuple[Image, str]
CAPTION_PX, LABEL_PX, GAP_PX = 14, 16, 4
_INK, _PAPER = (20, 20, 20), (255, 255, 255)


def write_sheet(path: Path, rows: Sequence[tuple[str, Sequence[Cell]]], cell_px: int = 128) -> Path:
    """Write a PNG: every row has a label above it, every picture (uint8 RGB) a caption under it."""
    if not rows:
        raise InputError(f"there is nothing to show on {path}")
    font = PIL.ImageFont.load_default(11)
    height = LABEL_PX + cell_px + CAPTION_PX + GAP_PX
    width = max(max(len(cells) for _, cells in rows) * (cell_px + GAP_PX), 160)
    sheet = PIL.Image.new("RGB", (width, height * len(rows)), _PAPER)
    draw = PIL.ImageDraw.Draw(sheet)
    for number, (label, cells) in enumerate(rows):
        top = number * height
        draw.text((2, top + 1), _cut(label, width), fill=_INK, font=font)
        for column, (image, caption) in enumerate(cells):
            left = column * (cell_px + GAP_PX)
            picture = PIL.Image.fromarray(image).resize((cell_px, cell_px), PIL.Image.Resampling.BILINEAR)
            sheet.paste(picture, (left, top + LABEL_PX))
            draw.text((left + 2, top + LABEL_PX + cell_px), _cut(caption, cell_px), fill=_INK, font=font)
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path)
    return path


def _cut(text: str, width_px: int) -> str:
    most = max(4, int(width_px / 5.6))
    return text if len(text) <= most else text[: most - 1] + "…"
