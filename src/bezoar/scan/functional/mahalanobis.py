"""Class-conditional Mahalanobis distance (Lee et al. 2018, arXiv 1807.03888) with a calibrated tail.

Features are projected on the leading principal components of the pooled within-class scatter; each record's squared distance to
its class mean under the shared covariance is heavy-tailed in real data, so its logarithm, standardised by median and
quantiles within each class, gives the p-value, and Benjamini-Hochberg the outliers.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from bezoar.scan.functional.scatter import blocks, label_means, scatter_within

_COMPONENTS = 64
_RIDGE = 1e-3  # of the mean variance: keeps directions without variance from deciding


def log_distances(features: NDArray[np.float32], labels: NDArray[np.int32]) -> NDArray[np.float64]:
    """Log squared Mahalanobis distance (N,) of each row of `features` (N, D) to the mean of its label.

    Reads the features block by block, three times: they may be a file larger than memory. ValueError for values that are not
    finite.
    """
    present, number = np.unique(labels, return_inverse=True)
    means = label_means(features, number, len(present))
    values, vectors = np.linalg.eigh(scatter_within(features, number, means))
    leading = np.argsort(values)[::-1][:_COMPONENTS]
    scale = 1.0 / np.sqrt(values[leading] + _RIDGE * values[leading].mean() + 1e-12)
    onto = vectors[:, leading] * scale
    squared = np.empty(len(features))
    for block in blocks(len(features)):
        projected = (features[block] - means[number[block]]) @ onto
        squared[block] = np.einsum("ij,ij->i", projected, projected)
    return np.asarray(np.log(squared + 1e-12))


def outlier_p_values(log_distance: NDArray[np.float64], labels: NDArray[np.int32]) -> NDArray[np.float64]:
    """One-sided p-value (N,) of each log distance within its label, the null's spread taken from quantiles."""
    p = np.ones(len(log_distance))
    for label in np.unique(labels):
        ours = labels == label
        values = log_distance[ours]
        center = np.median(values)
        spread = max(
            (np.quantile(values, q) - center) / norm.ppf(q) for q in (0.75, 0.9, 0.95, 0.99)
        )  # the widest: right-skewed tails must not become findings
        p[ours] = norm.sf((values - center) / max(float(spread), 1e-6))
    return p


def benjamini_hochberg(p: NDArray[np.float64], q: float) -> NDArray[np.bool_]:
    """Mask of the hypotheses rejected at false discovery rate `q` (Benjamini & Hochberg 1995)."""
    order = np.argsort(p)
    passed = np.flatnonzero(p[order] <= q * np.arange(1, len(p) + 1) / len(p))
    rejected = np.zeros(len(p), dtype=bool)
    if len(passed):
        rejected[order[: passed[-1] + 1]] = True
    return rejected
