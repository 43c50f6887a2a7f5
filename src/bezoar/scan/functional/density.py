"""How dense the surroundings of each record are, from its nearest neighbours' distances and against their own.

Distances (N, k) are ascending, indices (N, k) the neighbours' rows. All scores are float64 (N,), higher = more suspicious: a lone
record among dense ones. A dense group of planted records is the opposite, so no single k sees both (see `over_k`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

RESOLUTION = (
    1e-3  # what float32 cosines tell apart: nearer rows count as this far, so that no ratio divides by zero
)
Distances = NDArray[np.float64]


def chords(similarities: NDArray[np.float32]) -> Distances:
    """Euclidean distances between unit rows of these cosines, at least `RESOLUTION`."""
    squared = 2.0 - 2.0 * np.asarray(similarities, dtype=np.float64)
    return np.sqrt(np.maximum(squared, RESOLUTION**2))


def k_distance(distances: Distances) -> NDArray[np.float64]:
    """Distance to the k-th neighbour (Ramaswamy, Rastogi and Shim 2000)."""
    return np.array(distances[:, -1])


def slof(
    distances: Distances, indices: NDArray[np.int64], k_distances: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Simplified local outlier factor (Schubert, Zimek and Kriegel 2014): mean ratio of a record's k-distance to its neighbours'.

    About 1 inside a region of even density. `k_distances` (R,) are those of all rows that `indices` can name.
    """
    return np.asarray(k_distance(distances) * (1.0 / k_distances)[indices].mean(axis=1))


def dao(
    distances: Distances,
    indices: NDArray[np.int64],
    k_distances: NDArray[np.float64],
    dimensions: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Dimensionality-aware outlier factor (Anderberg et al. 2024, arXiv 2401.05453), its natural logarithm.

    As `slof`, with each ratio raised to the local intrinsic dimensionality of the neighbour (see `dimensionality.lid`):
    the same ratio says more where there are more directions. The logarithm, because the power overflows.
    `k_distances` and `dimensions` (R,) are those of all rows that `indices` can name.
    """
    ratio = np.log(k_distance(distances))[:, None] - np.log(k_distances)[indices]
    exponent = dimensions[indices] * ratio
    highest = exponent.max(axis=1)
    return np.asarray(highest + np.log(np.exp(exponent - highest[:, None]).mean(axis=1)))


def over_k(
    scores: list[NDArray[np.float64]], scales: list[tuple[float, float]] | None = None
) -> NDArray[np.float64]:
    """One score (N,) from those at several k: the largest, each counted in robust standard deviations from its median.

    Single strangers stand out at every k; m planted records that are each other's neighbours look *denser* than the rest at
    k < m (a k-distance of 16 ranks them last), and only a k beyond their number sees past the group. `scales` (see
    `scale`) are the fitted records' where the scores are of others.
    """
    each = [scale(score) for score in scores] if scales is None else scales
    standard = [(score - center) / spread for score, (center, spread) in zip(scores, each, strict=True)]
    return np.asarray(np.max(standard, axis=0))


def scale(score: NDArray[np.float64]) -> tuple[float, float]:
    """Median and robust standard deviation, never 0."""
    low, center, high = np.quantile(score, [0.25, 0.5, 0.75])
    least = 1e-9 * max(abs(float(center)), 1.0)
    spread = (
        float(high - low) / 1.349
    )  # the quartiles of a normal distribution are that many deviations apart
    if spread <= least:  # at least half are equal
        spread = float(np.std(score))
    return float(center), max(spread, least)
