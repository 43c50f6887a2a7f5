"""Exact k nearest neighbours by cosine similarity, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_BLOCK_CELLS = 2**25  # similarities held at a time: 128 MiB of float32
_PILOT = 4096  # columns from which a row's threshold is taken


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The k nearest other records of each record, nearest first.

    Attributes:
        indices: int64 (N, k).
        similarities: float32 (N, k), cosines.

    """

    indices: NDArray[np.int64]
    similarities: NDArray[np.float32]


def nearest(
    features: NDArray[np.float32], k: int, *, on_rows: Callable[[int], None] | None = None
) -> Neighbours:
    """Exact k nearest neighbours (cosine) of every row of `features` (N, D) among the other rows.

    `features` may be memory-mapped; NaN is refused with ValueError, and k must be below N. Time is that of the N x N
    matrix product; memory is N x k and one block. `on_rows(n)` is called after every block of n rows.
    """
    n = len(features)
    if not 0 < k < n:
        raise ValueError(f"k must be in 1..{n - 1}, not {k}")
    unit = unit_rows(features)
    indices = np.empty((n, k), dtype=np.int64)
    similarities = np.empty((n, k), dtype=np.float32)
    block = max(1, min(1024, _BLOCK_CELLS // n))
    for start in range(0, n, block):
        stop = min(start + block, n)
        cosines = unit[start:stop] @ unit.T
        cosines[np.arange(stop - start), np.arange(start, stop)] = -2.0  # not its own neighbour
        indices[start:stop], similarities[start:stop] = _top(cosines, k)
        if on_rows is not None:
            on_rows(stop - start)
    return Neighbours(indices, similarities)


def unit_rows(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows scaled to unit length, float32; ValueError when any value is not finite."""
    rows = np.asarray(features, dtype=np.float32)
    if not np.isfinite(rows).all():
        raise ValueError("features hold NaN or infinite values")
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(length, np.float32(1e-12)))


def _top(cosines: NDArray[np.float32], k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Column and value of the k largest of each row, largest first.

    The k-th largest of a pilot sample of columns bounds the k-th largest of all from below, so only the few cells above
    it need sorting.
    """
    rows, n = cosines.shape
    step = max(1, n // max(_PILOT, 4 * k))
    pilot = cosines[:, ::step]
    bound = np.partition(pilot, pilot.shape[1] - k, axis=1)[:, -k]
    row, column = np.divmod(np.flatnonzero(cosines >= bound[:, None]), n)
    value = cosines[row, column]
    order = np.lexsort((column, -value, row))
    first = np.searchsorted(row, np.arange(rows))  # `row` ascends: flatnonzero scans in order
    chosen = order[first[:, None] + np.arange(k)]
    return column[chosen], value[chosen]
