"""Of very many labels, those to look at closely: any that stands out at first sight, and some others to compare them with.

Searches cost as much for each of 1,000 labels as for each of ten, while what needs no gradient sees all labels at once. A label
that was not looked at closely is judged by the latter alone. The labels to compare with are drawn at random, so that a label
that was chosen because it stands out does not have only its like beside it; the correction is for all labels, chosen or not.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from bezoar.seeds import generator

FEW = 64  # labels, up to which all are looked at closely
_LOWEST = 5  # of each statistic
_OTHERS = 32


def shortlist(statistics: Mapping[str, NDArray[np.float64]], n_labels: int, seed: int) -> NDArray[np.int64]:
    """The labels (G,) to look at closely, in order, by what is known of all (K,): small = suspicious."""
    everything = np.arange(n_labels)
    if n_labels <= FEW:
        return everything
    lowest = [np.argsort(values, kind="stable")[:_LOWEST] for values in statistics.values()]  # nan comes last
    chosen = np.unique(np.concatenate([*lowest, np.zeros(0, np.int64)]))
    others = generator(seed, "inspect", "shortlist").permutation(np.setdiff1d(everything, chosen))
    return np.sort(np.concatenate([chosen, others[:_OTHERS]]))
