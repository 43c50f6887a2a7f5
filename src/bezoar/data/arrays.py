"""Datasets from arrays in memory, to be written in any format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bezoar.data.dataset import Dataset
from bezoar.data.formats.idx import array_dataset
from bezoar.data.formats.labels import Labels
from bezoar.errors import UsageError


def from_arrays(images: NDArray[np.uint8], labels: ArrayLike, names: tuple[str, ...]) -> Dataset:
    """A dataset over uint8 images (N, H, W) or (N, H, W, C) with labels (N,), indices into `names`."""
    indices = np.asarray(labels, dtype=np.int32)
    if len(indices) != len(images) or (len(indices) and not 0 <= indices.min() <= indices.max() < len(names)):
        raise UsageError(f"{len(images)} images need as many labels, each in 0 to {len(names) - 1}")
    return array_dataset(Path("arrays"), "npz", images, Labels(indices, names, tuple(range(len(names)))), {})
