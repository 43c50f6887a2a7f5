"""Local intrinsic dimensionality: how fast the number of neighbours grows with the distance."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_LARGEST = 1e3  # of neighbours that are all equally far; beyond what k distances can tell anyway


def lid(distances: NDArray[np.float64]) -> NDArray[np.float64]:
    """Maximum-likelihood estimate (N,) from ascending distances (N, k) of the neighbours (Amsaleg et al. 2015, KDD).

    The reciprocal of the mean log ratio of the k-th distance to the others (Levina and Bickel's estimator with the
    k-th left out: it contributes nothing). Higher = more suspicious: a perturbed record leaves the surface on which its
    neighbours lie, into more directions (Weerasinghe et al. 2021, arXiv 2109.11803). Distances must be positive. Neighbours
    that are all equally far give 1000, a single neighbour 0: it says nothing.
    """
    if distances.shape[1] < 2:
        return np.zeros(len(distances))
    spread = np.log(distances[:, -1:] / distances[:, :-1]).mean(axis=1)
    return np.asarray(1.0 / np.maximum(spread, 1.0 / _LARGEST))
