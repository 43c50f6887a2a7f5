"""Streaming a dataset's images as batches of pixels of one size."""

from __future__ import annotations

import os
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bezoar.data.dataset import Dataset
from bezoar.data.images import RawShape, header_size, open_rgb
from bezoar.errors import InputError, UsageError

Size = tuple[int, int]  # (height, width)
Loaded = NDArray[np.uint8] | str  # pixels, or why there are none

_MAX_THREADS = 8  # Pillow decodes outside the interpreter's lock, its parsing of headers does not
_SLAB, _SLAB_BYTES = 64, 4 * 2**20  # images per piece of work, at most


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
    contents = dataset.contents()  # one pass: beginning anew for each batch would re-read row groups
    with ThreadPoolExecutor(min(_MAX_THREADS, os.cpu_count() or 1)) as pool:
        for start in range(0, len(dataset), batch):
            indices = np.arange(start, min(start + batch, len(dataset)))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Pillow's, on broken metadata
                load = partial(_load, raw_shape=dataset.raw_shape, size=target)
                images = list(_in_slabs(pool, load, islice(contents, len(indices))))
            if target is None:
                target = next((image.shape[:2] for image in images if not isinstance(image, str)), None)
            yield _batch(dataset, indices, images, target)


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


def _in_slabs(
    pool: ThreadPoolExecutor, load: Callable[[bytes], Loaded], contents: Iterator[bytes]
) -> Iterator[Loaded]:
    """`load` of each content, in order, some at a time per thread; never many bytes in flight."""
    running: deque[Future[list[Loaded]]] = deque()
    slab: list[bytes] = []
    size = 0
    for content in contents:
        slab.append(content)
        size += len(content)
        if len(slab) == _SLAB or size >= _SLAB_BYTES:
            running.append(pool.submit(_each, load, slab))
            slab, size = [], 0
            if len(running) > _MAX_THREADS:
                yield from running.popleft().result()
    for slab_images in running:
        yield from slab_images.result()
    yield from _each(load, slab)


def _each(load: Callable[[bytes], Loaded], slab: list[bytes]) -> list[Loaded]:
    return [load(content) for content in slab]


def _load(content: bytes, raw_shape: RawShape | None, size: Size | None) -> Loaded:
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


def _batch(dataset: Dataset, indices: NDArray[np.int64], images: list[Loaded], size: Size | None) -> Batch:
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
