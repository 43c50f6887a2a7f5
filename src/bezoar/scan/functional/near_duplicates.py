"""Crowds within a label: near-duplicates, which show about the same, and collisions, which only an encoder takes for the same."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from bezoar.scan.functional.patterns import NEAR_DUPLICATE

_BLOCK = 256  # rows whose neighbours' features are held at a time
_DIFFERENT = 0.8  # correlation of thumbnails up to which two records look different
_CLOSEST = 0.001  # share of the neighbours that look different, the closest ones


def groups_within_labels(
    thumbs: NDArray[np.float32], neighbours: NDArray[np.integer], labels: NDArray[np.int32]
) -> NDArray[np.int64]:
    """The group (N,) of each record: single linkage over neighbours of the same label whose thumbnails correlate.

    Args:
        thumbs: float32 (N, T), unit length and mean free (`patterns.thumbnails`).
        neighbours: (N, k), the rows that come into question.
        labels: (N,).

    """
    pairs = [
        (i[alike], j[alike])
        for i, j in _pairs(neighbours, labels)
        for alike in [_products(thumbs, i, j) > NEAR_DUPLICATE]
    ]
    return _linked(pairs, len(neighbours))


def collisions_within_labels(
    unit: NDArray[np.float32],
    thumbs: NDArray[np.float32],
    neighbours: NDArray[np.integer],
    labels: NDArray[np.int32],
) -> NDArray[np.int64]:
    """The group (N,) of each record: single linkage over neighbours of the same label that look different and are close.

    Close are the closest thousandth of all pairs of neighbours that look different, whatever their labels: `unit` (N, D) are
    features of unit length. Feature collision (Shafahi et al. 2018, arXiv 1804.00792) puts images of all kinds into one spot.
    """
    apart = []
    for i, j in _pairs(neighbours, None):
        different = _products(thumbs, i, j) <= _DIFFERENT
        apart.append((i[different], j[different], _products(unit, i[different], j[different])))
    nearness = np.concatenate([cosine for _, _, cosine in apart])
    if not len(nearness):
        return np.arange(len(neighbours))
    close = float(np.quantile(nearness, 1 - _CLOSEST))
    pairs = []
    for i, j, cosine in apart:
        kept = (cosine >= close) & (labels[i] == labels[j])
        pairs.append((i[kept], j[kept]))
    return _linked(pairs, len(neighbours))


def _pairs(
    neighbours: NDArray[np.integer], labels: NDArray[np.int32] | None
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Rows and their neighbours, some at a time; with `labels` (N,) only those of the same label."""
    for start in range(0, len(neighbours), _BLOCK):
        here = np.arange(start, min(start + _BLOCK, len(neighbours)))
        i, j = np.repeat(here, neighbours.shape[1]), neighbours[here].ravel().astype(np.int64)
        if labels is not None:
            same = labels[i] == labels[j]
            i, j = i[same], j[same]
        yield i, j


def _products(rows: NDArray[np.float32], i: NDArray[np.int64], j: NDArray[np.int64]) -> NDArray[np.float32]:
    return np.asarray(np.einsum("it,it->i", rows[i], rows[j]), dtype=np.float32)


def _linked(pairs: list[tuple[NDArray[np.int64], NDArray[np.int64]]], n: int) -> NDArray[np.int64]:
    i, j = (np.concatenate(side) for side in zip(*pairs, strict=True))
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
