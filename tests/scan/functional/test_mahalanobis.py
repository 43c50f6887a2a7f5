from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from bezoar.scan.functional.mahalanobis import benjamini_hochberg, log_distances, outlier_p_values


def gaussian(seed: int, n: int = 1200, d: int = 80) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Three classes with one covariance, (n, d) and labels (n,)."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, n).astype(np.int32)
    means, mixing = rng.normal(0, 4, (3, d)), rng.normal(0, 1, (d, d))
    return (means[labels] + rng.normal(0, 1, (n, d)) @ mixing).astype(np.float32), labels


def test_a_planted_outlier_is_the_most_significant() -> None:
    features, labels = gaussian(0)
    spread = features.std(axis=0)
    features[17] += 8 * spread * np.sign(np.random.default_rng(1).normal(size=features.shape[1]))
    p = outlier_p_values(log_distances(features, labels), labels)
    assert p.argmin() == 17
    assert benjamini_hochberg(p, 0.01)[17]


@pytest.mark.parametrize("seed", range(3))
def test_few_are_rejected_where_nothing_is_odd(seed: int) -> None:
    features, labels = gaussian(seed)
    p = outlier_p_values(log_distances(features, labels), labels)
    assert ((p >= 0) & (p <= 1)).all()
    assert benjamini_hochberg(p, 0.01).mean() <= 0.002
    assert (p < 0.05).mean() <= 0.07


def test_neither_order_nor_input_is_changed() -> None:
    features, labels = gaussian(2, 300, 20)
    before = features.copy()
    order = np.random.default_rng(0).permutation(len(labels))
    distances = log_distances(features, labels)
    np.testing.assert_array_equal(features, before)
    np.testing.assert_allclose(log_distances(features[order], labels[order]), distances[order], atol=1e-3)


def test_features_without_variance_do_no_harm() -> None:
    labels = np.array([0, 0, 1, 1], np.int32)
    p = outlier_p_values(log_distances(np.ones((4, 3), np.float32), labels), labels)
    assert np.isfinite(p).all()
    assert not benjamini_hochberg(p, 0.01).any()


@pytest.mark.parametrize("q", [0.01, 0.05, 0.2])
@pytest.mark.parametrize("seed", range(4))
def test_benjamini_hochberg_agrees_with_scipy(q: float, seed: int) -> None:
    from scipy.stats import false_discovery_control

    rng = np.random.default_rng(seed)
    p = np.r_[rng.uniform(0, 1, 400), rng.uniform(0, 0.002, 40)]
    np.testing.assert_array_equal(benjamini_hochberg(p, q), false_discovery_control(p) <= q)


def test_benjamini_hochberg_of_nothing_significant() -> None:
    assert not benjamini_hochberg(np.linspace(0.1, 1, 50), 0.01).any()
