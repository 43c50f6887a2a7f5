"""How images are re-encoded, in img2dataset's terms."""

from __future__ import annotations

import math
from dataclasses import dataclass

from bezoar.data.image_files import MAX_PIXELS
from bezoar.errors import UsageError

RESIZE_MODES = ("no", "border", "keep_ratio", "keep_ratio_largest", "center_crop")
MAX_SIZE = math.isqrt(MAX_PIXELS)  # of a square that is still decoded
ENCODE_FORMATS = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP"}


@dataclass(frozen=True, slots=True)
class Reencode:
    """What becomes of an image.

    Attributes:
        size: pixels of the shorter side (`keep_ratio`, `center_crop`) or of the longer one (`keep_ratio_largest`, `border`).
        resize_mode: `no`; `keep_ratio` and `keep_ratio_largest` scale; `center_crop` cuts a square out of the middle, `border`
            fills one up with white.
        only_if_bigger: leave smaller images at their size.
        encode_format: jpg, png or webp.
        quality: of jpg and webp, 1 to 100; for png the compression level, 0 to 9.
        skip_reencode: keep the bytes of an image that has the format already and is not resized (it is decoded all the same).
        min_size: refuse an image with a shorter side.
        max_area: refuse an image with more pixels.
        max_aspect_ratio: refuse a longer side of more than so many shorter ones.

    """

    size: int = 256
    resize_mode: str = "border"
    only_if_bigger: bool = False
    encode_format: str = "jpg"
    quality: int = 95
    skip_reencode: bool = False
    min_size: int = 0
    max_area: float = math.inf
    max_aspect_ratio: float = math.inf

    def __post_init__(self) -> None:
        if self.resize_mode not in RESIZE_MODES:
            raise UsageError(f"no resize mode {self.resize_mode!r}; known: {', '.join(RESIZE_MODES)}")
        if self.encode_format not in ENCODE_FORMATS:
            raise UsageError(
                f"no image format {self.encode_format!r} to encode to; known: {', '.join(ENCODE_FORMATS)}"
            )
        lowest, highest = (0, 9) if self.encode_format == "png" else (1, 100)
        if not lowest <= self.quality <= highest:
            raise UsageError(
                f"quality {self.quality} of {self.encode_format} lies outside {lowest} to {highest}"
            )
        if not 0 < self.size <= MAX_SIZE:
            raise UsageError(
                f"image size {self.size} lies outside 1 to {MAX_SIZE} pixels; larger images are not decoded here"
            )


def unsuitable(width: int, height: int, options: Reencode) -> str | None:
    """Why an image of this size is refused, in img2dataset's words; None when it is not."""
    if min(width, height) < options.min_size:
        return "image too small"
    if width * height > options.max_area:
        return "image area too large"
    if max(width, height) > options.max_aspect_ratio * min(width, height):
        return "aspect ratio too large"
    return None
