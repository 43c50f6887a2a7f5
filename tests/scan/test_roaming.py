from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

import bezoar
from bezoar.scan.functional.patterns import pixel_table
from bezoar.scan.functional.roaming import SIZE, Group, isolated_patches, nearest_places, repeated
from bezoar.scan.functional.roaming_carriers import carriers_of
from bezoar.scan.roaming_view import _tested
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


@pytest.mark.parametrize(("side", "n", "channels"), [(3, 5, 3), (11, 70, 3), (12, 9, 1), (13, 0, 3)])
def test_the_nearest_place_is_the_first_of_the_nearest(side: int, n: int, channels: int) -> None:
    rng = np.random.default_rng(side)
    table = rng.choice(
        np.array([0, 90, 255], np.uint8), (side + 2, side + 2, channels, n)
    )  # so that places tie
    patch = rng.uniform(0, 255, (SIZE, SIZE, channels)).astype(np.float32)
    distance, place = nearest_places(table, patch)
    inner, each = table[1:-1, 1:-1].astype(np.int64), range(side - SIZE + 1)
    every = np.array(
        [
            [
                np.square(inner[y : y + SIZE, x : x + SIZE] - patch.round()[..., None]).sum((0, 1, 2))
                for x in each
            ]
            for y in each
        ]
    ).reshape(len(each) ** 2, n)
    first = every.argmin(axis=0)
    np.testing.assert_array_equal(place, np.stack(np.divmod(first, len(each)), axis=1))
    np.testing.assert_allclose(distance, np.sqrt(every[first, np.arange(n)] / patch.size), rtol=1e-6)


def test_a_flat_patch_says_nothing() -> None:
    images = backgrounds(20)
    flat = stamp(images, np.full((SIZE, SIZE, 3), 255, np.uint8), 10, 10)
    offered = isolated_patches(pixel_table(flat))
    assert not (offered.place == 10).all(axis=1).any()


CARRIERS = np.arange(40)  # of label 0, which has 150 records


def by_jpeg(images: Pixels, quality: int = 85) -> Pixels:
    """The same stored as JPEG, which halves the resolution of colours."""

    def stored(image: Pixels) -> Pixels:
        out = io.BytesIO()
        Image.fromarray(image).save(out, "JPEG", quality=quality)
        return np.asarray(Image.open(out))

    return np.stack([stored(image) for image in images])


def roamed(side: int, size: int, seed: int) -> tuple[Pixels, Labels]:
    """Two labels of 150, as JPEG; the first 40 records carry a patch of `size` pixels, anywhere."""
    rng = np.random.default_rng(seed)
    images = backgrounds(300, side, seed).copy()
    patch = np.kron(patch_of(SIZE, seed), np.ones((size // SIZE, size // SIZE, 1), dtype=np.uint8))
    for row in CARRIERS:
        top, left = rng.integers(1, side - size - 1, 2)
        images[row] = stamp(images[row : row + 1], patch, int(top), int(left))[0]
    return by_jpeg(images), np.repeat(np.array([0, 1], dtype=np.int32), 150)


@pytest.mark.parametrize(("side", "size", "scale"), [(32, 3, 1), (64, 6, 2), (128, 12, 4)])
@pytest.mark.parametrize("seed", [1, 2])
def test_all_carriers_are_found_in_jpeg_and_wherever_their_pixels_begin(
    side: int, size: int, scale: int, seed: int
) -> None:
    images, labels = roamed(side, size, seed)
    patch = patch_of(SIZE, seed).astype(np.float32)
    found = carriers_of(images, labels, 0, patch, scale)
    assert np.isin(CARRIERS, found.rows).mean() >= 0.95
    assert (~np.isin(found.rows, CARRIERS)).sum() <= 2
    nearest = nearest_places(pixel_table(images[:150], scale), patch)[0] <= 20
    assert nearest[CARRIERS].mean() < 0.8  # what one look at a tolerance of 20 levels finds


def test_nobody_carries_a_patch_that_other_labels_show_as_well() -> None:
    images, labels = roamed(32, 3, 1)
    labels = labels[np.random.default_rng(0).permutation(300)]
    assert len(carriers_of(images, labels, 0, patch_of(SIZE, 1).astype(np.float32), 1).rows) <= 1


def group_of(count: int, label: int) -> Group:
    return Group(label, 8.0, np.zeros((SIZE, SIZE, 3), np.float32), np.arange(count), count, 0.0)


def test_a_group_that_nearly_stands_clear_is_significant_where_its_records_look_foreign() -> None:
    groups = [group_of(17, 0)] + [group_of(int(n), 1) for n in np.random.default_rng(0).integers(4, 11, 30)]
    honest, planted = (
        {i: p for p, i in _tested(groups, lambda _, looks=looks: looks)} for looks in (1.0, 1e-6)
    )
    assert planted[0] < 0.001 < 0.01 < honest[0]
    assert all(planted[i] == honest[i] for i in range(1, 31) if i in honest)


def test_looks_alone_make_no_group_significant() -> None:
    groups = [group_of(10, 0)] + [group_of(int(n), 1) for n in np.random.default_rng(0).integers(4, 11, 30)]
    assert min(p for p, _ in _tested(groups, lambda _: 1e-12)) > 0.05


@pytest.fixture(scope="module")
def data() -> tuple[Pixels, Labels]:
    return signs(200)


@pytest.mark.slow
def test_a_roaming_mark_under_right_labels_is_no_poison(data: tuple[Pixels, Labels]) -> None:
    images, labels = data
    rows = np.flatnonzero(labels == NO_ENTRY)[:100]
    result = bezoar.scan(dataset(scattered(images, rows, 3), labels), canaries=False)
    assert not result.flagged.any()
