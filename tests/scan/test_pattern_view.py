from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from operator import attrgetter

import numpy as np
import pytest
from numpy.typing import NDArray

from bezoar.scan.evidence import Gallery
from bezoar.scan.functional.counts import Tail, tail_of
from bezoar.scan.functional.disagreement import foreign_p
from bezoar.scan.functional.patterns import Peak, by_likeness, thumbnails
from bezoar.scan.functional.triggers import Trigger
from bezoar.scan.pattern_findings import patterns, wrong_labels
from bezoar.scan.pattern_view import (
    Family,
    Mined,
    Pattern,
    _shades,
    _tested,
    completed,
    examine,
    find_patterns,
)
from bezoar.scan.result import Severity
from bezoar.scan.scene import Scene
from bezoar.scan.space import Space, build_space
from scan.builders import Labels, Pixels, backgrounds, dataset, each_alone, patch_of, stamp

FAMILIES = 10
TAIL = Tail(4.0, 0.8, 20)
STATISTIC = attrgetter("z")  # where no records are near-duplicates
FAMILY = Family(TAIL, TAIL, FAMILIES)


# Family.p_value: two tests share the error


@pytest.mark.parametrize("z", [4.5, 5.5, 6.5, 8.0, 12.0])
def test_records_that_look_foreign_make_a_smaller_p_value(z: float) -> None:
    p = [FAMILY.p_value(z, z, foreign, 1.0) for foreign in (1.0, 1e-1, 1e-2, 1e-4, 1e-8)]
    assert p == sorted(p, reverse=True)
    assert p[-1] < p[0] / 10


@pytest.mark.parametrize("z", np.linspace(0.0, 14.0, 29))
def test_records_that_look_right_count_by_the_clear_test_alone(z: float) -> None:
    clear = min(1.0, FAMILIES * TAIL.p_value(z**2 / 4) / 0.3)
    assert FAMILY.p_value(z, z, 1.0, 1.0) == pytest.approx(clear)


@pytest.mark.parametrize("foreign", [1.0, 0.3, 1e-3, 1e-9])
def test_stronger_patterns_have_smaller_p_values(foreign: float) -> None:
    p = [FAMILY.p_value(z, z, foreign, foreign) for z in np.linspace(0, 14, 57)]
    assert p == sorted(p, reverse=True)
    assert 0 < p[-1] < 1e-3
    assert p[0] <= 1


def test_foreign_records_alone_are_no_pattern() -> None:
    assert (
        Family(tail_of(np.ones(3)), tail_of(np.ones(3)), FAMILIES).p_value(20.0, 20.0, 0.5, 0.5) == 1.0
    )  # nothing is known of the tail
    assert FAMILY.p_value(4.0, 4.0, 0.01, 0.01) > 0.5  # no stronger than the others


def test_both_p_values_at_random_are_a_p_value() -> None:
    rng = np.random.default_rng(0)
    runs, alpha = 20_000, 0.05
    one = Family(TAIL, TAIL, 1)
    clear, foreign = rng.random(runs), rng.random(runs)
    z = 2 * np.sqrt(TAIL.largest + TAIL.n * TAIL.decay * (clear ** (-1 / TAIL.n) - 1))
    assert TAIL.p_value(z[0] ** 2 / 4) == pytest.approx(clear[0])
    rate = np.mean([one.p_value(a, a, b, b) <= alpha for a, b in zip(z, foreign, strict=True)])
    assert 0.01 <= rate <= alpha + 3 * np.sqrt(alpha * (1 - alpha) / runs)


# the strongest patterns against the tail of the others


def family_of(counts: NDArray[np.float64], rng: np.random.Generator, n: int) -> list[Peak]:
    """Peaks of distinct patterns of label 0 with these excess counts, of random records."""
    peaks = []
    for place, count in enumerate(counts):
        size = max(4, round(count))
        members = rng.choice(n, size, replace=False)
        peaks.append(Peak(place, 0, 3, 8.0, 0, members, size, 0, float(2 * np.sqrt(count))))
    return peaks


def asked(foreign: NDArray[np.bool_], n: int) -> Callable[[Peak], tuple[float, float]]:
    return lambda peak: (foreign_p(peak.members, np.arange(n), foreign, each_alone), 1.0)


def test_the_strongest_of_natural_patterns_is_rejected_as_seldom_as_promised() -> None:
    rng = np.random.default_rng(1)
    n, runs, alpha, alarms = 2000, 300, 0.05, 0
    for _ in range(runs):
        foreign = rng.random(n) < 0.05
        family = family_of(4 + rng.exponential(1.5, 36), rng, n)
        p, _ = _tested(family, 1, STATISTIC, asked(foreign, n))
        alarms += p.min() <= alpha
    assert alarms / runs <= alpha + 3 * np.sqrt(alpha * (1 - alpha) / runs)


def test_ten_foreign_records_are_enough_and_ten_right_looking_ones_are_not() -> None:
    rng = np.random.default_rng(2)
    n = 2000
    family = family_of(np.r_[10.0, 4 + rng.exponential(0.5, 60)], rng, n)
    foreign = np.zeros(n, dtype=bool)
    honest, _ = _tested(family, FAMILIES, STATISTIC, asked(foreign, n))
    foreign[family[0].members] = True
    planted, _ = _tested(family, FAMILIES, STATISTIC, asked(foreign, n))
    assert planted[0] < 0.005 < honest[0]
    assert np.delete(planted, 0).min() > 0.01


def test_two_triggers_of_one_strength_do_not_hide_each_other() -> None:
    rng = np.random.default_rng(3)
    n = 2000
    family = family_of(np.r_[60.0, 60.0, 4 + rng.exponential(0.5, 60)], rng, n)
    p, _ = _tested(family, FAMILIES, STATISTIC, lambda _: (1.0, 1.0))
    assert p[:2].max() < 0.001
    assert p[2:].min() > 0.01


def test_patterns_of_a_class_that_looks_alike_are_none_by_standing_clear_by_company() -> None:
    rng = np.random.default_rng(4)
    n = 2000
    family = family_of(np.r_[40.0, 4 + rng.exponential(0.5, 60)], rng, n)

    def linked_z(peak: Peak) -> float:
        return 2.0 if peak is family[0] else peak.z  # near-duplicates nearly all

    honest, _ = _tested(family, FAMILIES, linked_z, lambda _: (0.05, 0.05))
    assert honest[0] > 0.05
    planted, null = _tested(family, FAMILIES, linked_z, lambda _: (0.05, 1e-10))
    assert planted[0] < 1e-6
    assert np.delete(planted, 0).min() > 0.01
    assert null.p_value(60.0, 60.0, 0.05, 1.0) < 1e-6


def test_a_track_that_looks_foreign_without_its_company_is_no_pattern_by_that() -> None:
    assert FAMILY.p_value(4.0, 4.0, 1.0, 1e-9) > 0.5  # no stronger than the others


# find_patterns: pictures in, patterns out

N, LABELS, SIDE = 1000, 4, 14
TARGET = 0


def pictures(seed: int) -> tuple[Pixels, Labels]:
    """Noisy pictures in which thirty patches repeat by nature, each in three to six records of one label."""
    rng = np.random.default_rng(seed)
    images = backgrounds(N, SIDE, seed).astype(np.int16) + rng.integers(-20, 21, (N, SIDE, SIDE, 3))
    images = np.clip(images, 0, 255).astype(np.uint8)
    labels = rng.integers(0, LABELS, N).astype(np.int32)
    for number in range(30):
        rows = rng.choice(np.flatnonzero(labels == number % LABELS), rng.integers(3, 7), replace=False)
        top, left = rng.integers(1, SIDE - 4, 2)
        images[rows] = stamp(images[rows], patch_of(3, 1000 * seed + number), int(top), int(left))
    return images, labels


def relabelled(images: Pixels, labels: Labels, seed: int) -> tuple[Pixels, Labels, np.ndarray]:
    """The same with a patch on ten records of other labels that are now labelled `TARGET`."""
    rng = np.random.default_rng(100 + seed)
    rows = rng.choice(np.flatnonzero(labels != TARGET), 10, replace=False)
    images, labels = images.copy(), labels.copy()
    images[rows] = stamp(images[rows], patch_of(3, 77 + seed), 5, 8)
    labels[rows] = TARGET
    return images, labels, rows


def mined(images: Pixels, labels: Labels, foreign: NDArray[np.bool_]) -> Mined:
    return find_patterns(
        images, labels, lambda _: foreign, each_alone, each_alone, 0.01, np.random.default_rng(0)
    )


def some(seed: int) -> NDArray[np.bool_]:
    """Honest records that look foreign: 3 in 100, at random."""
    return np.random.default_rng(200 + seed).random(N) < 0.03


@pytest.mark.parametrize("seed", range(2))
def test_a_patch_on_ten_relabelled_records_is_found_where_they_are_known_to_look_foreign(seed: int) -> None:
    images, labels, rows = relabelled(*pictures(seed), seed)
    foreign = some(seed)
    foreign[rows] = True
    (found,) = mined(images, labels, foreign).patterns
    assert (found.label, found.class_wide) == (TARGET, False)
    assert found.p_value < 1e-6
    np.testing.assert_array_equal(np.flatnonzero(found.carriers), np.sort(rows))


@pytest.mark.parametrize("seed", range(5))
def test_honest_pictures_of_which_some_look_foreign_at_random_hold_no_pattern(seed: int) -> None:
    images, labels = pictures(seed)
    assert not mined(images, labels, some(seed)).patterns


def test_a_natural_pattern_under_right_labels_needs_more_than_ten_records() -> None:
    images, labels, rows = relabelled(*pictures(0), 0)
    assert not mined(images, labels, some(0) & ~np.isin(np.arange(N), rows)).patterns


def covered(seed: int) -> tuple[Pixels, Labels, NDArray[np.int64]]:
    """A patch on 16 records that are plain around it, under the wrong label, and on 7 under each of two right ones."""
    rng = np.random.default_rng(300 + seed)
    images, labels = pictures(seed)
    patch = patch_of(3, 77 + seed)
    for label in (1, 2):
        rows = rng.choice(np.flatnonzero(labels == label), 7, replace=False)
        images[rows] = stamp(images[rows], patch, 5, 8)
    planted = rng.choice(np.flatnonzero(labels == 3), 16, replace=False)
    images[planted, 3:10, 6:13] = 90  # what surrounds it does not differ, so that they are not counted
    images[planted] = stamp(images[planted], patch, 5, 8)
    labels[planted] = TARGET
    return images, labels, planted


def test_a_weak_pattern_is_judged_by_the_looks_of_its_other_carriers() -> None:
    images, labels, planted = covered(0)
    foreign = some(0)
    assert not mined(images, labels, foreign).patterns
    foreign[planted] = True
    (found,) = mined(images, labels, foreign).patterns
    assert found.carriers[planted].all()
    assert found.p_value < 1e-6


# a whole view: a class that looks alike


def look_alikes_relabelled(seed: int, relabel: bool = True) -> tuple[Scene, NDArray[np.int64]]:
    """Three labels of 100, and 250 pictures that all look alike, 40 of which carry a patch under label 0."""
    rng = np.random.default_rng(seed)
    labels = np.arange(LABELS, dtype=np.int32).repeat([100, 100, 100, 250])
    n, side = len(labels), 28
    images = backgrounds(n, side, seed).copy()
    source = np.flatnonzero(labels == LABELS - 1)
    noise = rng.integers(-45, 46, (len(source), side, side, 3))  # so that what surrounds a patch differs
    images[source] = np.clip(0.8 * images[0] + 0.2 * images[source] + noise, 0, 255)
    features = 3 * np.eye(LABELS, DIM)[labels] + rng.normal(0, 1, (n, DIM))
    rows = rng.permutation(source)[:40]
    if relabel:
        images[rows] = stamp(images[rows], patch_of(3, 7 + seed), 5, 8)
        labels[rows] = TARGET
    for number in range(30):  # what repeats by nature
        some = rng.choice(np.flatnonzero(labels == number % 3), rng.integers(3, 6), replace=False)
        top, left = rng.integers(1, side - 4, 2)
        images[some] = stamp(images[some], patch_of(3, 1000 + number), int(top), int(left))
    names = tuple("abcd")
    space = build_space(features.astype(np.float32), np.arange(n), labels, LABELS)
    independent_of = by_likeness(thumbnails(images))
    return Scene(images, space, names, independent_of, Gallery(dataset(images, labels, names)), 0), rows


def test_a_patch_on_records_of_a_class_that_looks_alike_is_found() -> None:
    scene, rows = look_alikes_relabelled(0)
    assert scene.independent_of(rows) <= 4  # what the view had to go by, when it counted linked records once
    (finding,) = patterns(scene, 0.01).findings
    assert (finding.severity, finding.target) == (Severity.POISON, TARGET)
    np.testing.assert_array_equal(np.sort(finding.records), np.sort(rows))


def test_a_class_that_looks_alike_is_no_pattern() -> None:
    scene, _ = look_alikes_relabelled(1, relabel=False)
    assert not patterns(scene, 0.01).findings


# under which labels a pattern's carriers are wrong


EACH, CLASSES, DIM = 100, 8, 16


def shifted(
    foreign: dict[int, tuple[int, int]], confused: int | None = None, seed: int = 0
) -> tuple[Space, NDArray[np.bool_]]:
    """A space in which under label l, `foreign[l]` = (carriers that show another label, carriers that show l).

    Six in ten of the other records of the label `confused` look like others, too.
    """
    rng = np.random.default_rng(seed)
    labels = np.arange(CLASSES, dtype=np.int32).repeat(EACH)
    shown, carriers = labels.copy(), np.zeros(len(labels), dtype=bool)
    for label, (wrong, right) in foreign.items():
        rows = np.flatnonzero(labels == label)[: wrong + right]
        carriers[rows] = True
        shown[rows[:wrong]] = (label - 1) % CLASSES
        if label == confused:
            honest = np.flatnonzero((labels == label) & ~carriers)
            shown[honest[: round(0.6 * len(honest))]] = (label - 2) % CLASSES
    features = np.eye(CLASSES, DIM)[shown] + rng.normal(0, 0.1, (len(labels), DIM))
    return build_space(features.astype(np.float32), np.arange(len(labels)), labels, CLASSES), carriers


def wrong_in(foreign: dict[int, tuple[int, int]], confused: int | None = None) -> list[int]:
    space, carriers = shifted(foreign, confused)
    return wrong_labels(space, np.flatnonzero(carriers), carriers)


def test_labels_whose_carriers_look_foreign_are_wrong_and_cover_labels_are_not() -> None:
    assert wrong_in({0: (20, 0), 3: (0, 20), 5: (0, 4)}) == [0]
    assert wrong_in({3: (0, 20), 5: (1, 19)}) == []
    assert wrong_in({}) == []


def test_where_several_labels_are_wrong_others_of_too_few_carriers_are_judged_by_them() -> None:
    several = {0: (20, 0), 1: (20, 0), 2: (20, 0)}
    few = {5: (4, 0), 6: (2, 1)}
    cover = {3: (0, 20), 4: (0, 4), 7: (1, 3)}
    assert wrong_in({**several, **few, **cover}) == [0, 1, 2, 5, 6]
    assert wrong_in({0: (20, 0), **few, **cover}) == [0]  # one label alone is no shift of all


def test_a_label_that_is_often_confused_is_judged_by_the_share_of_its_carriers_that_is_wrong() -> None:
    others = {0: (20, 0), 1: (20, 0), 2: (20, 0)}
    assert wrong_in({**others, 5: (20, 0)}, confused=5) == [0, 1, 2, 5]
    assert wrong_in({**others, 5: (13, 7)}, confused=5) == [0, 1, 2]  # as often as its others look foreign


def test_a_label_that_is_clearly_wrong_stays_so_beside_others_that_are_more_so() -> None:
    some_right = {2: (36, 44)}
    assert wrong_in(some_right) == [2]
    assert wrong_in({0: (20, 0), 1: (20, 0), 3: (20, 0), 4: (20, 0), **some_right}) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(("more", "added"), [(10, True), (15, True), (16, False), (60, False)])
@pytest.mark.parametrize("label", [1, None])
def test_brightness_adds_some_carriers_of_the_patterns_label_and_never_many(
    label: int | None, more: int, added: bool
) -> None:
    labels = np.repeat(np.arange(3, dtype=np.int32), 100)
    carriers, bright = np.zeros(300, dtype=bool), np.zeros(300, dtype=bool)
    carriers[100:130] = bright[130 : 130 + more] = True
    bright[:40] = label is not None  # in other labels, which then do not count
    patch = patch_of(3, 0)
    far = np.where([carriers, bright], 0, 99).astype(np.float32)
    trigger = Trigger(0, 0, patch, np.ones((3, 3), bool), far[0], 1.0, far[1], 1.0, clearer=True)
    peak = Peak(0, 0, 3, 8.0, 1, np.flatnonzero(carriers), 30, 0, 9.0)
    found = completed(Pattern(trigger, peak, 1e-6, carriers, label, class_wide=False), labels)
    assert np.flatnonzero(found.carriers).tolist() == list(range(100, 130 + more * added))


def test_a_pattern_that_all_records_carry_is_told_from_nothing() -> None:
    images, labels = backgrounds(60, 24, seed=1).copy(), np.zeros(60, np.int32)
    images = stamp(images, patch_of(3, 2), 9, 9)
    peak = Peak(9, 9, 3, 8.0, 0, np.arange(60), 60, 0, 9.0)
    assert examine(images, labels, peak, 1, 1e-9, each_alone, np.random.default_rng(0)) is None


def shading(
    near: int,
    *,
    added: int = 0,
    as_bright: int = 0,
    elsewhere: int = 0,
    bright: int = 0,
    carrying: int = 0,
    clearer: bool = True,
) -> Pattern:
    """30 carriers among 100 records; `near` of the others come near in colours, and of 80 records of another label `elsewhere`.

    Of the near ones `added` are as bright as the pattern and `as_bright` nearly so; elsewhere `bright` are, and all the rest
    nearly so. `carrying` more carry it elsewhere. Brightness is the `clearer`.
    """
    carriers = np.arange(180) < 30
    distance, brightness = np.full((2, len(carriers)), 99, np.float32)
    distance[:30] = brightness[:30] = 0
    distance[30 : 30 + near] = 9
    brightness[30 : 30 + added] = 0
    brightness[30 + added : 30 + added + as_bright] = 9
    distance[100 : 100 + elsewhere] = brightness[100 : 100 + elsewhere] = 9
    brightness[100 : 100 + bright] = 0
    distance[180 - carrying :] = brightness[180 - carrying :] = 0
    one, square = patch_of(3, 0), np.ones((3, 3), bool)
    trigger = Trigger(0, 0, one, square, distance, 1.0, brightness, 1.0, clearer=clearer)
    return Pattern(
        trigger, Peak(0, 0, 3, 20.0, 0, np.arange(30), 30, 0, 9.0), 1e-6, carriers, 0, class_wide=False
    )


@pytest.mark.parametrize(
    ("near", "more", "shades"),
    [
        (15, {"as_bright": 15, "clearer": False}, False),  # colours part the carriers
        (16, {"as_bright": 16}, True),
        (16, {"as_bright": 7}, False),  # brightness does
        (16, {"as_bright": 8}, True),
        (16, {"as_bright": 0, "clearer": False}, True),  # brightness is not the clearer
        (18, {"added": 2, "as_bright": 8}, False),  # a quarter of 32
        (18, {"added": 2, "as_bright": 9}, True),
        (30, {"added": 20}, True),  # so many are as bright that something honest is: none are added
    ],
)
def test_brightness_excuses_shades_where_it_is_clearer_and_leaves_few(
    near: int, more: dict[str, int | bool], shades: bool
) -> None:
    labels = np.repeat(np.array([0, 1], np.int32), [100, 80])
    assert _shades(shading(near, **more), labels == 0, labels) is shades


@pytest.mark.parametrize(
    ("near", "more", "shades"),
    [
        (23, {"elsewhere": 13, "clearer": False}, True),  # 13 less two deviations are 5.8 of 80, 7.2 of 100
        (23, {"elsewhere": 14, "clearer": False}, False),  # 8.1, and 14.9 more are let pass
        (23, {"elsewhere": 2, "clearer": False}, True),  # two may be an accident
        (23, {"carrying": 20, "clearer": False}, True),  # what carries it elsewhere comes by no chance
        (23, {"as_bright": 9, "elsewhere": 6}, True),
        (23, {"as_bright": 9, "elsewhere": 7}, False),
        # what is as bright counts neither here nor there
        (50, {"added": 15, "as_bright": 20, "elsewhere": 30, "bright": 30}, True),
    ],
)
def test_what_comes_near_under_other_labels_as_well_is_no_shade(
    near: int, more: dict[str, int | bool], shades: bool
) -> None:
    labels = np.repeat(np.array([0, 1], np.int32), [100, 80])
    assert _shades(shading(near, **more), labels == 0, labels) is shades


def test_a_pattern_spread_over_labels_has_no_others_to_be_held_against() -> None:
    everyone = np.ones(180, bool)
    for near, shades in ((15, False), (16, True)):
        pattern = replace(shading(near, clearer=False), label=None)
        assert _shades(pattern, everyone, np.zeros(180, np.int32)) is shades
