"""Intervals and ranks for shares that are counted over trials.

Wilson, JASA 22:209 (1927); Clopper and Pearson, Biometrika 26:404 (1934); the bootstrap resamples whole trials, because
the records of one trial share its trigger and are found or missed together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bezoar.seeds import generator

LEVEL = 0.95
_RESAMPLES = 2_000


@dataclass(frozen=True, slots=True)
class Share:
    """A share and its interval at 95 %; `n` is what it was counted over. NaN when that is nothing."""

    value: float
    low: float
    high: float
    n: int


def wilson(successes: int, n: int, level: float = LEVEL) -> Share:
    """The score interval: right on average, also for few trials."""
    from scipy.stats import norm

    _check(successes, n)
    if n == 0:
        return _NOTHING
    z = float(norm.isf((1 - level) / 2))
    p = successes / n
    center = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * float(np.sqrt(p * (1 - p) / n + z * z / (4 * n * n)))
    low = 0.0 if successes == 0 else max(0.0, center - half)
    high = 1.0 if successes == n else min(1.0, center + half)
    return Share(p, low, high, n)


def clopper_pearson(successes: int, n: int, level: float = LEVEL) -> Share:
    """The exact interval: never covers less than `level`, for claims that must hold."""
    from scipy.stats import beta

    _check(successes, n)
    if n == 0:
        return _NOTHING
    tail = (1 - level) / 2
    low = 0.0 if successes == 0 else float(beta.ppf(tail, successes, n - successes + 1))
    high = 1.0 if successes == n else float(beta.isf(tail, successes + 1, n - successes))
    return Share(successes / n, low, high, n)


def over_trials(part: ArrayLike, whole: ArrayLike, level: float = LEVEL) -> Share:
    """`sum(part) / sum(whole)` with a percentile bootstrap over trials; both of shape (T,), counts per trial.

    `n` is the number of trials. The interval is a point when all trials agree: then the trials' own interval says more.
    """
    parts, wholes = np.asarray(part, dtype=np.float64), np.asarray(whole, dtype=np.float64)
    parts, wholes = parts[wholes > 0], wholes[wholes > 0]
    if not len(parts):
        return _NOTHING
    drawn = generator(0, "bench", "bootstrap").integers(0, len(parts), (_RESAMPLES, len(parts)))
    shares = parts[drawn].sum(axis=1) / wholes[drawn].sum(axis=1)
    low, high = np.quantile(shares, [(1 - level) / 2, (1 + level) / 2])
    return Share(float(parts.sum() / wholes.sum()), float(low), float(high), len(parts))


def auroc(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> float | None:
    """Chance that a positive scores above a negative, ties half (Mann and Whitney); shapes (N,).

    NaN, a record without a score, ranks lowest. None when either side is empty.
    """
    from scipy.stats import rankdata

    count = int(positive.sum())
    if count == 0 or count == len(positive):
        return None
    ranks = rankdata(np.where(np.isnan(scores), -np.inf, scores))
    above = ranks[positive].sum() - count * (count + 1) / 2
    return float(above / (count * (len(positive) - count)))


def auroc_over_trials(positive: ArrayLike, negative: ArrayLike) -> Share:
    """`auroc` of scores (P,) and (N,), one per trial, with a percentile bootstrap over both; `n` is P."""
    above, below = np.asarray(positive, np.float64), np.asarray(negative, np.float64)
    if not len(above) or not len(below):
        return _NOTHING
    wins = (above[:, None] > below) + 0.5 * (above[:, None] == below)
    rng = generator(0, "bench", "bootstrap")
    times = [rng.multinomial(n, np.full(n, 1 / n), _RESAMPLES) for n in wins.shape]  # each trial is drawn
    drawn = ((times[0] @ wins) * times[1]).sum(axis=1) / wins.size
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Share(float(wins.mean()), float(low), float(high), len(above))


_NOTHING = Share(float("nan"), float("nan"), float("nan"), 0)


def _check(successes: int, n: int) -> None:
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} successes in {n} trials")
