"""The pixels that the pattern view mines: every readable image on one canvas of bounded size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bezoar.data import Dataset, image_sizes, load_images
from bezoar.errors import InputError
from bezoar.progress import track
from bezoar.scan.result import Unreadable

MAX_PIXELS = 96 * 2**20  # records x height x width: 288 MiB of uint8 RGB
MAX_SIDE = 128
DEFAULT_SIDE = 32  # where the images have no common size
_MIN_SIDE = 16


@dataclass(frozen=True, slots=True)
class Canvas:
    """Readable images at one size.

    Attributes:
        pixels: uint8 (M, H, W, 3).
        readable: int64 (M,), the record of each image.
        unreadable: the records that could not be decoded.
        native: the (height, width) that all images share, else None.

    """

    pixels: NDArray[np.uint8]
    readable: NDArray[np.int64]
    unreadable: tuple[Unreadable, ...]
    native: tuple[int, int] | None


def load_canvas(dataset: Dataset) -> Canvas:
    """Decode every record onto the canvas; InputError when none can be read."""
    native = image_sizes(dataset)
    height, width = canvas_size(len(dataset), native)
    pixels = np.empty((len(dataset), height, width, 3), dtype=np.uint8)
    readable: list[NDArray[np.int64]] = []
    unreadable: list[Unreadable] = []
    done = 0
    with track("decode", len(dataset)) as bar:
        for batch in load_images(dataset, (height, width)):
            pixels[done : done + len(batch.pixels)] = batch.pixels
            done += len(batch.pixels)
            readable.append(batch.indices)
            unreadable += [Unreadable(index, reason) for index, reason in batch.unreadable]
            bar.advance(len(batch.indices) + len(batch.unreadable))
    if done == 0:
        first = f" (first: {dataset.key(unreadable[0].index)}: {unreadable[0].reason})" if unreadable else ""
        raise InputError(f"{dataset.path}: none of the {len(dataset)} records can be read as an image{first}")
    return Canvas(pixels[:done], np.concatenate(readable), tuple(unreadable), native)


def canvas_size(n: int, native: tuple[int, int] | None) -> tuple[int, int]:
    """Native size where it fits the budget, else native divided by the smallest whole number that does.

    No side exceeds `MAX_SIDE`: very long images (scrolls, spectra) are squeezed, or a few would take all memory.
    """
    height, width = native or (DEFAULT_SIDE, DEFAULT_SIDE)
    factor = 1
    while (
        max(height, width) // factor > MAX_SIDE or n * (height // factor) * (width // factor) > MAX_PIXELS
    ) and min(height, width) // (factor + 1) >= _MIN_SIDE:
        factor += 1
    return min(max(height // factor, 1), MAX_SIDE), min(max(width // factor, 1), MAX_SIDE)
