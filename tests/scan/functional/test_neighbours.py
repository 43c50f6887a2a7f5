from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bezoar.scan.functional import neighbours
from bezoar.scan.functional.neighbours import nearest, unit_rows


def by_brute_force(features: NDArray[np.float32], k: int) -> NDArray[np.float64]:
    """Similarities (N, k) of the k nearest, in float64, largest first."""
    rows = features.astype(np.float64)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    cosines = rows @ rows.T
    np.fill_diagonal(cosines, -np.inf)
    return -np.sort(-cosines, axis=1)[:, :k]


def assert_exact(features: NDArray[np.float32], k: int) -> None:
    found = nearest(features, k)
    assert found.indices.shape == found.similarities.shape == (len(features), k)
    np.testing.assert_allclose(found.similarities, by_brute_force(features, k), atol=1e-5)
    unit = unit_rows(features)
    for row, columns in enumerate(found.indices):
        assert row not in columns
        assert len(set(columns.tolist())) == k
        np.testing.assert_allclose(unit[columns] @ unit[row], found.similarities[row], atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(2, 60),
    d=st.integers(1, 6),
    share=st.floats(0.02, 1.0),
    levels=st.integers(1, 5),
    seed=st.integers(0, 1000),
)
def test_equals_brute_force(n: int, d: int, share: float, levels: int, seed: int) -> None:
    # few levels: many duplicates, ties and zero rows
    rng = np.random.default_rng(seed)
    features = rng.integers(-levels, levels + 1, (n, d)).astype(np.float32)
    assert_exact(features, max(1, int(share * (n - 1))))


def test_equals_brute_force_over_several_blocks_and_a_pilot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "_BLOCK_CELLS", 40_000)
    monkeypatch.setattr(neighbours, "_PILOT", 100)
    features = np.random.default_rng(0).normal(size=(700, 16)).astype(np.float32)
    features[100:200] = features[0]  # a hundred copies of one record
    assert_exact(features, 20)


def test_memory_mapped_features_and_progress(tmp_path: Path) -> None:
    features = np.random.default_rng(1).normal(size=(2500, 8)).astype(np.float32)
    np.save(tmp_path / "features.npy", features)
    mapped = np.load(tmp_path / "features.npy", mmap_mode="r")
    seen: list[int] = []
    found = nearest(mapped, 5, on_rows=seen.append)
    np.testing.assert_array_equal(found.indices, nearest(features, 5).indices)
    assert len(seen) > 1
    assert sum(seen) == 2500


@pytest.mark.parametrize("k", [0, -1, 10, 11])
def test_k_must_leave_room(k: int) -> None:
    with pytest.raises(ValueError, match=r"1\.\.9"):
        nearest(np.ones((10, 2), np.float32), k)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_a_number_is_refused(value: float) -> None:
    features = np.ones((10, 2), np.float32)
    features[3, 1] = value
    with pytest.raises(ValueError, match="NaN or infinite"):
        nearest(features, 2)
