"""Pictures as data URIs, under one byte budget for the whole page."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from bezoar.report.text import shown
from bezoar.scan.result import Picture

MAX_SIDE = 128  # pixels of an embedded thumbnail, where nothing else is asked for
_LOSSLESS = 64 * 64  # pixels up to which a record is kept as PNG; larger ones go as JPEG
_CAPTION = 90


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """What the template needs of one picture; `outline` is (top, left, height, width) in percent of it."""

    uri: str
    alt: str
    caption: str
    width: int
    height: int
    outline: tuple[float, float, float, float] | None


class Album:
    """Embeds pictures until `budget` bytes of data URIs are spent; later ones are left out and counted."""

    def __init__(self, budget: int, side: int = MAX_SIDE) -> None:
        """`side`: pixels that larger pictures are reduced to."""
        self._left, self._side = budget, side
        self.left_out = 0

    def add(self, picture: Picture, what: Literal["evidence", "record"] = "record") -> Thumbnail | None:
        """The picture as a thumbnail, or None when the budget is spent. Evidence is always kept lossless."""
        if self.left_out:  # spent: encode nothing more
            self.left_out += 1
            return None
        pixels = np.ascontiguousarray(picture.pixels, dtype=np.uint8)
        height, width = pixels.shape[:2]
        image = Image.fromarray(pixels, "RGB") if height and width else Image.new("RGB", (1, 1))
        image.thumbnail((self._side, self._side), Image.Resampling.LANCZOS)
        uri = _data_uri(image, lossless=what == "evidence")
        if len(uri) > self._left:
            self.left_out += 1
            return None
        self._left -= len(uri)
        caption = shown(picture.caption, _CAPTION)
        return Thumbnail(uri, caption, caption, width, height, _outline(picture, height, width))


def _data_uri(image: Image.Image, *, lossless: bool) -> str:
    buffer = io.BytesIO()
    if lossless or image.width * image.height <= _LOSSLESS:
        kind = "png"
        image.save(buffer, "PNG", optimize=True)
    else:
        kind = "jpeg"
        image.save(buffer, "JPEG", quality=85)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def _outline(picture: Picture, height: int, width: int) -> tuple[float, float, float, float] | None:
    if picture.mark is None or not height or not width:
        return None
    top, left, bottom, right = picture.mark
    return (
        round(100 * top / height, 3),
        round(100 * left / width, 3),
        round(100 * (bottom - top) / height, 3),
        round(100 * (right - left) / width, 3),
    )
