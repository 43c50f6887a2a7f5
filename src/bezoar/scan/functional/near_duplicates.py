"""Groups of near-duplicates: records that show about the same, within a label."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from bezoar.scan.functional.patterns import NEAR_DUPLICATE

_BLOCK = 1024


def groups_within_labels(
    thumbs: NDArray[np.float32], neighbours: NDArray[np.integer], labels: NDArray[np.int32]
) -> NDArray[np.int64]:
    """The group (N,) of each record: single linkage over neighbours of the same label whose thumbnails correlate.

    Args:
        thumbs: float32 (N, T), unit length and mean free (`patterns.thumbnails`).
        neighbours: (N, k), the rows that come into question.
        labels: (N,).

    """
    n = len(neighbours)
    sources, targets = [], []
    for start in range(0, n, _BLOCK):
        here = np.arange(start, min(start + _BLOCK, n))
        near = neighbours[here]
        alike = np.einsum("ikt,it->ik", thumbs[near], thumbs[here], optimize=True) > NEAR_DUPLICATE
        row, column = np.nonzero(alike & (labels[near] == labels[here, None]))
        sources.append(here[row])
        targets.append(near[row, column])
    i, j = np.concatenate(sources), np.concatenate(targets)
    graph = coo_array((np.ones(len(i), dtype=np.int8), (i, j)), shape=(n, n))
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)


def surroundings(
    unit: NDArray[np.float32], labels: NDArray[np.int32], members: NDArray[np.int64], k: int
) -> NDArray[np.int32]:
    """Labels (k,) of the records nearest to the centre of `members`, which are left out; `unit` (N, D), rows of length 1."""
    near = unit @ unit[members].mean(axis=0)
    near[members] = -np.inf
    k = min(k, len(near) - len(members))
    return np.asarray(labels[np.argpartition(-near, k - 1)[:k]], dtype=np.int32) if k > 0 else labels[:0]
