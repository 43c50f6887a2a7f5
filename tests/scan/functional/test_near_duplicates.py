from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from bezoar.scan.functional.near_duplicates import collisions_within_labels, groups_within_labels
from bezoar.scan.functional.patterns import NEAR_DUPLICATE

N, D, T = 120, 24, 48
SPOT = np.arange(5)


def unit_rows(rows: NDArray[np.float64]) -> NDArray[np.float32]:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def everyone(n: int) -> NDArray[np.int64]:
    """All rows but itself, as the neighbours (n, n - 1) of each."""
    return np.array([np.delete(np.arange(n), i) for i in range(n)])


def scene(seed: int) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int32]]:
    """Features and thumbnails that have nothing to do with each other, except that `SPOT` is one spot; two labels."""
    rng = np.random.default_rng(seed)
    features, thumbs = rng.normal(size=(N, D)), rng.normal(size=(N, T))
    features[SPOT] = rng.normal(size=D) + rng.normal(0, 1e-3, (len(SPOT), D))
    labels = (np.arange(N) >= N // 2).astype(np.int32)
    return unit_rows(features), unit_rows(thumbs), labels


def partition(group: NDArray[np.int64]) -> set[frozenset[int]]:
    return {frozenset(np.flatnonzero(group == g).tolist()) for g in np.unique(group)}


def crowds(group: NDArray[np.int64], least: int = 3) -> set[frozenset[int]]:
    return {members for members in partition(group) if len(members) >= least}


@pytest.mark.parametrize("seed", range(5))
def test_unlike_records_in_one_spot_are_one_group_and_no_others_are(seed: int) -> None:
    unit, thumbs, labels = scene(seed)
    group = collisions_within_labels(unit, thumbs, everyone(N), labels)
    assert crowds(group) == {frozenset(SPOT.tolist())}


def test_records_that_look_alike_are_near_duplicates_and_no_collision() -> None:
    unit, thumbs, labels = scene(0)
    noise = np.random.default_rng(9).normal(0, 0.01, (len(SPOT), T))
    thumbs[SPOT] = unit_rows(thumbs[:1] + noise)
    group = collisions_within_labels(unit, thumbs, everyone(N), labels)
    assert len(np.unique(group[SPOT])) == len(SPOT)
    assert crowds(groups_within_labels(thumbs, everyone(N), labels)) == {frozenset(SPOT.tolist())}


def test_a_spot_that_two_labels_share_is_a_group_of_each() -> None:
    unit, thumbs, labels = scene(1)
    labels[:] = 0
    labels[SPOT[3:]] = 1
    group = collisions_within_labels(unit, thumbs, everyone(N), labels)
    assert len(np.unique(group[SPOT[:3]])) == 1
    assert len(np.unique(group[SPOT[3:]])) == 1
    assert group[SPOT[0]] != group[SPOT[3]]


def test_only_the_closest_thousandth_is_close() -> None:
    unit, thumbs, labels = scene(2)
    labels[:] = 0
    group = collisions_within_labels(unit, thumbs, everyone(N), labels)
    linked = N - len(np.unique(group))  # links that were needed
    assert len(SPOT) - 1 <= linked <= N * (N - 1) / 1000 + 1


def test_no_pair_that_looks_different_is_no_collision() -> None:
    unit, thumbs, labels = scene(3)
    same = np.repeat(thumbs[:1], N, axis=0)
    group = collisions_within_labels(unit, same, everyone(N), labels)
    assert len(np.unique(group)) == N


def single_linkage(
    thumbs: NDArray[np.float32], neighbours: NDArray[np.int64], labels: NDArray[np.int32]
) -> set[frozenset[int]]:
    """By brute force: merge until nothing changes."""
    group = list(range(len(labels)))
    changed = True
    while changed:
        changed = False
        for i, near in enumerate(neighbours.tolist()):
            for j in near:
                linked = labels[i] == labels[j] and float(thumbs[i] @ thumbs[j]) > NEAR_DUPLICATE
                if linked and group[i] != group[j]:
                    low, high = sorted((group[i], group[j]))
                    group = [low if g == high else g for g in group]
                    changed = True
    return partition(np.array(group))


@pytest.mark.parametrize("seed", range(8))
def test_groups_equal_single_linkage_by_brute_force(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = 60
    middles = rng.normal(size=(12, 8))
    thumbs = unit_rows(middles[rng.integers(0, 12, n)] + rng.normal(0, 0.22, (n, 8)))
    neighbours = np.array([rng.choice(n, 15, replace=False) for _ in range(n)])
    labels = rng.integers(0, 2, n).astype(np.int32)
    expected = single_linkage(thumbs, neighbours, labels)
    assert partition(groups_within_labels(thumbs, neighbours, labels)) == expected
    assert 12 < len(expected) < n  # neither everything nor nothing is linked
    assert max(len(members) for members in expected) >= 4


def test_groups_go_across_the_blocks_in_which_rows_are_read() -> None:
    rng = np.random.default_rng(0)
    n = 600
    thumbs = unit_rows(rng.normal(size=(n, 32)))
    ring = [0, 255, 256, 511, 512, 599]  # each knows the next one only
    thumbs[ring] = unit_rows(thumbs[:1] + rng.normal(0, 0.01, (len(ring), 32)))
    neighbours = rng.integers(0, n, (n, 3))
    for here, there in pairwise(ring):
        neighbours[here, 0] = there
    group = groups_within_labels(thumbs, neighbours, np.zeros(n, dtype=np.int32))
    assert crowds(group) == {frozenset(ring)}
