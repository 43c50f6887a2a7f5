"""Several statistics of the same label, together: the best one counts, and so does that all of them are a little low.

The first half of the evidence is a weighted Bonferroni bound; the second is Fisher's sum of logarithms, scaled for statistics
that go together (Brown 1975, Biometrics 31), whose correlation is measured on clean models.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

_BEST = 0.6  # of the error allowed goes to the best statistic, the rest to the sum
_SMALLEST = 1e-300


def combined(
    p_values: NDArray[np.float64], weights: NDArray[np.float64], correlation: NDArray[np.float64]
) -> NDArray[np.float64]:
    """p-values (K,) of labels, of `p_values` (S, K) of S statistics; nan = not measured, 1 where none was.

    `weights` (S,) say how the error allowed is shared among statistics, `correlation` (S, S) is that of their normal scores.
    """
    result = np.ones(p_values.shape[1])
    known = np.isfinite(p_values)
    for pattern in np.unique(known, axis=1).T:
        if pattern.sum() == 1:
            labels = (known == pattern[:, None]).all(0)
            result[labels] = p_values[pattern][0, labels]
        elif pattern.any():
            labels = (known == pattern[:, None]).all(0)
            some = np.clip(p_values[pattern][:, labels], _SMALLEST, 1)
            share = weights[pattern] / weights[pattern].sum()
            best = (some / share[:, None]).min(0)
            result[labels] = np.minimum(
                best / _BEST, _sum(some, correlation[np.ix_(pattern, pattern)]) / (1 - _BEST)
            )
    return np.minimum(result, 1.0)


def _sum(p_values: NDArray[np.float64], correlation: NDArray[np.float64]) -> NDArray[np.float64]:
    """Brown's approximation: Fisher's statistic is a scaled chi-squared with fewer degrees of freedom."""
    count = len(p_values)
    r = np.clip(correlation, 0, 1)
    together = 3.263 * r + 0.710 * r**2 + 0.027 * r**3  # covariance of the logarithms
    variance = 4 * count + together[~np.eye(count, dtype=bool)].sum()
    scale, freedom = variance / (4 * count), 8 * count**2 / variance
    return np.asarray(stats.chi2.sf(-2 * np.log(p_values).sum(0) / scale, freedom))
