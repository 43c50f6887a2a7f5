from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bezoar.scan.functional import neighbour_tiles
from bezoar.scan.functional.neighbours import nearest, nearest_among, unit_rows


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


@pytest.fixture
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbour_tiles, "TILE", 64)
    monkeypatch.setattr(neighbour_tiles, "_PILOT", 50)


def with_copies() -> NDArray[np.float32]:
    features = np.random.default_rng(0).normal(size=(700, 16)).astype(np.float32)
    features[100:200] = features[0]  # a hundred copies of one record
    features[300:305] = 2 * features[310:315]
    return features


@pytest.mark.parametrize("panel", [128, 4096])
@pytest.mark.usefixtures("small_tiles")
def test_equals_brute_force_over_several_tiles_and_panels(
    monkeypatch: pytest.MonkeyPatch, panel: int
) -> None:
    monkeypatch.setattr(neighbour_tiles, "PANEL", panel)
    assert_exact(with_copies(), 20)


@pytest.mark.usefixtures("small_tiles")
def test_a_bound_that_lets_nobody_pass_is_made_good(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        neighbour_tiles, "_bound", lambda cosines, k, n: np.full(len(cosines), 0.9, np.float32)
    )
    assert_exact(with_copies(), 20)


@pytest.mark.usefixtures("small_tiles")
def test_a_bound_that_lets_everybody_pass_keeps_few_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        neighbour_tiles, "_bound", lambda cosines, k, n: np.full(len(cosines), -3.0, np.float32)
    )
    held: list[int] = []
    best = neighbour_tiles._Candidates.best

    def watched(self: neighbour_tiles._Candidates) -> NDArray[np.uint64]:
        held.append(self._count)
        return best(self)

    monkeypatch.setattr(neighbour_tiles._Candidates, "best", watched)
    features = np.random.default_rng(2).normal(size=(3000, 8)).astype(np.float32)
    assert_exact(features, 2)
    assert max(held) <= 64 * 512 + 64 * 64


@pytest.mark.usefixtures("small_tiles")
def test_torch_finds_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    features = with_copies()
    by_numpy = nearest(features, 20), nearest_among(features[:90], features, 20)
    monkeypatch.setattr(neighbour_tiles, "_gpu", lambda: True)
    monkeypatch.setattr(neighbour_tiles, "_GPU_COLUMNS", 200)
    monkeypatch.setattr(
        neighbour_tiles, "_search_on_gpu", partial(neighbour_tiles._search_on_gpu, device="cpu")
    )
    for ours, theirs in zip(
        by_numpy, (nearest(features, 20), nearest_among(features[:90], features, 20)), strict=True
    ):
        np.testing.assert_array_equal(ours.indices, theirs.indices)
        np.testing.assert_allclose(ours.similarities, theirs.similarities, atol=1e-6)


def test_equal_similarities_are_in_the_order_of_their_indices() -> None:
    corners = np.array([[1, 0], [0, 1], [1, 0], [0, 1], [1, 0], [0, 0], [0, 0]], np.float32)
    found = nearest(corners, 6).indices
    np.testing.assert_array_equal(found[0], [2, 4, 1, 3, 5, 6])
    np.testing.assert_array_equal(found[2], [0, 4, 1, 3, 5, 6])
    np.testing.assert_array_equal(found[3], [1, 0, 2, 4, 5, 6])


def test_a_dataset_of_one_record_many_times() -> None:
    found = nearest(np.ones((3000, 4), np.float32), 3)
    np.testing.assert_array_equal(found.indices[:2], [[1, 2, 3], [0, 2, 3]])
    np.testing.assert_array_equal(found.indices[2000], [0, 1, 2])
    np.testing.assert_allclose(found.similarities, 1.0, atol=1e-6)


@pytest.mark.parametrize("kind", ["normal", "levels"])
def test_neither_tiles_nor_threads_change_anything(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    rng = np.random.default_rng(3)
    shape = (1500, 24)
    features = rng.normal(size=shape) if kind == "normal" else rng.integers(0, 3, shape)
    features = features.astype(np.float32)
    found = nearest(features, 16, n_jobs=1)
    for tile, jobs in ((1024, 4), (64, 1), (100, 3)):
        monkeypatch.setattr(neighbour_tiles, "TILE", tile)
        monkeypatch.setattr(neighbour_tiles, "PANEL", 5 * tile)
        again = nearest(features, 16, n_jobs=jobs)
        np.testing.assert_array_equal(found.indices, again.indices)
        np.testing.assert_allclose(found.similarities, again.similarities, atol=1e-6)


def test_queries_among_other_rows() -> None:
    features = with_copies()
    queries = np.random.default_rng(5).normal(size=(30, 16)).astype(np.float32)
    found = nearest_among(queries, features, 7)
    cosines = unit_rows(queries).astype(np.float64) @ unit_rows(features).T
    np.testing.assert_allclose(found.similarities, -np.sort(-cosines, axis=1)[:, :7], atol=1e-5)
    np.testing.assert_array_equal(
        nearest_among(features[210:220], features, 1).indices[:, 0], np.arange(210, 220)
    )
    assert nearest_among(queries, features[:3], 3).indices.shape == (30, 3)
    assert nearest_among(queries[:0], features, 3).indices.shape == (0, 3)


def test_features_too_large_to_keep_are_read_as_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    features = with_copies()
    kept = nearest(features, 9)
    monkeypatch.setattr(neighbour_tiles, "_KEEP_BYTES", 0)
    np.testing.assert_array_equal(nearest(features, 9).indices, kept.indices)


def test_extreme_lengths() -> None:
    features = np.random.default_rng(6).normal(size=(50, 8)).astype(np.float32)
    found = nearest(features, 5).indices
    np.testing.assert_array_equal(nearest(features * np.float32(1e37), 5).indices, found)
    np.testing.assert_array_equal(nearest(features * np.float32(1e-9), 5).indices, found)
    with pytest.raises(ValueError, match="NaN or infinite"):
        nearest(features.astype(np.float64) * 1e39, 5)


@pytest.mark.parametrize("jobs", [0, -2])
def test_the_number_of_threads_is_checked(jobs: int) -> None:
    with pytest.raises(ValueError, match="n_jobs"):
        nearest(np.eye(5, dtype=np.float32), 2, n_jobs=jobs)


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
