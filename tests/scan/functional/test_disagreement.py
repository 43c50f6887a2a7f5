from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from bezoar.scan.functional.disagreement import (
    FIRM,
    foreign_p,
    inflow_tests,
    margin_of_poison,
    pair_tests,
    vote,
)
from bezoar.scan.functional.neighbours import nearest
from bezoar.scan.functional.patterns import by_likeness

CLASSES, EACH = 5, 150


def clusters(seed: int, spread: float = 0.12) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Points around one direction per class, (N, 16) and labels (N,)."""
    rng = np.random.default_rng(seed)
    labels = np.arange(CLASSES, dtype=np.int32).repeat(EACH)
    features = np.eye(CLASSES, 16)[labels] + rng.normal(0, spread, (len(labels), 16))
    return features.astype(np.float32), labels


def found_in(features: NDArray[np.float32], labels: NDArray[np.int32]) -> list[tuple[int, int, int, float]]:
    tests = pair_tests(vote(nearest(features, 64).indices, labels, CLASSES), labels, CLASSES)
    return [(t.given, t.other, t.count, t.p_value) for t in tests]


def test_relabelled_records_stand_out_and_point_back() -> None:
    features, labels = clusters(0)
    relabelled = np.flatnonzero(labels == 2)[:15]
    labels[relabelled] = 4
    votes = vote(nearest(features, 64).indices, labels, CLASSES)
    assert (votes.margin[relabelled] >= FIRM).all()
    assert (votes.other[relabelled] == 2).all()
    rest = np.setdiff1d(np.arange(len(labels)), relabelled)
    assert (votes.margin[rest] < FIRM).mean() > 0.99
    first, *others = pair_tests(votes, labels, CLASSES)
    assert (first.given, first.other, first.count) == (4, 2, 15)
    assert first.p_value < 1e-4
    assert min(test.p_value for test in others) > 0.01


@pytest.mark.parametrize("seed", range(5))
def test_symmetric_confusion_is_no_finding(seed: int) -> None:
    features, labels = clusters(seed, spread=0.3)
    rng = np.random.default_rng(seed)
    noisy = rng.choice(len(labels), len(labels) // 20, replace=False)  # honest label noise in all directions
    labels[noisy] = rng.integers(0, CLASSES, len(noisy))
    assert min(p for *_, p in found_in(features, labels)) > 0.01


def test_two_classes_that_overlap_in_both_directions_are_no_finding() -> None:
    features, labels = clusters(3)
    for given, other in ((0, 1), (1, 0)):
        labels[np.flatnonzero(labels == given)[:12]] = other
    # the swap cancels: as many zeros lie among the ones as the other way round
    assert min(p for *_, p in found_in(features, labels)) > 0.01


def test_the_order_of_records_does_not_matter() -> None:
    features, labels = clusters(1)
    labels[np.flatnonzero(labels == 0)[:9]] = 3
    order = np.random.default_rng(0).permutation(len(labels))
    votes = vote(nearest(features, 64).indices, labels, CLASSES)
    again = vote(nearest(features[order], 64).indices, labels[order], CLASSES)
    np.testing.assert_allclose(again.margin, votes.margin[order], atol=1e-6)
    np.testing.assert_array_equal(again.other, votes.other[order])
    assert found_in(features, labels) == found_in(features[order], labels[order])


def test_the_names_of_labels_do_not_matter() -> None:
    features, labels = clusters(1)
    labels[np.flatnonzero(labels == 0)[:9]] = 3
    names = np.array([4, 2, 0, 1, 3], dtype=np.int32)
    original = {(names[g], names[o]): (count, p) for g, o, count, p in found_in(features, labels)}
    renamed = {(g, o): (count, p) for g, o, count, p in found_in(features, names[labels])}
    assert renamed == original


def test_two_classes_and_few_records() -> None:
    features, labels = clusters(0)
    few = np.r_[0:6, EACH : EACH + 6]
    neighbours = nearest(features[few], 11).indices
    votes = vote(neighbours, labels[few], 2)
    assert np.isfinite(votes.margin).all()
    assert {(t.given, t.other) for t in pair_tests(votes, labels[few], 2)} == {(0, 1), (1, 0)}


def test_records_of_every_class_moved_to_one_stand_out_together() -> None:
    features, labels = clusters(0)
    moved = np.random.default_rng(0).choice(np.flatnonzero(labels != 4), 24, replace=False)
    labels[moved] = 4
    votes = vote(nearest(features, 64).indices, labels, CLASSES)
    first, *others = inflow_tests(votes, labels, CLASSES)
    assert first.given == 4
    assert first.count >= 20
    assert first.p_value < 1e-6
    assert all(test.p_value > 0.01 for test in others)
    flagged = (labels == 4) & (votes.margin > margin_of_poison(votes, labels, 4))
    assert flagged[moved].mean() >= 0.95
    assert np.delete(flagged, moved).mean() <= 0.005


@pytest.mark.parametrize("seed", range(10))
def test_label_noise_that_strikes_all_classes_is_no_inflow(seed: int) -> None:
    features, labels = clusters(seed, spread=0.2)
    rng = np.random.default_rng(seed)
    noisy = rng.choice(len(labels), len(labels) // 20, replace=False)
    labels[noisy] = (labels[noisy] + rng.integers(1, CLASSES, len(noisy))) % CLASSES
    tests = inflow_tests(vote(nearest(features, 64).indices, labels, CLASSES), labels, CLASSES)
    assert min(test.p_value for test in tests) > 0.01


def test_a_class_that_looks_like_the_others_is_no_inflow() -> None:
    features, labels = clusters(2)
    blurred = labels == 3
    rng = np.random.default_rng(2)
    features[blurred] = (
        np.eye(CLASSES, 16)[rng.integers(0, CLASSES, blurred.sum())] * 0.5 + np.eye(CLASSES, 16)[3] * 0.5
    )
    features[blurred] += rng.normal(0, 0.12, (int(blurred.sum()), 16)).astype(np.float32)
    tests = inflow_tests(vote(nearest(features, 64).indices, labels, CLASSES), labels, CLASSES)
    assert min((test.p_value for test in tests), default=1.0) > 0.01


def alone(rows: NDArray[np.int64]) -> int:
    return len(rows)


def foreign_mask(n: int, *rows: int) -> NDArray[np.bool_]:
    mask = np.zeros(n, dtype=bool)
    mask[list(rows)] = True
    return mask


def test_members_of_whom_none_looks_foreign_are_no_evidence() -> None:
    foreign = foreign_mask(100, *range(50, 90))
    assert foreign_p(np.arange(10), np.arange(50), foreign, alone) == 1.0


def test_the_chance_that_members_look_foreign_is_the_binomial_tail() -> None:
    # 4 members, 3 of them foreign; of the 40 others of the label 10 are: P(at least 3 of 4) at 1/4 = (12 + 1) / 256
    foreign = foreign_mask(200, 0, 1, 2, *range(4, 14))
    assert foreign.mean() < 0.25
    assert foreign_p(np.arange(4), np.arange(44), foreign, alone) == pytest.approx(13 / 256)


def test_members_do_not_count_among_the_others_of_their_label() -> None:
    foreign = foreign_mask(1000, *range(8))
    p = foreign_p(np.arange(8), np.arange(16), foreign, alone)
    assert p == pytest.approx(
        0.008**8
    )  # half of the label is foreign, but those are the members: the rate is 8 in 1000


def test_members_that_are_the_whole_label_are_held_against_all_records() -> None:
    foreign = foreign_mask(100, *range(4), *range(50, 66))
    assert foreign_p(np.arange(4), np.arange(4), foreign, alone) == pytest.approx(0.2**4)


def test_a_label_whose_others_look_foreign_too_is_no_evidence() -> None:
    foreign = foreign_mask(1000, *range(60))
    assert foreign_p(np.arange(10), np.arange(60), foreign, alone) == 1.0
    assert (
        foreign_p(np.arange(10), np.r_[0:10, 500:550], foreign, alone) < 1e-9
    )  # the same under another label


def test_near_duplicates_that_look_foreign_count_once() -> None:
    foreign = foreign_mask(200, *range(6), *range(8, 18))
    track = np.r_[np.zeros(5, dtype=np.int64), 1 : 200 - 4]  # the first five records are one

    def independent(rows: NDArray[np.int64]) -> int:
        return len(np.unique(track[rows]))

    members, of_label = np.arange(8), np.arange(48)
    # 4 independent members (0, 5, 6, 7), 2 of them foreign; 10 of the 40 others are: P(at least 2 of 4) at 1/4
    assert foreign_p(members, of_label, foreign, independent) == pytest.approx((54 + 12 + 1) / 256)
    assert foreign_p(members, of_label, foreign, independent) > foreign_p(members, of_label, foreign, alone)


def test_right_looking_frames_that_link_foreign_ones_do_not_make_them_certain_poison() -> None:
    # a chain of frames a - b - c is one observation, of which a and c look foreign: two without b between them
    thumbs = np.array([[1, 0], [0.94, 0.342], [0.77, 0.64]], dtype=np.float32)
    independent = by_likeness(np.concatenate([thumbs, np.zeros((97, 2), dtype=np.float32)]))
    assert independent(np.arange(3)) == 1
    assert independent(np.array([0, 2])) == 2
    foreign = foreign_mask(100, 0, 2, *range(50, 60))
    assert foreign_p(np.arange(3), np.arange(50), foreign, independent) > 0.01


@pytest.mark.parametrize("rate", [0.02, 0.2])
def test_chosen_at_random_they_look_foreign_as_seldom_as_the_chance_says(rate: float) -> None:
    rng = np.random.default_rng(0)
    runs, alpha, alarms = 1000, 0.05, 0
    for _ in range(runs):
        foreign = rng.random(1000) < rate
        members = rng.choice(200, 12, replace=False)
        alarms += foreign_p(members, np.arange(200), foreign, alone) <= alpha
    assert 0 < alarms / runs <= alpha + 3 * np.sqrt(alpha * (1 - alpha) / runs)
