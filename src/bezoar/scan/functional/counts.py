"""Testing counts against the dataset's own spread of counts.

Many places are counted (window positions, pairs of classes); a planted group makes a few of them stand out, while
natural structure makes all of them vary more than Poisson counts would. 2 sqrt(count) has unit variance for a Poisson count
(Anscombe 1948), so excess(count, expected) is about standard normal where nothing is planted, up to a spread that is
estimated from the places themselves by quantiles, which a few planted places do not move.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

FEW = 20
_FEWEST_SPACINGS = 5
_SPACINGS = 20  # largest values that the length of the tail is estimated from
_POISSON_DECAY = 0.5  # excess counts by which the tail falls to 1 / e where counts are Poisson: exp(-z^2 / 2), z^2 = 4 counts


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


@dataclass(frozen=True, slots=True)
class Tail:
    """Where the largest of a dataset's own counts lie: whether one more stands clear of them.

    The spacings of the largest values of a sample with an exponential tail are independent and exponential (Renyi 1953), so
    the next spacing over their mean has an F distribution with 2 and 2 k degrees of freedom. Counts of natural patterns have
    about such a tail: Poisson counts whose rates vary from place to place.
    """

    largest: float
    decay: float
    n: int

    def p_value(self, count: float, together: int = 1) -> float:
        """Chance that the `together` largest counts all reach `count` while the tail ends where it does."""
        if not self.n:
            return 1.0
        spacing = together * max(0.0, count - self.largest) / self.decay
        return float((1 + spacing / self.n) ** -self.n)


def tail_of(counts: NDArray[np.float64]) -> Tail:
    """The tail of excess counts (M,), each of another pattern, the tested one left out; nothing is known from fewer than 6.

    The tail is taken to be as long as the largest few make it, or as the very largest does, or as Poisson counts have it:
    whatever is longest.
    """
    top = np.sort(counts)[::-1][: _SPACINGS + 1]
    n = len(top) - 1
    if n < _FEWEST_SPACINGS:
        return Tail(0.0, _POISSON_DECAY, 0)
    over = top[:n] - top[n]
    mean = float(over.sum() + over[0]) / n  # the mean of k (x_k - x_k+1), where x_1 is the tested one
    slope = float(
        over[0] / (1 / np.arange(2, n + 2)).sum()
    )  # what a tail of this decay would make the largest
    return Tail(float(top[0]), max(mean, slope, _POISSON_DECAY), n)


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
