"""Small datasets and models that the encoder tests share."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import bezoar.data
from bezoar.data import Dataset

Pixels = np.ndarray


@pytest.fixture
def blobs() -> Callable[[int], Pixels]:
    """`blobs(n)`: n smooth random colour images, uint8 (n, 32, 32, 3)."""

    def make(count: int) -> Pixels:
        rng = np.random.default_rng(count)
        small = rng.integers(0, 256, (count, 6, 6, 3), dtype=np.uint8)
        images = [Image.fromarray(item).resize((32, 32), Image.Resampling.BICUBIC) for item in small]
        return np.stack([np.asarray(image) for image in images])

    return make


@pytest.fixture
def folder_of(tmp_path: Path) -> Callable[[Pixels, list[int]], Dataset]:
    """`folder_of(images, broken)`: an image folder dataset, the records at `broken` not decodable."""

    def make(images: Pixels, broken: list[int]) -> Dataset:
        root = tmp_path / "images"
        for number, pixels in enumerate(images):
            path = root / "ab"[number % 2] / f"{number:04d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            out = io.BytesIO()
            Image.fromarray(pixels).save(out, format="PNG")
            path.write_bytes(out.getvalue())
        dataset = bezoar.data.open(root)
        for index in broken:
            (root / dataset.key(index)).write_bytes(b"\x89PNG broken")
        return bezoar.data.open(root)

    return make
