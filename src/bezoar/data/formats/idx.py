"""IDX pairs, the format of MNIST (http://yann.lecun.com/exdb/mnist/): an images file and a labels file, `.gz`
or not.

A folder holds one pair, or several; of several the `train` pair is opened, and another is opened by the path
of its images file, e.g. `mnist/t10k-images-idx3-ubyte.gz`. Plain files are memory-mapped, compressed ones are
decompressed into memory under a cap.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bezoar.data.dataset import Dataset
from bezoar.data.formats.base import OpenOptions
from bezoar.data.formats.labels import Labels, read_labels
from bezoar.data.formats.paths import row_keys
from bezoar.data.formats.signs import idx_images, idx_labels
from bezoar.errors import InputError, LimitError, OutputError
from bezoar.files import atomic_directory

MAX_DECOMPRESSED = 4 * 2**30
_UBYTE = 0x08


@dataclass(frozen=True)
class ArrayReader:
    """The `Reader` of an array of shape (N, ...) in memory or memory-mapped."""

    images: NDArray[np.uint8]

    def read(self, rows: NDArray[np.int64]) -> Iterator[bytes]:
        """Raw pixels of `rows`, row-major."""
        for row in rows.tolist():
            yield self.images[row].tobytes()


class IdxFormat:
    """`train-images-idx3-ubyte[.gz]` beside `train-labels-idx1-ubyte[.gz]`."""

    name = "idx"

    def open(self, path: Path, options: OpenOptions) -> Dataset:
        """Labels are read, images memory-mapped (decompressed when they are `.gz`)."""
        if options.label_column is not None:
            raise InputError(f"{path}: no label column {options.label_column!r}: IDX files have no columns")
        found = idx_images(path)
        images_file = next((f for f in found if f.name.startswith("train")), found[0])
        labels_file = idx_labels(images_file)
        images, values = _read(images_file, (3, 4)), _read(labels_file, (1,))
        if len(images) != len(values):
            raise InputError(
                f"{path}: {len(images)} images but {len(values)} labels; the files do not belong together"
            )
        if images.size == 0:
            raise InputError(f"{images_file}: holds no records")
        labels = read_labels(pa.array(np.asarray(values)), None, labels_file)
        return array_dataset(path, self.name, images, labels, {"files": (images_file.name, labels_file.name)})

    def write(self, dataset: Dataset, path: Path) -> list[str]:
        """A folder with the pair, named and compressed as the input was."""
        if dataset.raw_shape is None:
            raise OutputError(f"{path}: IDX holds raw images of one size; write as {dataset.format} instead")
        values = stored_labels(dataset, path, np.dtype(np.uint8))
        images, labels = dataset.layout.get("files", ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"))
        height, width, channels = dataset.raw_shape
        shape = (len(dataset), height, width) if channels == 1 else (len(dataset), height, width, channels)
        with atomic_directory(path) as folder:
            with _created(folder / images) as out:
                out.write(_header(shape))
                for content in dataset.contents():
                    out.write(content)
            with _created(folder / labels) as out:
                out.write(_header((len(dataset),)) + values.tobytes())
        return row_keys("", range(len(dataset)))


IDX = IdxFormat()


def array_dataset(
    path: Path, name: str, images: NDArray[np.uint8], labels: Labels, layout: dict[str, object]
) -> Dataset:
    """A dataset over raw images of shape (N, H, W) or (N, H, W, C)."""
    _, height, width, channels = images.shape if images.ndim == 4 else (*images.shape, 1)
    return Dataset(
        path=path,
        format=name,
        modality="image",
        keys=pa.array(row_keys("", range(len(images))), pa.string()),
        labels=labels.indices,
        label_names=labels.names,
        columns=pa.table({}),
        reader=ArrayReader(images),
        rows=np.arange(len(images), dtype=np.int64),
        raw_shape=(height, width, channels),
        layout={"values": labels.values, **layout},
    )


def stored_labels(dataset: Dataset, path: Path, dtype: np.dtype[np.generic]) -> NDArray[np.generic]:
    """The values in an array of `dtype` that stand for the labels; OutputError where that is impossible."""
    if (dataset.labels < 0).any():
        raise OutputError(
            f"{path}: {dataset.format} arrays cannot hold records without a label; select others"
        )
    values = np.asarray(dataset.layout["values"])
    stored = values.astype(dtype)
    if values.size and not np.array_equal(stored.astype(values.dtype), values):
        raise OutputError(f"{path}: the labels do not fit into {dtype}")
    return stored[dataset.labels]


def _read(file: Path, dimensions: tuple[int, ...]) -> NDArray[np.uint8]:
    """The array of an IDX file: magic (0, 0, type, dimensions), big-endian sizes, then the bytes."""
    with _opened(file) as stream:
        magic = stream.read(4)
        if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] != _UBYTE or magic[3] not in dimensions:
            raise InputError(
                f"{file}: is not an IDX file of unsigned bytes with {dimensions[0]} dimension(s)"
            )
        sizes = stream.read(4 * magic[3])
        if len(sizes) < 4 * magic[3]:
            raise InputError(f"{file}: is truncated in its header")
        shape = struct.unpack(f">{magic[3]}I", sizes)
        if magic[3] == 4 and shape[3] not in (1, 3, 4):
            raise InputError(f"{file}: images of {shape[3]} channels; expected 1, 3 or 4")
        total = int(np.prod([int(n) for n in shape], dtype=object))
        if not file.name.endswith(".gz"):
            if file.stat().st_size != 4 + len(sizes) + total:
                raise InputError(
                    f"{file}: is truncated or has trailing bytes; its header promises {total} bytes"
                )
            return (
                np.memmap(file, np.uint8, "r", 4 + len(sizes), shape) if total else np.zeros(shape, np.uint8)
            )
        if total > MAX_DECOMPRESSED:
            raise LimitError(
                f"{file}: {total} bytes exceed the limit of {MAX_DECOMPRESSED}; decompress the file first"
            )
        data = stream.read(total + 1)
    if len(data) != total:
        raise InputError(f"{file}: is truncated or has trailing bytes; its header promises {total} bytes")
    return np.frombuffer(data, np.uint8).reshape(shape)


@contextmanager
def _opened(file: Path) -> Iterator[BinaryIO]:
    """The (decompressed) stream of a file; a broken gzip stream is an InputError."""
    try:
        with file.open("rb") as raw:
            yield cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if file.name.endswith(".gz") else raw
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"{file}: is a truncated or corrupt gzip file ({error})") from error


@contextmanager
def _created(file: Path) -> Iterator[BinaryIO]:
    with file.open("xb") as raw:
        if file.name.endswith(".gz"):
            with gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as compressed:
                yield cast(BinaryIO, compressed)
        else:
            yield raw


def _header(shape: tuple[int, ...]) -> bytes:
    return bytes((0, 0, _UBYTE, len(shape))) + struct.pack(f">{len(shape)}I", *shape)
