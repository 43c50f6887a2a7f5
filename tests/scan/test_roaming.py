from __future__ import annotations

import numpy as np
import pytest

import bezoar
from bezoar.scan.functional.patterns import pixel_table
from bezoar.scan.functional.roaming import SIZE, isolated_patches, nearest_places, repeated
from scan.builders import (
    NO_ENTRY,
    Labels,
    Pixels,
    backgrounds,
    dataset,
    each_alone,
    patch_of,
    signs,
    stamp,
)


def scattered(images: Pixels, rows: np.ndarray, seed: int) -> Pixels:
    """Copies of `images` in which `rows` carry one random patch, each at a place of its own."""
    rng = np.random.default_rng(seed)
    out, patch = images.copy(), patch_of(SIZE, seed)
    for row in rows:
        top, left = rng.integers(1, images.shape[1] - SIZE - 1, 2)
        out[row] = stamp(out[row : row + 1], patch, int(top), int(left))[0]
    return out


def test_a_planted_patch_is_offered_by_its_image_and_grouped() -> None:
    images = scattered(backgrounds(60), np.arange(12), seed=1)
    labels = np.repeat(np.array([0, 1], dtype=np.int32), 30)
    patches = isolated_patches(pixel_table(images))
    groups = repeated(patches, labels, each_alone)
    largest = max(groups, key=lambda group: group.independent)
    np.testing.assert_array_equal(np.sort(patches.record[largest.members]), np.arange(12))
    np.testing.assert_array_equal(largest.patch, patch_of(SIZE, 1))
    assert (largest.label, largest.elsewhere) == (0, 0.0)
    top, left = patches.place[largest.members[0]]
    record = patches.record[largest.members[0]]
    np.testing.assert_array_equal(images[record, top : top + SIZE, left : left + SIZE], patch_of(SIZE, 1))


def test_every_place_is_looked_at_for_a_known_patch() -> None:
    images = backgrounds(8)
    patch = patch_of(SIZE, 2)
    side = images.shape[1]
    for row, (top, left) in enumerate([(0, 0), (side - SIZE, side - SIZE), (0, 5), (9, 11)]):
        images[row] = stamp(images[row : row + 1], patch, top, left)[0]
    distance, places = nearest_places(pixel_table(images), patch.astype(np.float32))
    np.testing.assert_array_equal(distance[:4], 0)
    np.testing.assert_array_equal(places[:4], [(0, 0), (side - SIZE, side - SIZE), (0, 5), (9, 11)])
    assert distance[4:].min() > 20


def test_a_flat_patch_says_nothing() -> None:
    images = backgrounds(20)
    flat = stamp(images, np.full((SIZE, SIZE, 3), 255, np.uint8), 10, 10)
    offered = isolated_patches(pixel_table(flat))
    assert not (offered.place == 10).all(axis=1).any()


@pytest.fixture(scope="module")
def data() -> tuple[Pixels, Labels]:
    return signs(200)


@pytest.mark.slow
def test_a_roaming_mark_under_right_labels_is_no_poison(data: tuple[Pixels, Labels]) -> None:
    images, labels = data
    rows = np.flatnonzero(labels == NO_ENTRY)[:100]
    result = bezoar.scan(dataset(scattered(images, rows, 3), labels))
    assert not result.flagged.any()
