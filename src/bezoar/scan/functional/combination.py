"""Combining p-values of several views, or tests, of the same records.

The Cauchy combination (Liu and Xie 2020, arXiv 1808.09011) is valid under any dependence in the far tail, and one small
p-value among many large ones keeps its weight: with V views it costs a factor of about V. A p-value of 1 would outweigh
everything (its Cauchy score is minus infinity), and Bonferroni-adjusted p-values are often exactly 1, so scores are
truncated from below as in Fang, Chang, Park and Tseng 2023 (arXiv 2103.12967).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_LARGEST = (
    0.9  # p-values above it count as this; tests/scan/functional/test_combination.py measures the level
)
ANOTHER_VIEW = 0.07  # of it that each other view gets at least, when all of them look
FIRST_VIEW = 0.5  # of the error allowed goes to the view of patches, however many views there are


def cauchy(p_values: NDArray[np.float64], weights: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
    """Combined p-values (K,) of `p_values` (V, K) of V views; ValueError outside [0, 1].

    `weights` (V,), equal by default, must be chosen before the data are seen: what a view gets of the error allowed.
    """
    p = np.asarray(p_values, dtype=np.float64)
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError("p-values must lie in [0, 1]")
    p = np.clip(p, 1e-300, _LARGEST)
    # tan loses all digits next to its pole: there it is 1 / (pi p)
    scores = np.where(p < 1e-8, 1 / (np.pi * p), np.tan((0.5 - np.maximum(p, 1e-8)) * np.pi))
    score = np.average(scores, axis=0, weights=weights)
    small = score > 1e8
    return np.where(small, 1 / (np.pi * np.where(small, score, 1.0)), 0.5 - np.arctan(score) / np.pi)


def fisher(first: float, second: float) -> float:
    """Fisher's combination (1932) of two independent p-values in [0, 1]."""
    both = max(first * second, 1e-300)
    return float(both * (1 - np.log(both)))


def needed_alone(alpha: float, weight: float) -> float:
    """The p-value at which one view is rejected at `alpha` while the others, of weight 1 - `weight`, see nothing at all."""
    score = (1 / np.tan(np.pi * alpha) - (1 - weight) * np.tan((0.5 - _LARGEST) * np.pi)) / weight
    return float(0.5 - np.arctan(score) / np.pi)


def holm(p_values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Family-wise p-values (M,) by Holm's step-down method (1979)."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted
