"""Small datasets on disk, and a small encoder with a gradient."""

from __future__ import annotations

import gzip
import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

import bezoar.data

CLASSES, EACH, SIDE = 4, 20, 24


def images() -> NDArray[np.uint8]:
    """CLASSES x EACH smooth pictures (n, SIDE, SIDE, 3); each class has its own colour."""
    rng = np.random.default_rng(7)
    coarse = rng.integers(30, 220, (CLASSES * EACH, 4, 4, 3)).astype(np.uint8)
    tint = rng.integers(40, 200, (CLASSES, 3)).repeat(EACH, axis=0)
    full = [np.asarray(Image.fromarray(c).resize((SIDE, SIDE), Image.Resampling.BICUBIC)) for c in coarse]
    return ((np.stack(full).astype(int) + tint[:, None, None, :]) // 2).astype(np.uint8)


def labels() -> NDArray[np.int64]:
    return np.repeat(np.arange(CLASSES), EACH)


def file_of(pixels: NDArray[np.uint8], kind: str) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind, **({"quality": 90} if kind == "JPEG" else {}))
    return out.getvalue()


def parquet_of_png(folder: Path) -> bezoar.data.Dataset:
    rows = [{"bytes": file_of(image, "PNG"), "path": None} for image in images()]
    table = pa.table({"image": rows, "label": labels(), "track": np.arange(len(rows)) // 3})
    pq.write_table(table, folder / "data.parquet")
    return bezoar.data.open(folder / "data.parquet")


def folder_of_jpeg(folder: Path) -> bezoar.data.Dataset:
    for number, (image, label) in enumerate(zip(images(), labels(), strict=True)):
        path = folder / "data" / f"class{label}" / f"{number:03}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file_of(image, "JPEG"))
    return bezoar.data.open(folder / "data")


def idx_of_grey(folder: Path) -> bezoar.data.Dataset:
    grey = images().mean(axis=3).astype(np.uint8)
    (folder / "data").mkdir()
    head = struct.pack(">IIII", 0x0803, len(grey), SIDE, SIDE)
    (folder / "data" / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(head + grey.tobytes()))
    tail = struct.pack(">II", 0x0801, len(grey)) + labels().astype(np.uint8).tobytes()
    (folder / "data" / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(tail))
    return bezoar.data.open(folder / "data")


DATASETS: dict[str, Callable[[Path], bezoar.data.Dataset]] = {
    "parquet of png": parquet_of_png,
    "folder of jpeg": folder_of_jpeg,
    "idx of grey": idx_of_grey,
}


class ToyEncoder:
    """A random convolutional network: differentiable, and enough to collide in."""

    name = "toy"
    size = 16
    digest = "0" * 64

    def torch_module(self) -> Any:
        import torch

        with torch.random.fork_rng():
            torch.manual_seed(3)
            return torch.nn.Sequential(
                torch.nn.Conv2d(3, 8, 5, stride=2), torch.nn.Tanh(), torch.nn.AvgPool2d(3), torch.nn.Flatten()
            )
