from __future__ import annotations

import time

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from bezoar.scan.functional.scan_decomposition import scan_decomposition

Features, Labels = NDArray[np.float64], NDArray[np.int64]
CLASSES, CONTAMINATED, D = 8, 2, 48
SPREAD = np.linspace(4, 0.3, D)  # standard deviations within every class


def two_identities(
    seed: int, share: float, distance: float = 4.5, n: int = 2400
) -> tuple[Features, Labels, NDArray[np.bool_]]:
    """Classes of one covariance; `share` of one class lies `distance` standard deviations off, in a random direction."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, n)
    features = 3 * rng.normal(size=(CLASSES, D))[labels] + rng.normal(size=(n, D)) * SPREAD
    ours = np.flatnonzero(labels == CONTAMINATED)
    planted = np.zeros(n, bool)
    planted[ours[: round(share * len(ours))]] = True
    direction = rng.normal(size=D)
    features[planted] += distance * SPREAD * direction / np.linalg.norm(direction)
    return features, labels, planted


@pytest.mark.parametrize("share", [0.05, 0.2])
@pytest.mark.parametrize("seed", range(3))
def test_the_contaminated_class_and_its_planted_records_stand_out(seed: int, share: float) -> None:
    features, labels, planted = two_identities(seed, share)
    found = scan_decomposition(features, labels)
    others = np.delete(found.statistic, CONTAMINATED)
    assert found.statistic[CONTAMINATED] > 2 * others.max()
    assert found.share[CONTAMINATED] == pytest.approx(share, abs=0.03)
    ours = labels == CONTAMINATED
    assert roc_auc_score(planted[ours], found.scores[ours]) > 0.97
    assert roc_auc_score(planted, found.scores) > 0.94


def test_neither_large_nor_tiny_classes_tend_to_be_suspicious() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(12), [15, 20, 30, 40, 60, 80, 120, 200, 300, 400, 600, 1200])
    statistic = np.array(
        [
            scan_decomposition(rng.normal(size=(len(labels), 20)) * np.linspace(1, 5, 20), labels).statistic
            for _ in range(12)
        ]
    )
    assert np.abs(np.median(statistic, axis=0)).max() < 1.5


def test_honest_classes_that_are_not_gaussian_raise_each_other() -> None:
    features, labels, _ = two_identities(0, 0.1, distance=12)
    rng = np.random.default_rng(1)
    features *= rng.gamma(4, 0.25, (len(features), 1)) ** 0.5  # heavy tails, in every class
    statistic = scan_decomposition(features, labels).statistic
    assert statistic.argmax() == CONTAMINATED
    assert np.median(np.abs(np.delete(statistic, CONTAMINATED))) < 2


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_the_records_is_of_no_consequence(seed: int) -> None:
    features, labels, _ = two_identities(seed, 0.1)
    order = np.random.default_rng(9).permutation(len(labels))
    one, other = scan_decomposition(features, labels), scan_decomposition(features[order], labels[order])
    np.testing.assert_allclose(other.scores, one.scores[order], rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(other.statistic, one.statistic, rtol=1e-3, atol=1e-3)


def test_the_same_input_gives_the_same_and_is_not_changed() -> None:
    features, labels, _ = two_identities(0, 0.1)
    before = features.copy()
    one, other = scan_decomposition(features, labels), scan_decomposition(features, labels)
    np.testing.assert_array_equal(one.scores, other.scores)
    np.testing.assert_array_equal(features, before)


def test_what_the_labels_are_called_is_of_no_consequence() -> None:
    features, labels, _ = two_identities(0, 0.1)
    found = scan_decomposition(features, 700 - 100 * labels)
    np.testing.assert_array_equal(found.labels, np.unique(700 - 100 * labels))
    np.testing.assert_allclose(found.statistic[::-1], scan_decomposition(features, labels).statistic)


def test_tiny_classes_are_not_split() -> None:
    features, labels, _ = two_identities(0, 0.1)
    labels[:9], labels[9], labels[10:12] = 50, 51, 52
    found = scan_decomposition(features, labels)
    np.testing.assert_array_equal(found.statistic[-3:], 0)
    np.testing.assert_array_equal(found.scores[:12], 0)
    assert np.isfinite(found.scores).all()
    np.testing.assert_array_equal(scan_decomposition(np.eye(4), np.array([0, 0, 1, 2])).scores, 0)


def test_one_outlier_is_no_group() -> None:
    features, labels, _ = two_identities(0, 0)
    features[np.flatnonzero(labels == 1)[0]] += 40 * SPREAD
    found = scan_decomposition(features, labels)
    assert found.statistic[1] < 5


def test_constant_features_have_one_group() -> None:
    for features in (np.ones((60, 3)), np.zeros((60, 3))):
        found = scan_decomposition(features, np.arange(60) % 2)
        np.testing.assert_array_equal(found.scores, 0)
        np.testing.assert_array_equal(found.statistic, 0)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_a_number_is_refused(value: float) -> None:
    features = np.ones((20, 2))
    features[13, 1] = value
    with pytest.raises(ValueError, match="NaN or infinite"):
        scan_decomposition(features, np.zeros(20, int))


@pytest.mark.slow
def test_fifty_thousand_records_take_seconds() -> None:
    rng = np.random.default_rng(0)
    features, labels = rng.normal(size=(50_000, 128)).astype(np.float32), rng.integers(0, 43, 50_000)
    start = time.process_time()
    scan_decomposition(features, labels)
    assert time.process_time() - start < 20  # 1.6 on one core


def test_the_training_view_scores_what_each_of_its_networks_saw_by_itself() -> None:
    from bezoar.models.dynamics import Dynamics
    from bezoar.scan.training_view import layer_scores

    features, labels, planted = two_identities(0, 0.2)
    half = np.random.default_rng(5).random(len(labels)) < 0.5
    other_space = features.copy()
    other_space[half] = 3 * other_space[half][:, ::-1] + 40  # what another network calls the same
    none = np.zeros(len(labels), np.float32)
    learned = [
        Dynamics(
            none[:, None], none[:, None], rows.astype(np.float32), features.astype(np.float32), none, none
        )
        for rows in (features, other_space)
    ]
    one, other = (layer_scores(each, labels.astype(np.int32), half) for each in learned)
    assert sorted(one) == [
        f"training_{name}" for name in ("scan", "scan_pooled", "spectral", "spectral_pooled")
    ]
    for name, scores in one.items():
        np.testing.assert_allclose(other[name], scores, rtol=0.02, atol=0.02)
        assert roc_auc_score(planted, scores) > 0.9
