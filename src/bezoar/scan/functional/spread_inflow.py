"""Does one label receive records from nearly every other label, more than the other labels do?

Honest confusion goes to look-alikes: a label exchanges records with a few others. Random label noise goes everywhere alike.
A backdoor whose trigger a network did not pick up leaves its records among their true classes, all under one label: that label
then receives more records from nearly *every* other label than the labels there usually get. So each origin is held against
the median over labels of what it loses, and the origins that lose most to the label, its look-alikes, are left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from bezoar.scan.functional.counts import FEW

FEWEST_LABELS = 5  # fewer leave too few origins to tell look-alikes from the rest
_KEPT = 0.75  # of the origins: those that exceed their expectation least
_MIN_RECORDS = 8  # that a label has to receive, to be tested at all
_HONEST = 0.4  # share of honest records among the flagged ones that is put up with


@dataclass(frozen=True, slots=True)
class Inflow:
    """What K labels receive.

    Attributes:
        z: float64 (K,), about standard normal at most where nothing is planted; -inf where not tested.
        count: int64 (K,), records received from all origins.
        expected: float64 (K,), what other labels receive from the same origins.
        p_values: float64 (K,), family-wise over labels.

    """

    z: NDArray[np.float64]
    count: NDArray[np.int64]
    expected: NDArray[np.float64]
    p_values: NDArray[np.float64]


def spread_inflow(moved: NDArray[np.integer], sizes: NDArray[np.integer]) -> Inflow:
    """Test every label; `moved` (K, K): records labelled g that belong to o, at [g, o]; `sizes` (K,): records of each label.

    Expected of a cell is the median over the other labels of what they receive from the same origin, as a count or as a share
    of their size, whichever makes more: label noise may go by either. The null's spread is never below that of Poisson counts.
    """
    n = len(moved)
    z, p_values, expected = np.full(n, -np.inf), np.ones(n), np.zeros(n)
    count = moved.sum(axis=1) - np.diag(moved)
    if n < FEWEST_LABELS:
        return Inflow(z, count, expected, p_values)
    received = np.where(np.eye(n, dtype=bool), np.nan, moved)
    share = received / np.maximum(sizes, 1)[:, None]
    for label in np.flatnonzero(count >= _MIN_RECORDS):
        origins = np.arange(n) != label
        usual = np.nanmedian(received[origins][:, origins], axis=0)
        usual = np.maximum(usual, np.nanmedian(share[origins][:, origins], axis=0) * sizes[label])
        excess = np.sort(2 * (np.sqrt(received[label, origins]) - np.sqrt(usual)))
        kept = excess[: max(1, int(_KEPT * len(excess)))]
        z[label] = kept.sum() / np.sqrt(len(kept))
        expected[label] = usual.sum()
    tested = np.isfinite(z)
    for label in np.flatnonzero(tested):
        others = z[tested & (np.arange(n) != label)]
        spread = float(np.quantile(others, 0.95)) / norm.ppf(0.95) if len(others) >= FEW else 1.0
        p_values[label] = min(1.0, n * norm.sf(z[label] / max(spread, 1.0)))
    return Inflow(z, count, expected, p_values)


def planted_margin(margin: NDArray[np.floating], labels: NDArray[np.integer], given: int) -> float | None:
    """The least margin from which records labelled `given` are mostly planted; None where there is none below 0.95.

    Of the records from it on at most `_HONEST` would be there if `given` were confused as often as the other labels are (median
    over them).
    """
    ours = margin[labels == given]
    others = [margin[labels == label] for label in np.unique(labels) if label != given]
    for least in np.arange(0.0, 0.95, 0.05):
        usual = np.median([(theirs >= least).mean() for theirs in others])
        if usual * len(ours) <= _HONEST * (ours >= least).sum():
            return float(least)
    return None
