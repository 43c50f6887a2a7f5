from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bezoar.bench.statistics import auroc, auroc_over_trials, clopper_pearson, over_trials, wilson


def test_wilson_against_published_values() -> None:
    # Newcombe, Statistics in Medicine 17:857 (1998), table I, method 3
    share = wilson(81, 263)
    assert (round(share.low, 4), round(share.high, 4)) == (0.2553, 0.3662)
    share = wilson(0, 20)
    assert (share.low, round(share.high, 4)) == (0.0, 0.1611)


def test_clopper_pearson_against_published_values() -> None:
    # the same table, method 5
    share = clopper_pearson(81, 263)
    assert (round(share.low, 4), round(share.high, 4)) == (0.2527, 0.3676)
    assert round(clopper_pearson(0, 20).high, 4) == 0.1684


@given(st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_exact_interval_holds_the_share(counts: tuple[int, int]) -> None:
    for share in (wilson(*counts), clopper_pearson(*counts)):
        assert 0 <= share.low <= share.value <= share.high <= 1


def test_nothing_counted_is_nan() -> None:
    for share in (wilson(0, 0), clopper_pearson(0, 0), over_trials([], []), over_trials([0], [0])):
        assert np.isnan(share.value)
        assert share.n == 0


def test_more_successes_than_trials() -> None:
    with pytest.raises(ValueError, match="3 successes in 2 trials"):
        wilson(3, 2)


def test_over_trials_weighs_records_and_resamples_trials() -> None:
    share = over_trials([10, 0, 5], [10, 10, 5])
    assert share.value == pytest.approx(0.6)
    assert (share.low, share.high, share.n) == (0.0, 1.0, 3)
    agreed = over_trials([5, 10], [10, 20])
    assert (agreed.low, agreed.high) == (0.5, 0.5)


def test_auroc() -> None:
    scores = np.array([0.1, 0.2, 0.3, np.nan])
    assert auroc(scores, np.array([False, False, True, False])) == 1.0
    assert auroc(scores, np.array([False, False, False, True])) == 0.0  # no score ranks lowest
    assert auroc(np.zeros(4), np.array([True, False, True, False])) == 0.5
    assert auroc(scores, np.ones(4, bool)) is None


def test_auroc_over_trials_counts_pairs_and_covers_what_it_estimates() -> None:
    share = auroc_over_trials([3, 2, 2, 1], [0, 2])
    assert share.value == auroc(np.array([3.0, 2, 2, 1, 0, 2]), np.array([True] * 4 + [False] * 2))
    assert share.n == 4
    assert share.low <= share.value <= share.high
    assert auroc_over_trials([1, 2], [0, 0]).low == 1
    assert np.isnan(auroc_over_trials([], [1]).value)
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(60):  # normal scores one apart: the true AUROC is Phi(1 / sqrt 2)
        drawn = auroc_over_trials(rng.normal(1, 1, 40), rng.normal(0, 1, 40))
        covered += drawn.low <= 0.7602 <= drawn.high
    assert covered >= 50
