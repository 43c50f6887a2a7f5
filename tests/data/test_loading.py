"""Batches of pixels: every record once, as pixels or as unreadable."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bezoar import data
from bezoar.errors import InputError, UsageError

from .builders import CASES, COUNT, encoded, pixels


def _folder(root: Path, files: dict[str, bytes]) -> data.Dataset:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return data.open(root)


def test_batches_hold_every_record_in_order(tmp_path: Path) -> None:
    dataset = data.open(CASES["parquet"].build(tmp_path))
    batches = list(data.load_images(dataset, None, batch=5))
    assert [len(b.indices) for b in batches] == [5, 5, 2]
    assert np.concatenate([b.indices for b in batches]).tolist() == list(range(COUNT))
    assert all(
        np.array_equal(np.concatenate([b.pixels for b in batches])[i], pixels(i)) for i in range(COUNT)
    )


def test_unreadable_records_are_reported_with_a_reason(tmp_path: Path) -> None:
    good = encoded(pixels(0))
    dataset = _folder(
        tmp_path, {"a/1.png": good, "a/2.png": b"", "a/3.png": good[:60], "b/4.png": good, "b/5.jpg": b"junk"}
    )
    (batch,) = data.load_images(dataset, 8)
    assert batch.indices.tolist() == [0, 3]
    assert batch.pixels.shape == (2, 8, 8, 3)
    assert [index for index, _ in batch.unreadable] == [1, 2, 4]
    assert all(reason and "\n" not in reason for _, reason in batch.unreadable)


def test_a_batch_without_any_readable_image(tmp_path: Path) -> None:
    dataset = _folder(tmp_path, {"a/1.png": b"", "b/2.png": encoded(pixels(0))})
    for size in (4, None):
        first, second = data.load_images(dataset, size, batch=1)
        assert first.pixels.shape[0] == 0
        assert len(first.unreadable) == 1
        assert second.pixels.shape[0] == 1


def test_shrinking_averages_areas(tmp_path: Path) -> None:
    board = np.indices((16, 16)).sum(axis=0) % 2 * 255
    image = np.repeat(board[..., None], 3, axis=2).astype(np.uint8)
    dataset = _folder(tmp_path, {"a/1.png": encoded(image)})
    (batch,) = data.load_images(dataset, 8)
    assert np.abs(batch.pixels.astype(int) - 127).max() <= 1


def test_images_of_the_right_size_are_untouched_and_others_are_resized(tmp_path: Path) -> None:
    dataset = _folder(tmp_path, {"a/1.png": encoded(pixels(1, 6, 9)), "a/2.png": encoded(pixels(2, 3, 20))})
    (batch,) = data.load_images(dataset, (6, 9))
    assert np.array_equal(batch.pixels[0], pixels(1, 6, 9))
    expected = Image.fromarray(pixels(2, 3, 20)).resize((9, 6), Image.Resampling.BILINEAR)
    assert np.array_equal(batch.pixels[1], np.asarray(expected))


def test_without_a_size_the_images_must_agree(tmp_path: Path) -> None:
    dataset = _folder(tmp_path, {"a/1.png": encoded(pixels(1, 6, 9)), "a/2.png": encoded(pixels(2, 3, 20))})
    with pytest.raises(InputError, match=r"differ in size \(a/2.png\)"):
        list(data.load_images(dataset, None))


def test_the_common_size(tmp_path: Path) -> None:
    good = encoded(pixels(1, 6, 9))
    dataset = _folder(tmp_path / "one", {"a/1.png": good, "a/2.png": good, "a/3.png": b"junk"})
    assert data.image_sizes(dataset) == (6, 9)
    mixed = _folder(tmp_path / "two", {"a/1.png": good, "a/2.png": encoded(pixels(1, 9, 6))})
    assert data.image_sizes(mixed) is None
    (tmp_path / "three").mkdir()
    assert data.image_sizes(data.open(CASES["idx"].build(tmp_path / "three"))) == (8, 8)


def test_text_has_no_pixels(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not images"):
        next(data.load_images(data.open(CASES["csv"].build(tmp_path)), 8))
