from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from bezoar.scan.functional.patterns import (
    LOOK_ALIKES,
    TOLERANCES,
    Independence,
    Peak,
    by_company,
    by_group,
    by_likeness,
    isolation_of,
    peaks,
    peaks_at,
    pixel_table,
    thumbnails,
)
from scan.builders import Pixels, backgrounds, each_alone, patch_of, stamp

N, TOP, LEFT = 400, 8, 12
PLANTED = np.arange(30, 50)


def planted(size: int = 3) -> tuple[Pixels, NDArray[np.int32]]:
    """Two labels of 200 each; twenty records of the first carry a patch."""
    images = backgrounds(N)
    images[PLANTED] = stamp(images[PLANTED], patch_of(size), TOP, LEFT)
    return images, np.arange(2, dtype=np.int32).repeat(N // 2)


def peak_of(images: Pixels, labels: NDArray[np.int32], independent_of: object = each_alone) -> Peak:
    return peaks_at(pixel_table(images), labels, independent_of, TOP, LEFT, 3)[0]  # type: ignore[arg-type]


def test_the_pixel_table_is_the_images_with_a_border() -> None:
    images = backgrounds(150, 7)  # more than are turned at a time
    table = pixel_table(images)
    assert table.shape == (9, 9, 3, 150)
    np.testing.assert_array_equal(table[1:-1, 1:-1].transpose(3, 0, 1, 2), images)
    np.testing.assert_array_equal(table[0], table[1])
    np.testing.assert_array_equal(table[:, -1], table[:, -2])


def test_the_shrunk_table_holds_means_and_drops_the_rest() -> None:
    images = backgrounds(130, 7)
    table = pixel_table(images, 2)
    assert table.shape == (5, 5, 3, 130)
    mean = images[:, 2:4, 4:6].reshape(130, 4, 3).mean(axis=1).round()
    np.testing.assert_array_equal(table[2, 3].T, mean)


@pytest.mark.parametrize("side", [8, 13, 32])
def test_thumbnails_are_unit_and_mean_free_and_know_brightened_copies(side: int) -> None:
    images = backgrounds(20, side)
    images[1] = (images[0] // 2 + 60).astype(np.uint8)
    thumbs = thumbnails(images)
    np.testing.assert_allclose(np.linalg.norm(thumbs, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(thumbs.mean(axis=1), 0, atol=1e-5)
    assert thumbs[0] @ thumbs[1] > 0.99
    assert not thumbnails(np.full((2, 16, 16, 3), 7, np.uint8)).any()  # blank: no direction, no NaN


def test_near_duplicates_count_once_and_chains_are_linked() -> None:
    images = backgrounds(10)
    images[1:4] = images[0]
    count = by_likeness(thumbnails(images))
    assert count(np.arange(10)) == 7
    assert count(np.array([0, 1, 2, 3])) == 1
    assert by_group(np.array([5, 5, 5, 2, 2, 9]))(np.arange(6)) == 3


def company_in(images: Pixels) -> Independence:
    thumbs = thumbnails(images)
    near = np.argsort(-(thumbs @ thumbs.T), axis=1)[:, 1:41]
    return by_company(by_likeness(thumbs), thumbs, near)


def alike(n: int, seed: int) -> Pixels:
    """Records of a class that all look alike: one picture with noise."""
    noise = np.random.default_rng(seed).integers(-25, 26, (n, 24, 24, 3))
    return np.clip(backgrounds(1, seed=seed)[0] + noise, 0, 255).astype(np.uint8)


def test_records_drawn_from_a_class_that_looks_alike_count_nearly_singly_and_a_track_does_not() -> None:
    crowd, track, others = alike(200, 1), alike(30, 2), backgrounds(20, seed=3)
    count = company_in(np.concatenate([crowd, track, others]))
    drawn = np.random.default_rng(0).permutation(200)[:20]
    assert by_likeness(thumbnails(crowd))(drawn) == 1
    assert count(drawn) >= 8
    assert count(drawn[:1]) == 1
    frames = np.arange(200, 230)
    assert count(frames) <= len(frames) / LOOK_ALIKES  # all of its look-alikes come with each of them
    unlike = np.arange(230, 250)
    assert count(unlike) == 20
    assert count(np.r_[drawn, unlike]) == count(drawn) + 20


def test_a_long_track_counts_no_more_than_linking_says() -> None:
    track, rest = alike(150, 1), backgrounds(20, seed=3)
    images = np.concatenate([track, rest])
    count, linked = company_in(images), by_likeness(thumbnails(images))
    assert linked(np.arange(150)) == count(np.arange(150)) == 1  # ten, by sixteen look-alikes each
    assert count(np.arange(3, 150)) == 1  # a few frames without it are no crowd that it was drawn from
    assert count(np.arange(170)) == 21
    assert count(np.arange(0, 150, 3)) >= 5  # the same drawn from a class that has more of them


def test_company_is_counted_whatever_the_order_and_never_below_what_is_linked() -> None:
    images = np.concatenate([alike(60, 1), backgrounds(10, seed=3)])
    count, linked = company_in(images), by_likeness(thumbnails(images))
    rng = np.random.default_rng(0)
    for size in (1, 5, 30, 70):
        rows = rng.permutation(70)[:size]
        assert count(rows) == count(np.sort(rows))
        assert linked(rows) <= count(rows) <= size


def test_isolation_tells_a_patch_from_an_edge() -> None:
    flat = np.full((5, 5, 3, 2), 100, np.uint8)
    flat[1:4, 1:4, :, 0] = 200  # a square
    flat[:, 2:, :, 1] = 200  # an edge: continues above and below
    isolation = isolation_of(flat, (True,) * 4)
    assert isolation[0] == pytest.approx(100**2)
    assert isolation[1] == 0
    assert isolation_of(flat, (False,) * 4)[0] == np.inf


def test_a_planted_patch_peaks_with_its_members() -> None:
    images, labels = planted()
    for peak, tolerance in zip(
        peaks_at(pixel_table(images), labels, each_alone, TOP, LEFT, 3), TOLERANCES, strict=True
    ):
        assert peak.tolerance == tolerance
        np.testing.assert_array_equal(peak.members, PLANTED)
        assert (peak.label, peak.independent, peak.background) == (0, len(PLANTED), 0)
        assert peak.z == pytest.approx(2 * np.sqrt(len(PLANTED)))


def test_it_is_the_strongest_peak_of_the_whole_canvas() -> None:
    images, labels = planted()
    rows: list[int] = []
    found = peaks(pixel_table(images), labels, each_alone, 3, on_row=lambda: rows.append(1))
    assert len(found) == 22 * 22 * len(TOLERANCES)
    assert len(rows) == 22
    best = max(found, key=lambda peak: peak.z)
    assert abs(best.top - TOP) <= 1
    assert abs(best.left - LEFT) <= 1
    elsewhere = [p.z for p in found if max(abs(p.top - TOP), abs(p.left - LEFT)) > 3]
    assert max(elsewhere) <= best.z / 2


def test_frames_of_one_scene_count_once() -> None:
    images = backgrounds(N)
    images[PLANTED] = images[PLANTED[0]]  # one scene, twenty frames
    images[PLANTED] = stamp(images[PLANTED], patch_of(3), TOP, LEFT)
    shaken = images.astype(int) + np.random.default_rng(0).integers(-3, 4, images.shape)
    labels = np.zeros(N, np.int32)
    found = peak_of(np.clip(shaken, 0, 255).astype(np.uint8), labels, by_likeness(thumbnails(images)))
    assert found.independent <= 1


def test_groups_count_once() -> None:
    images, labels = planted()
    assert peak_of(images, labels, by_group(np.arange(N) // 5)).independent == 4


def test_a_mark_that_also_sits_elsewhere_has_a_background() -> None:
    images, labels = planted()
    moved = np.arange(60, 78)
    images[moved] = stamp(images[moved], patch_of(3), TOP + 3, LEFT - 3)
    found = peak_of(images, labels)
    assert found.background == len(moved)
    assert found.z == pytest.approx(2 * (np.sqrt(20) - np.sqrt(18)))


def test_the_background_is_that_of_the_same_label() -> None:
    images, labels = planted()
    others = np.arange(260, 290)
    images[others] = stamp(images[others], patch_of(3), TOP + 3, LEFT)
    assert peak_of(images, labels).background == 0


def test_a_few_records_and_none_are_no_peak() -> None:
    assert peak_of(backgrounds(N), np.zeros(N, np.int32)).independent <= 1
    none = peak_of(backgrounds(3), np.zeros(3, np.int32))
    assert (none.independent, none.z) == (0, 0)
