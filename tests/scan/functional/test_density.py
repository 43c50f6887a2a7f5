from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from bezoar.scan.functional.density import RESOLUTION, chords, dao, k_distance, over_k, scale, slof
from bezoar.scan.functional.dimensionality import lid
from bezoar.scan.functional.neighbours import nearest, unit_rows


def by_hand(features: NDArray[np.float32], k: int) -> tuple[list[float], list[float]]:
    """SLOF and DAO straight from their definitions, in loops."""
    unit = unit_rows(features).astype(np.float64)
    distance = np.linalg.norm(unit[:, None] - unit[None], axis=2)
    np.fill_diagonal(distance, np.inf)
    near = np.argsort(distance, axis=1)[:, :k]
    kth = [distance[i, near[i, -1]] for i in range(len(unit))]
    ids = [-1 / np.mean([np.log(distance[i, j] / kth[i]) for j in near[i, :-1]]) for i in range(len(unit))]
    factor = [float(np.mean([kth[i] / kth[j] for j in near[i]])) for i in range(len(unit))]
    aware = [float(np.mean([(kth[i] / kth[j]) ** ids[j] for j in near[i]])) for i in range(len(unit))]
    return factor, aware


def test_slof_and_dao_are_what_their_papers_say() -> None:
    features = np.random.default_rng(0).normal(size=(60, 5)).astype(np.float32)
    found = nearest(features, 7)
    distances = chords(found.similarities)
    factor, aware = by_hand(features, 7)
    np.testing.assert_allclose(slof(distances, found.indices, k_distance(distances)), factor, rtol=1e-4)
    scores = dao(distances, found.indices, k_distance(distances), lid(distances))
    np.testing.assert_allclose(scores, np.log(aware), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("dimension", [2, 5, 10])
def test_lid_is_the_dimension_of_a_ball(dimension: int) -> None:
    # distances to n uniform points of a ball are U^(1/d); the nearest of many, so the borders do not matter
    rng = np.random.default_rng(dimension)
    distances = np.sort(rng.random((2000, 4000)) ** (1 / dimension), axis=1)[:, :64]
    assert np.mean(lid(distances)) == pytest.approx(dimension, rel=0.05)


def test_lid_of_few_or_equal_neighbours() -> None:
    np.testing.assert_array_equal(lid(np.ones((3, 1))), 0.0)
    np.testing.assert_array_equal(lid(np.full((3, 5), 0.2)), 1000.0)


def test_copies_give_no_nan() -> None:
    features = np.ones((40, 6), np.float32)
    features[30:] = np.random.default_rng(0).normal(size=(10, 6))
    found = nearest(features, 8)
    distances = chords(found.similarities)
    assert distances.min() == RESOLUTION
    kth, dimension = k_distance(distances), lid(distances)
    for score in (
        kth,
        dimension,
        slof(distances, found.indices, kth),
        dao(distances, found.indices, kth, dimension),
    ):
        assert score.shape == (40,)
        assert score.dtype == np.float64
        assert np.isfinite(score).all()


def test_a_dense_group_inverts_the_k_distance_below_its_size_and_not_beyond() -> None:
    rng = np.random.default_rng(1)
    features = 2 + rng.normal(size=(1500, 32)).astype(np.float32)  # around one direction
    planted = np.zeros(1500, bool)
    planted[:30] = True
    features[planted] = 3 * rng.normal(size=32) + 0.8 * rng.normal(size=(30, 32))  # denser, around another
    distances = chords(nearest(features, 64).similarities)
    score = {k: k_distance(distances[:, :k]) for k in (8, 16, 64)}
    assert roc_auc_score(planted, score[16]) < 0.1
    assert roc_auc_score(planted, score[64]) > 0.9
    assert roc_auc_score(planted, over_k(list(score.values()))) > 0.9


def test_the_scale_is_never_zero() -> None:
    assert scale(np.zeros(10))[1] > 0
    center, spread = scale(np.array([1.0] * 9 + [5.0]))
    assert (center, spread) == (1.0, pytest.approx(1.2))
    normal = np.random.default_rng(0).normal(3, 2, 100_000)
    assert scale(normal) == pytest.approx((3, 2), rel=0.02)
