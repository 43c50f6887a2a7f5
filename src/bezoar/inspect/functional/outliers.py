"""Is one label's statistic lower than the other labels' of the same model predict?

The other labels' values give a Student-t prediction of the one that was left out. How far labels spread is known from few of them
only, so what clean models show is given weight as well: a moderated t (Smyth 2004, Stat. Appl. Genet. Mol. Biol. 3). Clean
models' labels are not Gaussian either; what remains is fitted on them, per statistic (`bezoar.inspect.calibration`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special, stats

_FEWEST = 4  # labels: with fewer, the others say nothing about one
_MOST_PRIOR = 1000.0


@dataclass(frozen=True, slots=True)
class Null:
    """What clean models show of one statistic.

    Attributes:
        spread, prior: standard deviation among labels, and the degrees of freedom with which it is known beforehand.
        scale, freedom: moderated scores are `scale` times Student's t with at most `freedom` degrees of freedom.

    """

    spread: float = 0.0
    prior: float = 0.0
    scale: float = 1.0
    freedom: float = np.inf

    def p_values(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """How likely a clean model's label lies as low as each value (K,); nan stays nan."""
        scores = left_out(values, self.spread, self.prior)
        return np.asarray(stats.t.cdf(scores / self.scale, min(self._freedom(scores), self.freedom)))

    def _freedom(self, scores: NDArray[np.float64]) -> float:
        return float(max(np.isfinite(scores).sum() - 2 + self.prior, 1))


def left_out(values: NDArray[np.float64], spread: float = 0.0, prior: float = 0.0) -> NDArray[np.float64]:
    """Student's t (K,) of each value (K,) against the others, with K - 2 + `prior` degrees of freedom; nan where it is unknown.

    Values that are nan were not measured, and stay out. `spread` is their standard deviation as known beforehand.
    """
    scores = np.full(len(values), np.nan)
    known = np.isfinite(values)
    x = values[known]
    n = len(x)
    if n < _FEWEST:
        return scores
    mean = (x.sum() - x) / (n - 1)
    square = ((x * x).sum() - x * x) / (n - 1) - mean**2
    variance = (np.maximum(square, 0) * (n - 1) + prior * spread**2) / (n - 2 + prior)
    deviation = np.sqrt(variance * (1 + 1 / (n - 1)))
    scores[known] = np.divide(
        x - mean, deviation, out=np.zeros(n), where=deviation > 1e-9 * (1 + np.abs(mean))
    )
    return scores


def fitted(models: Sequence[NDArray[np.float64]]) -> Null:
    """The null of one statistic, of values (K,) of clean models: the spread by moments, scale and tail by maximum likelihood."""
    labels = [values[np.isfinite(values)] for values in models]
    spread, prior = _prior([x for x in labels if len(x) >= _FEWEST])
    scores = [left_out(x, spread, prior) for x in labels if len(x) >= _FEWEST]
    pooled = np.concatenate([*scores, np.zeros(0)])
    freedoms = np.concatenate([*(np.full(len(s), len(s) - 2 + prior) for s in scores), np.zeros(0)])

    def loss(theta: NDArray[np.float64]) -> float:
        scale, freedom = np.exp(theta)
        density = stats.t.logpdf(pooled / scale, np.minimum(freedoms, freedom))
        return -float(density.sum() - len(pooled) * theta[0])

    best = optimize.minimize(loss, np.log([1.0, 10.0]), method="Nelder-Mead")
    scale, freedom = np.exp(best.x)
    return Null(*(round(float(x), 4) for x in (spread, prior, scale, np.clip(freedom, 2, _MOST_PRIOR))))


def _prior(labels: Sequence[NDArray[np.float64]]) -> tuple[float, float]:
    """Smyth's moments: the more models' variances differ beyond chance, the fewer the degrees of freedom."""
    if len(labels) < 2:
        return 0.0, 0.0
    half = np.array([(len(x) - 1) / 2 for x in labels])
    logs = np.log([max(x.var(ddof=1), 1e-12) for x in labels]) - special.digamma(half) + np.log(half)
    beyond = logs.var(ddof=1) - special.polygamma(1, half).mean()
    least = float(special.polygamma(1, _MOST_PRIOR / 2))
    prior = 2 * _inverse_trigamma(max(float(beyond), least))
    centre = logs.mean() + special.digamma(prior / 2) - np.log(prior / 2)
    return float(np.exp(centre / 2)), prior


def _inverse_trigamma(y: float) -> float:
    return float(optimize.brentq(lambda x: float(special.polygamma(1, x)) - y, 1e-3, 1e6))
