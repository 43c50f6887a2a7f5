"""Discovery sampling: the sizes are the smallest that keep the promise, by exact arithmetic and by trial."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bezoar.custody.audit.sampling import draw, intolerable, miss, plan
from bezoar.errors import UsageError


def exact_miss(population: int, errors: int, size: int) -> Fraction:
    return Fraction(math.comb(population - errors, size), math.comb(population, size))


@given(
    st.integers(1, 3000),
    st.sampled_from([Fraction(1, 2), Fraction(9, 10), Fraction(19, 20), Fraction(99, 100)]),
    st.sampled_from([Fraction(0), Fraction(1, 1000), Fraction(1, 100), Fraction(1, 20)]),
)
def test_the_size_is_the_smallest_that_serves(
    population: int, confidence: Fraction, tolerable: Fraction
) -> None:
    found = plan(population, float(confidence), float(tolerable))
    errors = min(population, population * tolerable.numerator // tolerable.denominator + 1)
    assert found.errors == errors
    assert exact_miss(population, errors, found.size) <= 1 - confidence + Fraction(1, 10**8)
    assert found.size == 0 or exact_miss(population, errors, found.size - 1) > 1 - confidence


def test_sizes_known_from_the_tables() -> None:
    """About 3 / rate at 95 % and 4.6 / rate at 99 % for large populations."""
    assert plan(10_000_000, 0.95, 0.01).size == 299
    assert plan(10_000_000, 0.99, 0.01).size == 459
    assert plan(10_000_000, 0.95, 0.05).size == 59
    assert plan(100, 0.95, 0).size == 95
    assert plan(0, 0.95, 0.01).size == 0
    assert plan(1, 0.95, 0.01).size == 1


def test_what_is_promised_is_kept_in_trials() -> None:
    population, rng = 400, np.random.default_rng(0)
    sample = plan(population, 0.9, 0.02)
    caught = 0
    for trial in range(1000):
        wrong = rng.choice(population, intolerable(population, 0.02), replace=False)
        caught += bool(np.isin(draw(population, sample.size, trial), wrong).any())
    assert 0.9 - 0.03 <= caught / 1000 <= 0.94


def test_a_draw_is_different_records_in_order_and_comes_again() -> None:
    drawn = draw(1000, 100, 5)
    assert (np.diff(drawn) > 0).all()
    assert 0 <= drawn[0] <= drawn[-1] < 1000
    assert (drawn == draw(1000, 100, 5)).all()
    assert not (drawn == draw(1000, 100, 6)).all()
    assert draw(5, 5, 1).tolist() == [0, 1, 2, 3, 4]
    assert draw(5, 0, 1).tolist() == []


def test_miss_at_the_edges() -> None:
    assert miss(10, 1, 10) == 0
    assert miss(10, 10, 1) == 0
    assert miss(10, 3, 0) == 1


@pytest.mark.parametrize(
    ("confidence", "tolerable"), [(0, 0.1), (1, 0.1), (0.5, 1), (0.5, -0.1), (math.nan, 0.1), (0.5, math.nan)]
)
def test_impossible_plans(confidence: float, tolerable: float) -> None:
    with pytest.raises(UsageError):
        plan(100, confidence, tolerable)
