"""Means and scatter within labels, read block by block: the features may be a file larger than memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

_BLOCK = 4096  # rows in memory at a time


def blocks(n: int) -> Iterator[slice]:
    """The rows of `n` in parts that memory holds."""
    return (slice(start, min(start + _BLOCK, n)) for start in range(0, n, _BLOCK))


def label_means(
    features: NDArray[np.floating], number: NDArray[np.integer], n_labels: int
) -> NDArray[np.float64]:
    """Mean (n_labels, D) of the rows of `features` (N, D) by `number` (N,), each of which occurs.

    ValueError for values that are not finite.
    """
    sums = np.zeros((n_labels, features.shape[1]))
    for block in blocks(len(features)):
        rows = np.asarray(features[block], dtype=np.float64)
        if not np.isfinite(rows).all():
            raise ValueError("features hold NaN or infinite values")
        of_label = (np.ones(len(rows)), (number[block], np.arange(len(rows))))
        sums += csr_array(of_label, shape=(n_labels, len(rows))) @ rows
    return np.asarray(sums / np.bincount(number, minlength=n_labels)[:, None])


def scatter_within(
    features: NDArray[np.floating], number: NDArray[np.integer], means: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Covariance (D, D) of the rows of `features` (N, D) around their label's mean; ValueError where it is not finite."""
    total = np.zeros((features.shape[1], features.shape[1]))
    with np.errstate(over="ignore", invalid="ignore"):  # refused below
        for block in blocks(len(features)):
            rows = features[block] - means[number[block]]
            total += rows.T @ rows
    if not np.isfinite(total).all():
        raise ValueError("features hold values that are too large to square")
    return total / len(features)
