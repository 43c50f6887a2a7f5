from __future__ import annotations

import numpy as np
import pytest

from bezoar.scan.functional.conformal import exceedance, foreignness


def test_foreignness_is_what_its_definition_says() -> None:
    rng = np.random.default_rng(0)
    unit = rng.standard_normal((40, 8)).astype(np.float32)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    labels = rng.integers(0, 3, 40).astype(np.int32)
    found = foreignness(unit[:10], labels[:10], unit[10:], labels[10:])
    for row in range(10):
        cosines = unit[10:] @ unit[row]
        means = [np.mean(np.sort(cosines[labels[10:] == k])[-5:]) for k in range(3)]
        own = means.pop(labels[row])
        assert found[row] == pytest.approx(max(means) - own, abs=1e-5)


def test_a_label_without_trusted_records_has_no_score() -> None:
    unit = np.eye(4, dtype=np.float32)
    scores = foreignness(unit, np.array([0, 1, 2, 0], np.int32), unit[:2], np.array([0, 1], np.int32))
    assert np.isnan(scores).tolist() == [False, False, True, False]
    assert np.isnan(foreignness(unit, np.zeros(4, np.int32), unit[:2], np.zeros(2, np.int32))).all()


def test_the_level_holds_exactly_under_exchangeability() -> None:
    rng = np.random.default_rng(1)
    p = np.array([exceedance(rng.standard_normal(300), rng.standard_normal(80)).p_value for _ in range(4000)])
    for level in (0.01, 0.05, 0.2):
        assert (p <= level).mean() <= level + 3 * np.sqrt(level / 4000)


def test_planted_scores_are_found_and_flagged() -> None:
    rng = np.random.default_rng(2)
    suspects = np.r_[rng.standard_normal(500), rng.normal(6, 1, 40)]
    found = exceedance(suspects, rng.standard_normal(200))
    assert found.p_value < 1e-4
    flagged = suspects > found.threshold
    assert flagged[500:].mean() >= 0.95
    assert flagged[:500].mean() <= 0.02  # in the rejected label


def test_near_duplicates_are_one_observation() -> None:
    rng = np.random.default_rng(3)
    suspects = np.r_[rng.standard_normal(500), np.full(15, 6.0)]
    groups = np.r_[np.arange(500), np.full(15, 500)]
    assert exceedance(suspects, rng.standard_normal(200), groups).p_value > 0.05
