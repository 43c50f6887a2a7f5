from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from bezoar.scan.functional.counts import FEW, excess, family_wise, null_of, tail_of


def test_excess_is_about_standard_normal_on_poisson_counts() -> None:
    rng = np.random.default_rng(0)
    z = excess(rng.poisson(30.0, 20_000).astype(float), 30.0)
    assert z.min() == 0
    for level in (1.0, 2.0, 3.0):
        assert (z > level).mean() == pytest.approx(norm.sf(level), abs=0.01)


@pytest.mark.parametrize("spread", [1.0, 1.7], ids=["poisson", "overdispersed"])
def test_false_alarms_stay_below_alpha(spread: float) -> None:
    rng = np.random.default_rng(1)
    runs, alpha = 600, 0.05
    alarms = 0
    for _ in range(runs):
        count = rng.poisson(8.0, 500).astype(float)
        noise = rng.normal(0, np.sqrt(spread**2 - 1), 500)
        z = np.maximum(0, excess(count, 0.0) + noise)
        alarms += family_wise(z).min() <= alpha
    assert alarms / runs <= alpha + 3 * np.sqrt(alpha * (1 - alpha) / runs)


def test_a_planted_count_is_found_and_a_few_do_not_hide_each_other() -> None:
    rng = np.random.default_rng(2)
    z = excess(rng.poisson(4.0, 900).astype(float), rng.poisson(4.0, 900).astype(float))
    z[:9] = excess(np.full(9, 60.0), 4.0)
    p = family_wise(z)
    assert p[:9].max() < 0.001
    assert p[9:].min() > 0.01


def test_more_tests_cost_power_in_proportion() -> None:
    z = np.r_[np.zeros(50), 5.0]
    assert family_wise(z, 1000)[-1] == pytest.approx(family_wise(z)[-1] * 1000 / 51)
    assert family_wise(z, 10**12).max() == 1.0


def test_few_values_use_the_poisson_null() -> None:
    z = np.zeros(FEW - 1)
    z[0] = 6.0
    assert null_of(z) == (0.0, 1.0)
    assert family_wise(z)[0] < 1e-6
    assert null_of(np.full(FEW, 3.0)) == (3.0, 1.0)  # quieter than Poisson: the spread stays at its unit


@pytest.mark.parametrize("decay", [0.5, 2.0])
def test_the_largest_of_an_exponential_tail_stands_clear_as_often_as_it_says(decay: float) -> None:
    rng = np.random.default_rng(5)
    runs, alpha = 4000, 0.05
    alarms = 0
    for _ in range(runs):
        counts = np.sort(rng.exponential(decay, 200))[::-1]
        alarms += tail_of(counts[1:]).p_value(counts[0]) <= alpha
    assert 0.01 <= alarms / runs <= alpha + 3 * np.sqrt(alpha * (1 - alpha) / runs)


def test_a_pattern_that_stands_clear_of_small_ones_is_seen() -> None:
    tail = tail_of(np.array([4.0, 3, 3, 3, 3, *[2.0] * 30]))
    assert tail.p_value(12) < 1e-3
    assert tail.p_value(5) > 0.05
    assert tail.p_value(3) == 1.0


def test_two_patterns_that_would_hide_each_other_stand_clear_together() -> None:
    tail = tail_of(np.array([4.0, 3, 3, 3, 3, *[2.0] * 30]))
    assert tail.p_value(12, together=2) < tail.p_value(12)
    assert tail_of(np.array([12.0, 4.0, 3, 3, 3, 3, *[2.0] * 30])).p_value(12) == 1.0


def test_long_tails_forgive_more() -> None:
    short, long = np.array([4.0, *[3.0] * 20]), np.array([9.0, 8, 7, 6, 5, *[3.0] * 16])
    assert tail_of(long).p_value(9 + 6) > 10 * tail_of(short).p_value(4 + 6)


def test_too_few_patterns_say_nothing_of_the_tail() -> None:
    tail = tail_of(np.array([3.0, 2, 2, 2, 2]))
    assert tail.p_value(1e6) == 1.0
