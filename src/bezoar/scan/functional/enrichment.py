"""Does one source supply more of the suspects than chance? Exact, one-sided, and within labels.

Were the suspects of every label a random subset of that label's records, a source's share of them would be hypergeometric
in each label (Fisher's exact test), and its total the convolution of these: the exact conditional test over strata (Gart 1970).
Without the strata every source that supplies mostly the target label would look guilty.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import hypergeom


@dataclass(frozen=True, slots=True)
class Enrichment:
    """Per source, S of them.

    Attributes:
        records: int64 (S,), records of the source.
        suspects: int64 (S,), those of them that are suspect.
        expected: float64 (S,), suspects expected by chance, given the labels.
        p_values: float64 (S,), probability of at least that many by chance; not corrected for the number of sources.

    """

    records: NDArray[np.int64]
    suspects: NDArray[np.int64]
    expected: NDArray[np.float64]
    p_values: NDArray[np.float64]


def enrichment(
    sources: NDArray[np.int64], strata: NDArray[np.int64], suspect: NDArray[np.bool_], n_sources: int
) -> Enrichment:
    """Test every source for having too many suspects.

    Args:
        sources: int64 (N,), source of each record in [0, n_sources), -1 where it is not known (never tested, but counted
            among the records that the suspects could have been).
        strata: int64 (N,), what chance may depend on besides: the record's label, any integers.
        suspect: bool (N,).
        n_sources: S.

    """
    strata = np.unique(strata, return_inverse=True)[1]
    n_strata = int(strata.max(initial=-1)) + 1
    size = np.bincount(strata, minlength=n_strata)
    drawn = np.bincount(strata[suspect], minlength=n_strata)
    known = sources >= 0
    records = np.bincount(sources[known], minlength=n_sources)
    suspects = np.bincount(sources[known & suspect], minlength=n_sources)
    # only strata that hold suspects move the test; there, the records of each (source, stratum)
    cells, held = np.unique(
        sources[known & (drawn[strata] > 0)] * n_strata + strata[known & (drawn[strata] > 0)],
        return_counts=True,
    )
    owner, stratum = np.divmod(cells, max(n_strata, 1))
    expected = np.bincount(owner, weights=held * drawn[stratum] / size[stratum], minlength=n_sources)
    p_values = np.ones(n_sources)
    first = np.searchsorted(owner, np.arange(n_sources + 1))
    for source in np.flatnonzero(suspects):
        own = slice(first[source], first[source + 1])
        p_values[source] = _tail(int(suspects[source]), size[stratum[own]], drawn[stratum[own]], held[own])
    return Enrichment(records, suspects, expected.astype(np.float64), p_values)


def _tail(count: int, size: NDArray[np.int64], drawn: NDArray[np.int64], held: NDArray[np.int64]) -> float:
    """P(sum of independent hypergeometric variables >= count); `size`, `drawn`, `held` (C,) of each stratum."""
    if len(size) == 1:
        return float(hypergeom.sf(count - 1, size[0], held[0], drawn[0]))
    total, start = np.ones(1), 0
    for n, k, m in zip(size.tolist(), held.tolist(), drawn.tolist(), strict=True):
        low = max(0, k + m - n)
        mass = hypergeom.pmf(np.arange(low, min(k, m) + 1), n, k, m)
        some = np.flatnonzero(mass)  # what underflows to 0 would only cost time
        total = np.convolve(total, mass[some[0] : some[-1] + 1])
        start += low + int(some[0])
    return float(min(1.0, total[max(0, count - start) :].sum()))
