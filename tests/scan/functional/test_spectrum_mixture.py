from __future__ import annotations

import numpy as np
import pytest

from bezoar.scan.functional.spectrum_mixture import (
    Wave,
    along_wave,
    bounded,
    groups,
    modes,
    products,
    settled,
    shares,
)

N, D = 300, 200


def waves(rng: np.random.Generator, n: int = 20) -> np.ndarray:
    """Pairs of orthogonal directions (n, 2, D)."""
    return np.linalg.qr(rng.normal(size=(D, 2 * n)))[0].T.reshape(n, 2, D).astype(np.float32)


def natural(seed: int) -> np.ndarray:
    """Rows (N, D) with directions of more variance and of heavier tails, but one mode."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(N, D))
    rows[:, :10] *= 3
    rows[:, 10:20] = rng.laplace(size=(N, 10))
    rows[:, 20:25] = rng.exponential(size=(N, 5))
    return rows.astype(np.float32)


def everyone(rows: np.ndarray) -> int:
    return len(rows)


@pytest.mark.parametrize("seed", range(5))
def test_nothing_in_records_that_vary_by_degrees(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = bounded(natural(seed))
    found, tests = modes(rows, products(rows), waves(rng), everyone, rng)
    assert tests > 0
    assert min((mode.log_p for mode in found), default=0.0) + np.log(tests) > np.log(0.01)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("carriers", "strength"), [(14, 20.0), (60, 10.0)])
def test_a_shared_signal_is_found_and_its_carriers_with_it(seed: int, carriers: int, strength: float) -> None:
    rng = np.random.default_rng(seed)
    rows = natural(seed)
    signal = rng.normal(size=D)
    rows[:carriers] += (strength * signal / np.linalg.norm(signal)).astype(np.float32)
    rows = bounded(rows)
    found, tests = modes(rows, products(rows), waves(rng), everyone, rng)
    best = found[0]
    assert best.log_p + np.log(tests) < np.log(1e-3)
    start = np.zeros(N, dtype=bool)
    start[np.r_[best.members, best.carriers]] = True
    carries = settled(rows, start)
    assert carries[:carriers].mean() >= 0.95
    assert carries[carriers:].mean() <= 0.01


def test_a_wave_is_found_where_a_mean_of_its_carriers_drowns_in_noise() -> None:
    rng = np.random.default_rng(0)
    rows, pairs = natural(0), waves(rng)
    rows[:40] += 7 * pairs[7, 1]
    rows = bounded(rows)
    found, tests = modes(rows, products(rows), pairs, everyone, rng)
    wave = next(mode for mode in found if mode.wave is not None)
    assert wave.wave is not None
    assert wave.wave.pair == 7
    assert wave.log_p + np.log(tests) < np.log(0.01)


def test_a_wave_that_comes_at_opposite_phases_is_no_mode() -> None:
    rng = np.random.default_rng(0)
    rows, pairs = natural(0), waves(rng)
    rows[:40] += 7 * pairs[7, 1]
    rows[40:80] -= 7 * pairs[7, 1]
    rows = bounded(rows)
    found, tests = modes(rows, products(rows), pairs, everyone, rng)
    of_waves = [mode.log_p for mode in found if mode.wave is not None]
    assert min(of_waves, default=0.0) + np.log(tests) > np.log(0.01)


def test_carriers_of_a_wave_are_told_by_it() -> None:
    rng = np.random.default_rng(0)
    rows, pairs = natural(0), waves(rng)
    rows[:40] += 9 * pairs[7, 1]
    start = np.zeros(N, dtype=bool)
    start[:20] = True
    carries = along_wave(rows, pairs, Wave(7, np.pi / 2), start)
    assert carries[:40].all()
    assert carries[40:].mean() < 0.01


def test_copies_of_few_records_count_as_few() -> None:
    rng = np.random.default_rng(0)
    rows = natural(0)
    rows[:30] = rows[rng.integers(30, 33, 30)] * 1.01  # thirty copies of three records
    source = np.arange(N)
    source[:30] = 30
    rows = bounded(rows)
    found, _ = modes(rows, products(rows), waves(rng), lambda some: len(np.unique(source[some])), rng)
    assert all(mode.independent < 5 for mode in found if mode.log_p < np.log(1e-6))


def test_a_template_leaves_out_the_record_that_it_judges() -> None:
    rows = np.random.default_rng(0).normal(size=(30, 8)).astype(np.float32)
    carriers = np.arange(30) < 5
    rows[carriers] += 2
    score = np.empty(30)
    for i in range(30):
        others = carriers & (np.arange(30) != i)
        score[i] = rows[i] @ rows[others].mean(axis=0)
    middle, mode = np.median(score[5:]), np.median(score[:5])
    np.testing.assert_allclose(shares(rows, carriers), (score - middle) / (mode - middle), atol=1e-4)


def test_few_records_are_not_searched() -> None:
    rng = np.random.default_rng(0)
    rows = bounded(natural(0)[:6])
    assert modes(rows, products(rows), waves(rng), everyone, rng) == ([], 0)


def planted(seed: int, carriers: int = 20, n: int = 200, strength: float = 12.0) -> np.ndarray:
    """Gaussian rows (n, D) of which the first `carriers` share one additive template."""
    rng = np.random.default_rng(seed)
    template = rng.normal(size=D)
    rows = rng.normal(size=(n, D))
    rows[:carriers] += strength * template / np.linalg.norm(template)
    return rows.astype(np.float32)


def gap_of(rows: np.ndarray, group: np.ndarray) -> int:
    """Rows between the group and the others, along the group's template."""
    share = shares(rows, group)
    return int(((share > 0.35) & (share <= 0.65)).sum())


@pytest.mark.parametrize("seed", range(3))
def test_the_carriers_of_a_template_are_a_group_with_nothing_in_the_gap(seed: int) -> None:
    rows = bounded(planted(seed))
    apart = [
        group for group in groups(products(rows), np.random.default_rng(seed)) if not gap_of(rows, group)
    ]
    assert len(apart) == 1
    np.testing.assert_array_equal(np.flatnonzero(apart[0]), np.arange(20))


@pytest.mark.parametrize("seed", range(3))
def test_rows_that_vary_by_degrees_hold_no_group_behind_an_empty_gap(seed: int) -> None:
    rows = bounded(planted(seed, 0))
    found = groups(products(rows), np.random.default_rng(seed))
    assert found
    for group in found:
        assert gap_of(rows, group) > 0.05 * group.sum()  # parts of a cloud: many rows stand between them


def test_groups_are_distinct_and_few_rows_hold_none() -> None:
    rows = bounded(planted(0))
    found = groups(products(rows), np.random.default_rng(0))
    for i, one in enumerate(found):
        for other in found[:i]:
            assert (one & other).sum() < 0.8 * (one | other).sum()
    assert groups(products(rows[:15]), np.random.default_rng(0)) == []


def test_identical_records_end_no_search() -> None:
    rows = natural(0)
    rows[: N // 2] = 0.0  # as black images, which are their own mean once the others' is taken away
    rows[N // 2 :] -= rows[N // 2 :].mean(axis=0)
    assert all(
        4 <= group.sum() <= 0.6 * N for group in groups(products(bounded(rows)), np.random.default_rng(0))
    )
    nothing = np.zeros((N, D), dtype=np.float32)
    assert (
        modes(
            nothing, products(nothing), waves(np.random.default_rng(0)), everyone, np.random.default_rng(0)
        )[0]
        == []
    )
