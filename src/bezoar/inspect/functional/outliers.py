"""Is one label's statistic lower than the other labels' of the same model predict?

The other labels' values give a Student-t prediction of the one that was left out. Clean models are not Gaussian: their labels
spread more, and their tails are heavier. How much is fitted on clean models (`bezoar.inspect.calibration`), per statistic.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

_FEWEST = 4  # labels: with fewer, the others say nothing about one


def left_out(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Student's t (K,) of each value (K,) against the others, with K - 2 degrees of freedom; nan where it cannot be told.

    Values that are nan were not measured, and stay out.
    """
    scores = np.full(len(values), np.nan)
    known = np.isfinite(values)
    x = values[known]
    n = len(x)
    if n < _FEWEST:
        return scores
    mean = (x.sum() - x) / (n - 1)
    square = ((x * x).sum() - x * x) / (n - 1) - mean**2
    spread = np.sqrt(np.maximum(square, 0) * (n - 1) / (n - 2) * (1 + 1 / (n - 1)))
    scores[known] = np.divide(x - mean, spread, out=np.zeros(n), where=spread > 1e-9 * (1 + np.abs(mean)))
    return scores


def lower_tail(
    scores: NDArray[np.float64], n_measured: int, scale: float = 1.0, freedom: float = np.inf
) -> NDArray[np.float64]:
    """p-values (K,) of `left_out` scores, corrected for how clean models spread; nan stays nan."""
    return np.asarray(stats.t.cdf(scores / scale, min(max(n_measured - 2, 1), freedom)))
