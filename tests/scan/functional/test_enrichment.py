from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy.stats import hypergeom

from bezoar.scan.functional.enrichment import enrichment


def test_one_stratum_is_fishers_exact_test() -> None:
    sources = np.repeat([0, 1, 2], [10, 30, 60])
    suspect = np.zeros(100, dtype=bool)
    suspect[[0, 1, 2, 3, 20, 50]] = True
    result = enrichment(sources, np.zeros(100, np.int64), suspect, 3)
    assert result.records.tolist() == [10, 30, 60]
    assert result.suspects.tolist() == [4, 1, 1]
    np.testing.assert_allclose(result.expected, [0.6, 1.8, 3.6])
    np.testing.assert_allclose(result.p_values, hypergeom.sf([3, 0, 0], 100, [10, 30, 60], 6))


def test_strata_are_exact_by_enumeration() -> None:
    """Every way to draw 2 of 5 and 3 of 6 records, counted one by one."""
    first, second = [1, 1, 0, 0, 0], [1, 1, 1, 1, 0, 0]
    ways = [
        sum(first[i] for i in a) + sum(second[i] for i in b)
        for a in combinations(range(5), 2)
        for b in combinations(range(6), 3)
    ]
    sources = np.array(first + second)
    strata = np.array([7] * 5 + [-1] * 6)
    for chosen in ([0, 1, 5, 6, 7], [0, 2, 5, 6, 9], [3, 4, 5, 9, 10]):
        suspect = np.zeros(11, dtype=bool)
        suspect[chosen] = True
        result = enrichment(sources, strata, suspect, 2)
        count = int(result.suspects[1])
        assert result.p_values[1] == pytest.approx(np.mean([way >= count for way in ways]))
        assert result.expected[1] == pytest.approx(np.mean(ways))


def test_a_source_of_one_label_is_not_blamed_for_its_label() -> None:
    labels = np.repeat([0, 1], 500)
    sources = labels.copy()  # each label has its own site
    suspect = np.zeros(1000, dtype=bool)
    suspect[:40] = True
    assert enrichment(sources, labels, suspect, 2).p_values[0] == pytest.approx(1.0)
    assert enrichment(sources, np.zeros(1000, np.int64), suspect, 2).p_values[0] < 1e-10


def test_holds_its_level_where_suspects_are_drawn_at_random() -> None:
    rng = np.random.default_rng(0)
    small = []
    for _ in range(200):
        labels = rng.integers(0, 4, 800)
        sources = rng.choice(20, 800, p=np.arange(1, 21) / 210) - 1  # source -1: not known
        suspect = rng.random(800) < 0.05 + 0.05 * labels
        small += (enrichment(sources, labels, suspect, 19).p_values <= 0.05).tolist()
    assert 0.005 < np.mean(small) <= 0.05


def test_tiny_tails_keep_their_digits() -> None:
    sources = np.repeat([0, 1], [60, 50_000])
    strata = np.arange(50_060) % 3
    result = enrichment(sources, strata, sources == 0, 2)
    assert 0 < result.p_values[0] < 1e-150


def test_nothing_suspect_and_nothing_known() -> None:
    none = np.zeros(10, dtype=bool)
    unknown = np.full(10, -1)
    assert enrichment(np.zeros(10, np.int64), np.arange(10), none, 1).p_values.tolist() == [1.0]
    assert enrichment(unknown, np.arange(10), ~none, 0).p_values.size == 0
