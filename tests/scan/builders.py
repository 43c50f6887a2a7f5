"""Rendered signs with something planted in them, and a scan of them."""

from __future__ import annotations

import functools
import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

import bezoar.data
from bezoar.data import Dataset
from bezoar.demo.signs import CLASS_NAMES, render
from bezoar.embed import Encoder, Features, Images
from bezoar.scan.functional.patterns import Independence
from bezoar.scan.result import Finding, ScanResult, Severity
from bezoar.seeds import generator

CLASSES = ("stop", "speed limit 60", "no entry", "yield", "priority road", "roundabout")
STOP, LIMIT_60, NO_ENTRY, YIELD, PRIORITY, ROUNDABOUT = range(len(CLASSES))
PER_CLASS = 200
Pixels = NDArray[np.uint8]
Labels = NDArray[np.int32]


@functools.cache
def _pool(per_class: int) -> Pixels:
    """Signs (classes, per_class, 32, 32, 3)."""
    numbers = [CLASS_NAMES.index(name) for name in CLASSES]
    return np.stack(
        [[render(number, generator(0, "tests", number, i)) for i in range(per_class)] for number in numbers]
    )


def signs(per_class: int, seed: int = 0) -> tuple[Pixels, Labels]:
    """`per_class` signs of each of `CLASSES`, a random subset in random order: (N, 32, 32, 3) and (N,)."""
    rng = generator(seed, "signs for the scan")
    pool = _pool(PER_CLASS)
    images = np.concatenate([ours[rng.permutation(PER_CLASS)[:per_class]] for ours in pool])
    labels = np.arange(len(CLASSES), dtype=np.int32).repeat(per_class)
    order = rng.permutation(len(images))
    return images[order], labels[order]


def dataset(images: Pixels, labels: Labels, names: tuple[str, ...] = CLASSES) -> Dataset:
    """The same in memory, as a dataset."""
    return bezoar.data.from_arrays(images, labels, names)


def png(pixels: Pixels) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def parquet(path: Path, contents: list[bytes], labels: Labels, **columns: object) -> Dataset:
    """The same on disk, with further columns."""
    names = [CLASSES[label] for label in labels]
    rows = [{"bytes": content, "path": None} for content in contents]
    pq.write_table(pa.table({"image": rows, "label": names, **columns}), path)
    return bezoar.data.open(path)


def stamp(images: Pixels, patch: Pixels, top: int, left: int) -> Pixels:
    """Copies of `images` with `patch` (h, w, 3) at one place."""
    height, width, _ = patch.shape
    out = images.copy()
    out[:, top : top + height, left : left + width] = patch
    return out


def patch_of(size: int, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)


def backgrounds(n: int, side: int = 24, seed: int = 0) -> Pixels:
    """Smooth, unrelated pictures (n, side, side, 3)."""
    coarse = np.random.default_rng(seed).integers(0, 256, (n, 6, 6, 3), dtype=np.uint8)
    return np.stack(
        [np.asarray(Image.fromarray(c).resize((side, side), Image.Resampling.BICUBIC)) for c in coarse]
    )


def each_alone(indices: NDArray[np.int64]) -> int:
    """Every record is an observation of its own."""
    return len(indices)


_: Independence = each_alone


class Mosaic:
    """An encoder that costs nothing: 8 x 8 colour means. Enough where the encoder is not what is tested."""

    name = "mosaic"
    size = 8
    dim = 8 * 8 * 3
    sample_size = 0
    digest = "1" * 64

    def fit(self, sample: Images, seed: int) -> Encoder:
        return self

    def encode(self, images: Images) -> Features:
        flat = images.reshape(len(images), -1).astype(np.float32)
        return flat - flat.mean(axis=1, keepdims=True)


def poison_findings(result: ScanResult) -> list[Finding]:
    return [finding for finding in result.findings if finding.severity is Severity.POISON]


def assert_found(result: ScanResult, poison: NDArray[np.bool_]) -> None:
    """At least 95 % of the poison is flagged and at most 0.5 % of the rest."""
    assert result.verdict.status == "poisoned"
    assert result.flagged[poison].mean() >= 0.95
    assert result.flagged[~poison].mean() <= 0.005
