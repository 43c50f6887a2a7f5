"""Discovery sampling: how many records to examine so that finding no error says something (AICPA Audit Sampling; hypergeometric).

If more than the tolerable share of N records were wrong, at least K = floor(share x N) + 1 of them, then a random sample of n
without replacement would miss all of them with probability C(N-K, n) / C(N, n). The sample is the smallest for which that is at
most 1 - confidence.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bezoar.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


_ROUNDING = 1e-9  # of the logarithms below


@dataclass(frozen=True)
class Plan:
    """A sample of `size` out of `population` records, for this `confidence` that no more than `tolerable` of them are wrong."""

    population: int
    size: int
    confidence: float
    tolerable: float

    @property
    def errors(self) -> int:
        """How many wrong records would be too many."""
        return intolerable(self.population, self.tolerable)


def plan(population: int, confidence: float, tolerable: float) -> Plan:
    """The smallest sample that serves; UsageError unless 0 < confidence < 1 and 0 <= tolerable < 1."""
    if not 0 < confidence < 1 or not 0 <= tolerable < 1:
        raise UsageError("a confidence lies between 0 and 1, a tolerable share from 0 to below 1")
    low, high = 0, population
    while low < high:
        middle = (low + high) // 2
        if miss(population, intolerable(population, tolerable), middle) <= 1 - confidence + _ROUNDING:
            high = middle
        else:
            low = middle + 1
    return Plan(population, low, confidence, tolerable)


def intolerable(population: int, tolerable: float) -> int:
    """The smallest number of wrong records that is more than the tolerable share."""
    return min(population, math.floor(population * tolerable) + 1)


def miss(population: int, errors: int, size: int) -> float:
    """The probability that a random sample of `size` has none of the `errors` among `population` records."""
    if size > population - errors:
        return 0.0
    return math.exp(_choose(population - errors, size) - _choose(population, size))


def draw(population: int, size: int, seed: int) -> NDArray[np.int64]:
    """`size` different record numbers below `population`, ascending."""
    import numpy as np

    chosen = (
        np.random.default_rng(seed).choice(population, size, replace=False) if size else np.zeros(0, np.int64)
    )
    return np.sort(chosen)


def _choose(n: int, k: int) -> float:
    """The logarithm of the number of ways to choose `k` of `n`."""
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
