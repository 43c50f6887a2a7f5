from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from bezoar.scan.functional.spectral_signatures import spectral_signatures


def test_whitening_sees_a_weak_common_direction_below_the_natural_ones() -> None:
    rng = np.random.default_rng(0)
    natural = np.diag(np.linspace(6, 0.3, 32))
    features, labels = rng.normal(size=(4000, 32)) @ natural, np.arange(4000) % 4
    planted = np.zeros(4000, bool)
    planted[np.flatnonzero(labels == 1)[:30]] = True  # 3 % of one class
    features[planted, 28:] += 2.5
    score = spectral_signatures(features, labels)
    ours = labels == 1
    assert roc_auc_score(planted[ours], score[ours]) > 0.99
    centered = features[ours] - features[ours].mean(axis=0)
    published = (centered @ np.linalg.svd(centered, full_matrices=False)[2][0]) ** 2
    assert roc_auc_score(planted[ours], published) < 0.7


def test_tiny_classes_and_constant_features_score_nothing() -> None:
    np.testing.assert_array_equal(spectral_signatures(np.eye(4), np.array([0, 0, 1, 2])), 0.0)
    np.testing.assert_array_equal(spectral_signatures(np.ones((9, 3)), np.zeros(9, int)), 0.0)


def test_what_is_not_a_number_is_refused() -> None:
    with pytest.raises(ValueError, match="NaN or infinite"):
        spectral_signatures(np.array([[1.0], [np.nan]]), np.zeros(2, int))
