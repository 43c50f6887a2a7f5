"""Pictures that show why: records as they are, triggers as recovered, neighbours to hold them against."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bezoar.data import Dataset, decode, encode
from bezoar.errors import InputError
from bezoar.scan.functional.triggers import Trigger
from bezoar.scan.result import Picture

_JPEG = b"\xff\xd8\xff"
_MEAN_OF = 512  # records averaged in a picture of the mean


@dataclass(frozen=True, slots=True)
class Gallery:
    """Decodes and encodes the few records that a report shows and canaries are planted in."""

    dataset: Dataset

    def stored(self, indices: NDArray[np.int64], images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """What a reader would see of `images` (K, H, W, 3) in place of the records `indices`: JPEG blurs a small patch.

        An image itself where it is not of its record's own size.
        """
        seen = images.copy()
        for row, content in enumerate(self.dataset.contents(indices)):
            if content.startswith(_JPEG):
                again = decode(encode(images[row], content))
                if again.shape == images[row].shape:
                    seen[row] = again
        return seen

    def record(self, index: int, box: tuple[float, float, float, float] | None = None) -> Picture:
        """One record, captioned with label and key; `box` (top, left, bottom, right) in shares of the image."""
        caption = f"{self.dataset.label_name(int(self.dataset.labels[index]))} · {self.dataset.key(index)}"
        try:
            pixels = decode(next(self.dataset.contents([index])), self.dataset.raw_shape)
        except InputError as error:
            return Picture(np.zeros((1, 1, 3), dtype=np.uint8), f"{caption} (unreadable: {error})")
        height, width, _ = pixels.shape
        mark = None
        if box is not None:
            mark = (
                int(box[0] * height),
                int(box[1] * width),
                int(np.ceil(box[2] * height)),
                int(np.ceil(box[3] * width)),
            )
        return Picture(pixels, caption, mark)


def trigger_pictures(
    trigger: Trigger, images: NDArray[np.uint8], carriers: NDArray[np.bool_]
) -> tuple[Picture, Picture]:
    """The recovered pattern on a chequered ground, and the mean of its carriers with its place marked."""
    h, w = trigger.mask.shape
    ground = np.where(np.indices((h, w)).sum(axis=0) % 2 == 0, 110, 150).astype(np.uint8)
    shown = np.where(trigger.mask[..., None], trigger.pattern, ground[..., None])
    size = f"{w} x {h} pixels at row {trigger.top}, column {trigger.left}"
    mean = images[np.flatnonzero(carriers)[:_MEAN_OF]].mean(axis=0).round().astype(np.uint8)
    place = (trigger.top, trigger.left, trigger.top + h, trigger.left + w)
    return (
        Picture(np.asarray(shown, dtype=np.uint8), f"recovered trigger, {size}"),
        Picture(mean, "mean of its carriers: what they share stays sharp", place),
    )


def box_of(trigger: Trigger, canvas: tuple[int, int]) -> tuple[float, float, float, float]:
    """(top, left, bottom, right) of a trigger in shares of the image."""
    height, width = canvas
    h, w = trigger.mask.shape
    top, left = trigger.top, trigger.left
    return top / height, left / width, (top + h) / height, (left + w) / width
