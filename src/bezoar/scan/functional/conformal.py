"""Records against a trusted sample: how foreign each is to its label, and whether a label holds too many foreign ones.

Trusted records that nothing was fitted to are the null: where suspects and trusted records of a label are exchangeable, every
ranking of the two together is equally likely (split conformal inference: Vovk, Gammerman and Shafer 2005), so the number of
suspects above the r-th largest trusted score is negative hypergeometric, exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.stats import hypergeom

_K = 5
_BLOCK_CELLS = 2**24
_RANKS = (
    0.0,
    0.02,
    0.1,
)  # shares of the trusted records above the thresholds that are tried; 0: above all of them
_HONEST = 0.2  # share of honest records among the exceeding ones that is put up with


@dataclass(frozen=True, slots=True)
class Exceedance:
    """What lies above the trusted records of one label.

    Attributes:
        p_value: of the most telling threshold, Bonferroni over thresholds.
        threshold: from which score on suspects are to be flagged.

    """

    p_value: float
    threshold: float


def foreignness(
    unit: NDArray[np.float32],
    labels: NDArray[np.int32],
    reference: NDArray[np.float32],
    reference_labels: NDArray[np.int32],
) -> NDArray[np.float64]:
    """Mean cosine to the 5 nearest reference records of the most similar other label, less that of the own label, (M,).

    `unit` (M, D) and `reference` (R, D) are rows of unit length. NaN for records whose label the reference lacks, or where it
    has no other.
    """
    order = np.argsort(reference_labels, kind="stable")
    present, first = np.unique(reference_labels[order], return_index=True)
    scores = np.full(len(unit), np.nan)
    if len(present) < 2:
        return scores
    bounds = [*first.tolist(), len(order)]
    sorted_rows = reference[order]
    step = max(1, _BLOCK_CELLS // len(reference))
    for start in range(0, len(unit), step):
        rows = np.arange(start, min(start + step, len(unit)))
        cosines = unit[rows] @ sorted_rows.T
        means = np.stack([_mean_of_largest(cosines[:, a:b]) for a, b in pairwise(bounds)], axis=1)
        mine = present[None, :] == labels[rows, None]
        own = np.where(mine.any(axis=1), means[np.arange(len(rows)), mine.argmax(axis=1)], np.nan)
        scores[rows] = np.where(mine, -np.inf, means).max(axis=1) - own
    return scores


def _mean_of_largest(cosines: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean of the `_K` largest of each row (rows, n)."""
    k = min(_K, cosines.shape[1])
    return np.asarray(np.partition(cosines, cosines.shape[1] - k, axis=1)[:, -k:].mean(axis=1))


def exceedance(
    suspects: NDArray[np.float64], trusted: NDArray[np.float64], independent: NDArray[np.int64] | None = None
) -> Exceedance:
    """Whether too many scores of `suspects` (m,) lie above those of `trusted` (n,) of the same label.

    `independent`, int64 (m,), numbers the observation that each suspect belongs to (a track); by default each is its own.
    """
    groups = np.arange(len(suspects)) if independent is None else independent
    falling = np.sort(trusted)[::-1]
    n, m = len(falling), len(suspects)
    tried = []
    for rank in sorted({int(share * n) for share in _RANKS}):
        above = suspects > falling[rank]
        count = len(np.unique(groups[above]))
        # at least `count` suspects above the (rank + 1)-th trusted score: at most `rank` trusted among the top count + rank
        p = float(hypergeom.cdf(rank, n + m, n, count + rank)) if count else 1.0
        honest = m * (rank + 1) / (n + 1)
        tried.append((p, float(falling[rank]), honest <= _HONEST * above.sum()))
    p_value = min(p for p, _, _ in tried)
    mostly_planted = [threshold for _, threshold, mostly in tried if mostly]
    return Exceedance(min(1.0, p_value * len(tried)), min(mostly_planted, default=float(falling[0])))
