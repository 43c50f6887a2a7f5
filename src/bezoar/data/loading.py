"""Streaming a dataset's images as batches of pixels of one size."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bezoar.data.dataset import Dataset
from bezoar.data.images import RawShape, header_size, open_rgb
from bezoar.errors import InputError, UsageError

Size = tuple[int, int]  # (height, width)


@dataclass(frozen=True, slots=True)
class Batch:
    """Some records' pixels: `pixels` uint8 (B, H, W, 3) of the records at `indices` int64 (B,), and the
    records that could not be decoded, each with the reason.
    """

    indices: NDArray[np.int64]
    pixels: NDArray[np.uint8]
    unreadable: list[tuple[int, str]]


def load_images(dataset: Dataset, size: int | Size | None, batch: int = 512) -> Iterator[Batch]:
    """All images in order, `batch` records at a time; every record is in a batch, as pixels or as unreadable.

    `size` is (height, width), or one number for both; images of another size are resized (box filter when
    shrinking, bilinear when growing). With None the images must have one size; InputError when they do not.
    """
    if dataset.modality != "image":
        raise UsageError(f"{dataset.path}: holds {dataset.modality}, not images")
    target = (size, size) if isinstance(size, int) else size
    with ThreadPoolExecutor(max_workers=_THREADS) as pool:
        for start in range(0, len(dataset), batch):
            indices = np.arange(start, min(start + batch, len(dataset)))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Pillow's, on broken metadata
                load = partial(_load, raw_shape=dataset.raw_shape, size=target)
                images = list(pool.map(load, dataset.contents(indices), chunksize=1))
            if target is None:
                target = next((image.shape[:2] for image in images if not isinstance(image, str)), None)
            yield _batch(dataset, indices, images, target)


_THREADS = 2


def image_sizes(dataset: Dataset, limit: int = 256) -> Size | None:
    """The (height, width) that the images share, by the headers of `limit` records; else None."""
    if dataset.raw_shape is not None:
        return dataset.raw_shape[:2]
    sample = np.unique(np.linspace(0, len(dataset) - 1, min(limit, len(dataset))).astype(np.int64))
    sizes = set()
    for content in dataset.contents(sample):
        try:
            sizes.add(header_size(content))
        except InputError:
            continue
    return sizes.pop() if len(sizes) == 1 else None


def _load(content: bytes, raw_shape: RawShape | None, size: Size | None) -> NDArray[np.uint8] | str:
    """Pixels, or why there are none."""
    try:
        image = open_rgb(content, raw_shape)
    except InputError as error:
        return str(error)
    if size is not None and (image.height, image.width) != size:
        shrinking = image.height >= size[0] and image.width >= size[1]
        image = image.resize(
            (size[1], size[0]), Image.Resampling.BOX if shrinking else Image.Resampling.BILINEAR
        )
    return np.asarray(image)


def _batch(
    dataset: Dataset, indices: NDArray[np.int64], images: list[NDArray[np.uint8] | str], size: Size | None
) -> Batch:
    readable = [i for i, image in enumerate(images) if not isinstance(image, str)]
    unreadable = [(int(indices[i]), image) for i, image in enumerate(images) if isinstance(image, str)]
    height, width = size or (1, 1)
    pixels = np.empty((len(readable), height, width, 3), np.uint8)
    for place, i in enumerate(readable):
        image = images[i]
        if image.shape[:2] != (height, width):  # type: ignore[union-attr]
            raise InputError(
                f"{dataset.path}: the images differ in size ({dataset.key(int(indices[i]))}); give a size"
            )
        pixels[place] = image
    return Batch(indices[readable], pixels, unreadable)
