from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from bezoar.scan.functional.disagreement import FIRM, inflow_tests, margin_of_poison, pair_tests, vote
from bezoar.scan.functional.neighbours import nearest

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
