"""Images averaged down to a few pixels, each of which is the mean of an area."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_BLOCK = 64  # images that are held in floats: they stay in the processor's cache


def area_means(images: NDArray[np.uint8], height: int, width: int) -> NDArray[np.float32]:
    """Images (N, H, W, C) as (N, height, width, C), no larger than they are; areas differ by a pixel where sides do not divide.

    The sums are exact below 2**24, so up to areas of 256 x 256 pixels.
    """
    n, full_height, full_width, channels = images.shape
    down, across = _areas(full_height, height), _areas(full_width, width)
    means = np.empty((n, height, width, channels), dtype=np.float32)
    for start in range(0, n, _BLOCK):
        block = images[start : start + _BLOCK].astype(np.float32)
        rows = (down @ block.reshape(-1, full_height, full_width * channels)).reshape(
            -1, full_width, channels
        )
        means[start : start + _BLOCK] = (across @ rows).reshape(-1, height, width, channels)
    means /= np.outer(down.sum(axis=1), across.sum(axis=1))[:, :, None]
    return means


def _areas(length: int, parts: int) -> NDArray[np.float32]:
    """Which of `length` pixels belong to each of `parts`, (parts, length), 0 or 1."""
    edges = np.linspace(0, length, parts + 1).astype(int)
    return np.repeat(np.eye(parts, dtype=np.float32), np.diff(edges), axis=1)
