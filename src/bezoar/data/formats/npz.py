"""NumPy `.npz` archives: an array of images, uint8 (N, H, W[, C]), and one of labels (N,) or (N, 1).

Headers are read before anything is allocated, and pickled (object) arrays are refused. Stored members are
memory-mapped, compressed ones are decompressed into memory under a cap.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
from numpy.lib import format as npy
from numpy.typing import NDArray

from bezoar.data.dataset import Dataset
from bezoar.data.formats.base import OpenOptions
from bezoar.data.formats.idx import MAX_DECOMPRESSED, array_dataset, stored_labels
from bezoar.data.formats.labels import read_labels
from bezoar.data.formats.paths import row_keys
from bezoar.errors import InputError, LimitError, OutputError
from bezoar.files import atomic_file

_PAIRS = (("images", "labels"), ("x_train", "y_train"), ("train_images", "train_labels"))
_LOCAL_HEADER = 30  # bytes of a zip local file header before its name and extra field


@dataclass(frozen=True)
class _Header:
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool
    size: int  # bytes of the header itself

    @property
    def bytes(self) -> int:
        """Bytes of the array's data."""
        count = 1
        for n in self.shape:
            count *= int(n)  # Python integers do not overflow
        return count * self.dtype.itemsize


class NpzFormat:
    """`images` and `labels`, or `x_train` and `y_train`, in one `.npz`."""

    name = "npz"

    def open(self, path: Path, options: OpenOptions) -> Dataset:
        """Labels are read; images are memory-mapped or, when compressed, decompressed."""
        with _archive(path) as archive:
            names = [
                i.filename.removesuffix(".npy") for i in archive.infolist() if i.filename.endswith(".npy")
            ]
            content, label = _choose(path, names, options)
            images = _read(path, archive, content)
            values = _read(path, archive, label)
        images = _as_images(path, content, images)
        values = values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values
        if values.ndim != 1 or values.dtype.kind not in "iubU":
            raise InputError(
                f"{path}: {label!r} must hold one class per image, not {values.dtype} {values.shape}"
            )
        if len(values) != len(images):
            raise InputError(
                f"{path}: {len(images)} images in {content!r} but {len(values)} labels in {label!r}"
            )
        labels = read_labels(pa.array(values.tolist()), None, f"{path}: {label!r}")
        layout = {
            "images": content,
            "labels": label,
            "dtype": values.dtype,
            "compressed": _is_compressed(path, content),
        }
        return array_dataset(path, self.name, images, labels, layout)

    def write(self, dataset: Dataset, path: Path) -> list[str]:
        """One archive with the same array names; other arrays of the input are copied."""
        if dataset.raw_shape is None:
            raise OutputError(f"{path}: npz holds raw images of one size; write as {dataset.format} instead")
        layout = dataset.layout
        images, label = layout.get("images", "images"), layout.get("labels", "labels")
        values = stored_labels(dataset, path, layout.get("dtype", np.dtype(np.int64)))
        height, width, channels = dataset.raw_shape
        shape = (len(dataset), height, width) if channels == 1 else (len(dataset), height, width, channels)
        kind = zipfile.ZIP_DEFLATED if layout.get("compressed") else zipfile.ZIP_STORED
        with atomic_file(path) as out, zipfile.ZipFile(out, "w", kind) as archive:
            with _member(archive, images) as stream:
                npy.write_array_header_1_0(stream, {"descr": "|u1", "fortran_order": False, "shape": shape})
                for content in dataset.contents():
                    stream.write(content)
            with _member(archive, label) as stream:
                npy.write_array(stream, values, allow_pickle=False)
            if dataset.format == self.name:
                _copy_others(dataset.path, archive, {images, label})
        return row_keys("", range(len(dataset)))


NPZ = NpzFormat()


@contextmanager
def _archive(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise InputError(
            f"{path}: is not a readable .npz file, it is truncated or corrupt ({error})"
        ) from error


def _choose(path: Path, names: list[str], options: OpenOptions) -> tuple[str, str]:
    images, labels = next((p for p in _PAIRS if p[0] in names and p[1] in names), (None, None))
    content, label = options.content_column or images, options.label_column or labels
    known = ", ".join(names) or "none"
    if content is None or label is None:
        raise InputError(f"{path}: no arrays {' or '.join('/'.join(p) for p in _PAIRS)}; arrays: {known}")
    for name in (content, label):
        if name not in names:
            raise InputError(f"{path}: no array {name!r}; arrays: {known}")
    return content, label


def _read(path: Path, archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    info = archive.getinfo(f"{name}.npy")
    with archive.open(info) as stream:
        header = _header(path, name, stream)
        if header.size + header.bytes != info.file_size:
            raise InputError(f"{path}: array {name!r} is truncated; its header promises {header.bytes} bytes")
        if info.compress_type == zipfile.ZIP_STORED and header.bytes:
            return _mapped(path, info, header)
        if header.bytes > MAX_DECOMPRESSED:
            raise LimitError(
                f"{path}: array {name!r} of {header.bytes} bytes exceeds the limit of {MAX_DECOMPRESSED}"
            )
        data = stream.read(header.bytes)
    if len(data) != header.bytes:
        raise InputError(f"{path}: array {name!r} is truncated; its header promises {header.bytes} bytes")
    order = "F" if header.fortran else "C"
    return np.frombuffer(data, header.dtype).reshape(header.shape, order=order)  # type: ignore[call-overload,no-any-return]


def _header(path: Path, name: str, stream: IO[bytes]) -> _Header:
    try:
        version = npy.read_magic(stream)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = read(stream)
    except (ValueError, EOFError) as error:
        text = " ".join(str(error).split())[:120]
        raise InputError(f"{path}: array {name!r} has a malformed header ({text})") from error
    if dtype.hasobject:
        raise InputError(
            f"{path}: array {name!r} holds pickled objects, which could run code; Bezoar never loads them"
        )
    if any(n < 0 for n in shape):
        raise InputError(f"{path}: array {name!r} has a malformed header (negative size)")
    return _Header(shape, dtype, fortran, stream.tell())


def _mapped(path: Path, info: zipfile.ZipInfo, header: _Header) -> NDArray[Any]:
    """The member's data where it lies in the file."""
    with path.open("rb") as file:
        file.seek(info.header_offset)
        local = file.read(_LOCAL_HEADER)
    names = int.from_bytes(local[26:28], "little") + int.from_bytes(local[28:30], "little")
    offset = info.header_offset + _LOCAL_HEADER + names + header.size
    if offset + header.bytes > path.stat().st_size:
        raise InputError(f"{path}: is truncated")
    return np.memmap(path, header.dtype, "r", offset, header.shape, "F" if header.fortran else "C")


def _as_images(path: Path, name: str, images: NDArray[Any]) -> NDArray[np.uint8]:
    if (
        images.dtype != np.uint8
        or images.ndim not in (3, 4)
        or (images.ndim == 4 and images.shape[3] not in (1, 3, 4))
    ):
        raise InputError(
            f"{path}: {name!r} must be uint8 of shape (N, H, W[, C]), not {images.dtype} {images.shape}"
        )
    if images.size == 0:
        raise InputError(f"{path}: holds no records")
    return images


def _is_compressed(path: Path, name: str) -> bool:
    with _archive(path) as archive:
        return archive.getinfo(f"{name}.npy").compress_type != zipfile.ZIP_STORED


@contextmanager
def _member(archive: zipfile.ZipFile, name: str) -> Iterator[IO[bytes]]:
    with archive.open(_info(f"{name}.npy", archive), "w", force_zip64=True) as stream:
        yield stream


def _info(name: str, archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    """A member with a fixed date, so that equal datasets make equal files."""
    info = zipfile.ZipInfo(name)
    info.compress_type = archive.compression
    return info


def _copy_others(path: Path, archive: zipfile.ZipFile, written: set[str]) -> None:
    with _archive(path) as old:
        for info in old.infolist():
            if info.filename.removesuffix(".npy") not in written and not info.is_dir():
                with (
                    old.open(info) as source,
                    archive.open(_info(info.filename, archive), "w", force_zip64=True) as out,
                ):
                    while block := source.read(io.DEFAULT_BUFFER_SIZE * 16):
                        out.write(block)
