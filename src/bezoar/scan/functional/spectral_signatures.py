"""Spectral signatures (Tran, Li and Madry 2018, arXiv 1811.00636), whitened.

Planted records of a class share a direction that the class' other records lack. The published score projects the class on the
direction of its largest variance, which in most features is a natural one; whitened by the covariance within *all* classes,
natural directions have unit variance in every class, and one that a minority of one class shares stands out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bezoar.scan.functional.scatter import label_means, scatter_within

_RIDGE = 1e-3  # of the mean variance: keeps directions without variance from deciding
_ENOUGH = 3  # records of a class, below which a direction of its own says nothing


def spectral_signatures(features: NDArray[np.floating], labels: NDArray[np.integer]) -> NDArray[np.float64]:
    """Squared projection (N,) of each row of `features` (N, D) on the leading whitened direction of its label.

    0 for classes of fewer than three records. ValueError for values that are not finite. One class is in memory at a time.
    """
    present, number = np.unique(labels, return_inverse=True)
    means = label_means(features, number, len(present))
    values, vectors = np.linalg.eigh(scatter_within(features, number, means))
    whitening = vectors / np.sqrt(np.maximum(values, 0) + _RIDGE * max(values.mean(), 1e-30))
    score = np.zeros(len(features))
    for label, mean in enumerate(means):
        ours = np.flatnonzero(number == label)
        if len(ours) >= _ENOUGH:
            rows = (features[ours] - mean) @ whitening
            leading = np.linalg.eigh(rows.T @ rows)[1][:, -1]
            score[ours] = (rows @ leading) ** 2
    return score
