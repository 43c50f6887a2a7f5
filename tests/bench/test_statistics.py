from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bezoar.bench.statistics import auroc, clopper_pearson, over_trials, wilson


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
