"""Testing counts against the dataset's own spread of counts.

Many places are counted (window positions, pairs of classes); a planted group makes a few of them stand out, while
natural structure makes all of them vary more than Poisson counts would. 2 sqrt(count) has unit variance for a Poisson count
(Anscombe 1948), so excess(count, expected) is about standard normal where nothing is planted, up to a spread that is
estimated from the places themselves by quantiles, which a few planted places do not move.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

FEW = 20


def excess(count: NDArray[np.float64] | float, expected: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """2 (sqrt(count) - sqrt(expected)), at least 0."""
    return np.maximum(0.0, 2.0 * (np.sqrt(count) - np.sqrt(expected)))


def family_wise(z: NDArray[np.float64], tests: int | None = None) -> NDArray[np.float64]:
    """Family-wise p-value of every `z`, shape (M,), Bonferroni over `tests` (M by default).

    The null's centre is the median and its spread the larger of the 84 % and 95 % quantiles' distances in normal
    units, never below the Poisson unit, so the test is conservative where the data are quieter than Poisson.
    """
    center, spread = null_of(z)
    tail = norm.logsf((z - center) / spread) + np.log(tests or len(z))
    return np.asarray(np.exp(np.minimum(tail, 0.0)), dtype=np.float64)


def null_of(z: NDArray[np.float64]) -> tuple[float, float]:
    """Centre and spread of the null distribution of `z`, by quantiles.

    With fewer than `FEW` values a planted one would move the quantiles: the null is then the Poisson one (among the 180
    ordered pairs of two CIFAR-10 or Fashion-MNIST classes the largest clean value is 2.3; docs/adr/0003).
    """
    if len(z) < FEW:
        return 0.0, 1.0
    center = float(np.median(z))
    spread = max((float(np.quantile(z, q)) - center) / float(norm.ppf(q)) for q in (0.84, 0.95))
    return center, max(spread, 1.0)
