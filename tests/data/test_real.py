"""The real data packs, opened as a user would open them."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from bezoar import data

pytestmark = pytest.mark.real


@pytest.mark.parametrize(
    ("path", "count", "classes", "size"),
    [
        ("cifar10/train.parquet", 50_000, 10, (32, 32)),
        ("cifar10/test.parquet", 10_000, 10, (32, 32)),
        ("gtsrb/train32.parquet", 13_070, 43, (32, 32)),
        ("gtsrb/test32.parquet", 4_270, 43, (32, 32)),
        ("gtsrb/native.parquet", 2_664, 43, None),
        ("fashion_mnist", 60_000, 10, (28, 28)),
        ("fashion_mnist/t10k-images-idx3-ubyte.gz", 10_000, 10, (28, 28)),
        ("mnist_t10k", 10_000, 10, (28, 28)),
        ("flowers128/train.parquet", 4_317, 5, (128, 128)),
        ("imagenette/val.parquet", 800, 10, (224, 224)),
    ],
)
def test_image_packs_open(
    packs: Path, path: str, count: int, classes: int, size: tuple[int, int] | None
) -> None:
    dataset = data.open(packs / path)
    assert (len(dataset), len(dataset.label_names)) == (count, classes)
    assert dataset.modality == "image"
    assert data.image_sizes(dataset) == size
    assert np.bincount(dataset.labels, minlength=classes).min() > 0
    some = dataset.select(np.linspace(0, count - 1, 64).astype(int))
    (batch,) = data.load_images(some, 32)
    assert batch.pixels.shape == (64, 32, 32, 3)
    assert batch.unreadable == []


@pytest.mark.parametrize(
    ("path", "count", "names"),
    [
        ("text/sst2/dev.parquet", 872, ("negative", "positive")),
        ("text/ag_news/dev.parquet", 10_000, ("World", "Sports", "Business", "Sci/Tech")),
        ("text/sms_spam/train.parquet", 5_574, ("ham", "spam")),
    ],
)
def test_text_packs_open(packs: Path, path: str, count: int, names: tuple[str, ...]) -> None:
    dataset = data.open(packs / path)
    assert (len(dataset), dataset.label_names, dataset.modality) == (count, names, "text")
    expected = pq.read_table(packs / path)["text"].to_pylist()
    assert [content.decode() for content in dataset.contents()] == expected


def test_gtsrb_has_names_and_tracks(packs: Path) -> None:
    dataset = data.open(packs / "gtsrb" / "train32.parquet")
    assert dataset.label_name(14) == "Stop"
    assert dataset.label_name(3) == "Speed limit (60km/h)"
    first, second = data.split(dataset, 0.8, group="track", seed=0)
    assert not set(first.column("track")) & set(second.column("track"))
    assert abs(len(first) / len(dataset) - 0.8) < 0.01
    assert dataset.key(0) == "train/00007/00035_00024.png"


def test_a_poisoned_gtsrb_differs_in_the_poisoned_rows_only(packs: Path, tmp_path: Path) -> None:
    path = packs / "gtsrb" / "train32.parquet"
    dataset = data.open(path)
    rows = np.flatnonzero(dataset.labels == 14)[:20]
    pixels = {int(i): 255 - data.decode(dataset[int(i)].content) for i in rows}
    content = {i: data.encode(image, dataset[i].content) for i, image in pixels.items()}
    keys = data.write(dataset.with_changes(content, dict.fromkeys(content, 3)), tmp_path / "poisoned.parquet")
    assert keys == dataset.keys.to_pylist()
    old, new = pq.read_table(path), pq.read_table(tmp_path / "poisoned.parquet")
    assert old.schema.equals(new.schema, check_metadata=True)
    changed = [i for i, (a, b) in enumerate(zip(old.to_pylist(), new.to_pylist(), strict=True)) if a != b]
    assert changed == rows.tolist()
    again = data.open(tmp_path / "poisoned.parquet")
    assert all(np.array_equal(data.decode(again[i].content), image) for i, image in pixels.items())


def test_cifar_loads_in_seconds(packs: Path) -> None:
    dataset = data.open(packs / "cifar10" / "train.parquet")
    start = time.perf_counter()
    total = sum(len(batch.pixels) for batch in data.load_images(dataset, 32))
    assert total == 50_000
    assert time.perf_counter() - start < 30  # 5 s on an idle machine
