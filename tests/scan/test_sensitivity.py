from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from bezoar.scan import sensitivity
from bezoar.scan.evidence import Gallery
from bezoar.scan.functional.counts import tail_of
from bezoar.scan.functional.patterns import Peak, peaks_at, pixel_table
from bezoar.scan.functional.triggers import Trigger, recover
from bezoar.scan.pattern_view import Family, Pattern
from bezoar.scan.scene import Scene
from bezoar.scan.sensitivity import (
    _RECOVERED,
    RATES,
    _overlapping,
    _Patched,
    _peaks,
    _recovered,
    patch_sensitivity,
    smallest_found,
)
from bezoar.scan.space import build_space
from scan.builders import Pixels, backgrounds, dataset, each_alone, patch_of, stamp

N = 10_000
COUNTS = [round(rate * N) for rate in RATES]


def from_(least: float) -> Callable[[int], bool]:
    """A scan that finds `least` records and more."""
    return lambda count: count >= least


def calls_of(found: Callable[[int], bool], asked: list[int]) -> Callable[[int], bool]:
    def counted(count: int) -> bool:
        asked.append(count)
        return found(count)

    return counted


@pytest.mark.parametrize("least", [*COUNTS, 1, 7, 15, 70, 150, 499, 501, 10**6])
def test_bisection_finds_the_smallest_rate_that_is_found(least: int) -> None:
    enough = [rate for rate, count in zip(RATES, COUNTS, strict=True) if count >= least]
    assert smallest_found("poison", "planted", N, from_(least)).smallest_rate == min(enough, default=None)


def test_rates_of_more_records_than_there_are_to_plant_are_not_asked_for() -> None:
    asked: list[int] = []
    found = smallest_found("poison", "planted", N, calls_of(from_(40), asked), most=60)
    assert found.smallest_rate == 0.005
    assert max(asked) <= 60
    assert smallest_found("poison", "planted", N, from_(1), most=9).smallest_rate is None
    assert (
        smallest_found("poison", "planted", 6, from_(1), most=0).smallest_rate is None
    )  # no two of any label


def test_bisection_asks_for_few_of_the_rates() -> None:
    for least in (1, 15, 70, 10**6):
        asked: list[int] = []
        smallest_found("poison", "planted", N, calls_of(from_(least), asked))
        assert len(set(asked)) <= 3


@pytest.mark.parametrize(("missed", "noticed"), [(1, True), (2, False)])
def test_one_miss_in_ten_trials_is_forgiven_and_two_are_not(missed: int, noticed: bool) -> None:
    misses = dict.fromkeys(COUNTS, missed)

    def found(count: int) -> bool:
        misses[count] -= 1
        return misses[count] < 0

    sensitivity = smallest_found("poison", "planted", N, found)
    assert sensitivity.smallest_rate == (RATES[-1] if noticed else None)


def test_chance_finds_are_not_noticed() -> None:
    rng = np.random.default_rng(0)
    said = [smallest_found("poison", "planted", N, lambda _: rng.random() < 0.5) for _ in range(40)]
    assert sum(kind.smallest_rate is not None for kind in said) <= 5


def test_small_datasets_are_asked_for_one_record_at_least() -> None:
    asked: list[int] = []
    assert smallest_found("poison", "planted", 30, calls_of(from_(1), asked)).smallest_rate == RATES[-1]
    assert min(asked) == 1


# whether a planted patch is recovered, too

CARRIERS = np.arange(40, 70)
SIDE = 96


def patched(images: Pixels, place: int, patch: Pixels) -> tuple[_Patched, Pixels, Peak]:
    """A patch on 30 of the images, under label 0; the whole images with it; and its peak."""
    labels = np.arange(len(images), dtype=np.int32) % 2
    labels[CARRIERS] = 0
    space = build_space(
        np.random.default_rng(0).normal(0, 1, (len(images), 8)).astype(np.float32),
        np.arange(len(images)),
        labels,
        2,
    )
    names = ("a", "b")
    scene = Scene(images, space, names, each_alone, Gallery(dataset(images, labels, names)), 0)
    whole = images.copy()
    whole[CARRIERS] = stamp(images[CARRIERS], patch, place, place)
    peak = max(peaks_at(pixel_table(whole), labels, each_alone, place, place, 3), key=lambda peak: peak.z)
    return _Patched(scene, CARRIERS, whole[CARRIERS], labels, place, place), whole, peak


@pytest.mark.parametrize("place", [0, 1, 30, 47, SIDE - 3])
def test_what_is_recovered_near_a_patch_is_what_is_recovered_in_whole_images(place: int) -> None:
    copy, whole, peak = patched(backgrounds(200, SIDE, seed=3), place, patch_of(3, 5))
    part, top, left = copy.around(_RECOVERED, np.arange(200))
    ours = recover(part, replace(peak, top=top, left=left), 1, np.random.default_rng(0))
    theirs = recover(whole, peak, 1, np.random.default_rng(0))
    np.testing.assert_array_equal(ours.distance, theirs.distance)
    assert (ours.threshold, ours.mask.shape) == (theirs.threshold, theirs.mask.shape)
    np.testing.assert_array_equal(np.flatnonzero(ours.carriers), CARRIERS)


def test_rows_are_given_in_the_order_that_they_are_asked_for() -> None:
    copy, whole, _ = patched(backgrounds(200, SIDE, seed=3), 10, patch_of(3, 5))
    rows = np.random.default_rng(1).permutation(200)[:90]
    part, top, left = copy.around(4, rows)
    assert (top, left) == (4, 4)
    np.testing.assert_array_equal(part, whole[rows, 6:17, 6:17])


def shades(n: int, least: float, most: float) -> Pixels:
    """A patch `n` times, each further from it, in grey levels: uint8 (n, 3, 3, 3)."""
    signs = np.random.default_rng(int(most)).choice([-1, 1], (n, 3, 3, 1))
    return np.clip(patch_of(3, 5) + np.linspace(least, most, n)[:, None, None, None] * signs, 0, 255).astype(
        np.uint8
    )


@pytest.mark.parametrize("shading", [False, True])
@pytest.mark.parametrize("sampled", [20, 2000])
def test_a_patch_that_shades_into_other_records_is_not_recovered(
    shading: bool, sampled: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sensitivity, "_OTHERS", sampled)
    images = backgrounds(200, SIDE, seed=3)
    if shading:
        near = np.setdiff1d(np.arange(0, 200, 2), CARRIERS)  # of the same label
        images[near, 30:33, 30:33] = shades(len(near), 18, 40)
    copy, whole, _ = patched(images, 30, patch_of(3, 5))
    whole[CARRIERS, 30:33, 30:33] = shades(len(CARRIERS), 0, 15)
    peak = min(
        peaks_at(pixel_table(whole), copy.labels, each_alone, 30, 30, 3), key=lambda peak: peak.tolerance
    )
    copy = replace(copy, pixels=whole[CARRIERS])
    assert _recovered(copy, peak, 1e-9, np.random.default_rng(0)) is not shading


@pytest.mark.parametrize(("carried", "enough"), [(15, True), (14, False)])
def test_half_of_the_carriers_have_to_be_recovered(
    carried: int, enough: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy, _, peak = patched(backgrounds(200, SIDE, seed=3), 30, patch_of(3, 5))

    def some(_: Pixels, labels: np.ndarray, peak: Peak, *rest: object) -> Pattern:
        carriers = np.zeros(len(labels), dtype=bool)
        carriers[CARRIERS[:carried]] = True
        carriers[150:180] = True  # of no interest
        far = np.full(len(labels), 99, np.float32)
        trigger = Trigger(0, 0, patch_of(3, 5), np.ones((3, 3), bool), far, 1.0, far, 1.0, clearer=False)
        return Pattern(trigger, peak, 0.0, carriers, 0, class_wide=False)

    monkeypatch.setattr(sensitivity, "examine", some)
    assert _recovered(copy, peak, 1e-9, np.random.default_rng(0)) is enough


NO_PEAKS = Family(tail_of(np.zeros(40)), tail_of(np.zeros(40)), 1)
ALL_SIZES = {(size, 1, tolerance): NO_PEAKS for size in (2, 3, 4) for tolerance in (8.0, 20.0)}


@pytest.mark.parametrize("recovered", [True, False])
def test_a_patch_that_stands_out_and_is_not_recovered_is_not_noticed(
    recovered: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy, *_ = patched(backgrounds(400, 40, seed=3), 10, patch_of(3, 5))
    if not recovered:
        monkeypatch.setattr(sensitivity, "_recovered", lambda *_: False)
    said = patch_sensitivity(copy.scene, ALL_SIZES, 1e-3, np.random.default_rng(0))
    assert (said.smallest_rate is not None) is recovered


@pytest.mark.parametrize(
    ("start", "size", "starts"),
    [(5, 3, [5]), (5, 2, [5, 6]), (5, 4, [4, 5]), (0, 4, [0]), (7, 4, [6]), (0, 2, [0, 1]), (7, 3, [7])],
)
def test_windows_lie_in_the_patch_or_contain_it(start: int, size: int, starts: list[int]) -> None:
    assert list(_overlapping(start, size, length=10)) == starts


@pytest.mark.parametrize("place", [0, 12, 37])
def test_peaks_are_those_of_whole_images(place: int) -> None:
    copy, whole, _ = patched(backgrounds(200, 40, seed=3), place, patch_of(3, 5))
    order = np.argsort(copy.labels, kind="stable")
    table = pixel_table(whole[order])
    found = _peaks(copy, ALL_SIZES)
    assert {peak.size for peak in found} == {2, 3, 4}
    for peak in found:
        window = peak.top, peak.left, peak.size
        theirs = peaks_at(table, copy.labels[order], each_alone, *window)[peak.tolerance > 8]
        assert (peak.label, peak.z, peak.tolerance) == (theirs.label, theirs.z, theirs.tolerance)
        np.testing.assert_array_equal(peak.members, np.sort(order[theirs.members]))
