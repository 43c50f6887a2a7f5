"""Small datasets on disk, and small networks with a gradient."""

from __future__ import annotations

import csv
import gzip
import io
import json
import struct
import tarfile
from collections.abc import Callable
from functools import cached_property
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
    options = {"JPEG": {"quality": 90}, "WEBP": {"lossless": True}}.get(kind, {})
    Image.fromarray(pixels).save(out, kind, **options)
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


def npz_of_colour(folder: Path) -> bezoar.data.Dataset:
    np.savez(folder / "data.npz", x_train=images(), y_train=labels())
    return bezoar.data.open(folder / "data.npz")


def webdataset_of_webp(folder: Path) -> bezoar.data.Dataset:
    with tarfile.open(folder / "data.tar", "w") as archive:
        for number, (image, label) in enumerate(zip(images(), labels().tolist(), strict=True)):
            for suffix, content in (("webp", file_of(image, "WEBP")), ("cls", str(label).encode())):
                entry = tarfile.TarInfo(f"{number:04}.{suffix}")
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
    return bezoar.data.open(folder / "data.tar")


def texts() -> list[str]:
    """CLASSES x EACH texts of 3 to 12 words, with quotes, commas, line breaks and accents; none twice."""
    rng = np.random.default_rng(11)
    words = ["plain", "naïve", '"so"', "one, two", "Straße", "\n", "end.", "日本", "fish", "it's"]
    some = [" ".join(rng.choice(words, rng.integers(3, 13))) for _ in range(CLASSES * EACH)]
    return [f"{text} {number}" for number, text in enumerate(some)]


def text_parquet(folder: Path) -> bezoar.data.Dataset:
    pq.write_table(pa.table({"text": texts(), "label": labels()}), folder / "data.parquet")
    return bezoar.data.open(folder / "data.parquet")


def text_jsonl(folder: Path) -> bezoar.data.Dataset:
    rows = zip(texts(), labels().tolist(), strict=True)
    lines = [json.dumps({"text": text, "label": f"class{label}"}) + "\n" for text, label in rows]
    (folder / "data.jsonl").write_text("".join(lines))
    return bezoar.data.open(folder / "data.jsonl")


def text_csv(folder: Path) -> bezoar.data.Dataset:
    with (folder / "data.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(
            [("label", "text"), *zip((f"class{label}" for label in labels()), texts(), strict=True)]
        )
    return bezoar.data.open(folder / "data.csv")


IMAGES: dict[str, Callable[[Path], bezoar.data.Dataset]] = {
    "parquet of png": parquet_of_png,
    "folder of jpeg": folder_of_jpeg,
    "idx of grey": idx_of_grey,
    "npz": npz_of_colour,
    "webdataset of webp": webdataset_of_webp,
}
TEXTS: dict[str, Callable[[Path], bezoar.data.Dataset]] = {
    "parquet of texts": text_parquet,
    "jsonl": text_jsonl,
    "csv": text_csv,
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


class ToySurrogate:
    """A random classifier with a gradient."""

    name = "toy classifier"
    size = 16
    digest = "1" * 64

    @cached_property
    def module(self) -> Any:
        import torch

        with torch.random.fork_rng():
            torch.manual_seed(5)
            return torch.nn.Sequential(
                torch.nn.Conv2d(3, 8, 5, stride=2),
                torch.nn.Tanh(),
                torch.nn.AvgPool2d(3),
                torch.nn.Flatten(),
                torch.nn.Linear(32, CLASSES),
            ).eval()

    @property
    def features(self) -> Any:
        return self.module[:-1]
