"""Detectors of records that do not fit their label: deep k-NN, Mahalanobis distance, spectral signatures, SCAn."""

from __future__ import annotations

from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator

from bezoar.scan.detectors.base import (
    KS,
    NeighbourGraph,
    TransductiveDetector,
    checked,
    checked_labels,
    fitted_scores,
    graph_of,
)
from bezoar.scan.functional.disagreement import vote
from bezoar.scan.functional.mahalanobis import log_distances
from bezoar.scan.functional.neighbours import nearest_among
from bezoar.scan.functional.scan_decomposition import scan_decomposition
from bezoar.scan.functional.spectral_signatures import spectral_signatures

Scores = NDArray[np.float64]


class DeepKNN(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Disagreement of the neighbours with the label (deep k-NN, Peri et al. 2020), in [-1, 1].

    Share of the strongest other label less that of the given one among the nearest 8, 16 and 64 (see
    `bezoar.scan.functional.disagreement.vote`). `n_jobs`: threads, None for all cores.
    """

    scores_: Scores

    def __init__(self, *, n_jobs: int | None = None) -> None:
        self.n_jobs = n_jobs

    def fit(
        self, X: NDArray[np.floating], y: ArrayLike | None = None, *, neighbours: NeighbourGraph | None = None
    ) -> Self:
        """Score each record of `X` (N, D) labelled `y` (N,) by the labels of the others near it."""
        rows = checked(X)
        labels = checked_labels(y, len(rows), self)
        found = graph_of(rows, max(KS), self.n_jobs, neighbours).neighbours.indices
        self._rows, self._labels, self._width = rows, labels, min(max(KS), len(rows) - 1)
        names, numbers = np.unique(labels, return_inverse=True)
        self.scores_ = _margins(found[:, : self._width], numbers, len(names))
        return self

    def score_samples(self, X: NDArray[np.floating] | None = None, y: ArrayLike | None = None) -> Scores:
        """Scores of the fitted records, or of others, `X` (M, D) labelled `y` (M,), by the fitted ones' labels."""
        if X is None:
            return fitted_scores(self)
        fitted_scores(self)
        rows = checked(X, least=0)
        labels = checked_labels(y, len(rows), self)
        found = nearest_among(rows, self._rows, self._width, n_jobs=self.n_jobs).indices
        n = len(self._labels)
        names, numbers = np.unique(np.concatenate([self._labels, labels]), return_inverse=True)
        padded = np.vstack([np.zeros((n, self._width), np.int64), found])
        return _margins(padded, numbers, len(names), np.arange(n, n + len(rows)))


class Mahalanobis(TransductiveDetector):
    """Class-conditional Mahalanobis distance under a shared covariance (Lee et al. 2018), its logarithm."""

    def fit(
        self, X: NDArray[np.floating], y: ArrayLike | None = None, *, neighbours: NeighbourGraph | None = None
    ) -> Self:
        """Score each record of `X` (N, D) by its distance to the mean of its label in `y` (N,)."""
        rows = checked(X)
        labels = checked_labels(y, len(rows), self)
        self.scores_ = log_distances(rows, _numbers(labels))
        return self


class SpectralSignatures(TransductiveDetector):
    """Spectral signatures (Tran et al. 2018) whitened by the covariance within all classes."""

    def fit(
        self, X: NDArray[np.floating], y: ArrayLike | None = None, *, neighbours: NeighbourGraph | None = None
    ) -> Self:
        """Score each record of `X` (N, D) along the leading direction of its label in `y` (N,)."""
        rows = checked(X)
        labels = checked_labels(y, len(rows), self)
        self.scores_ = spectral_signatures(rows, _numbers(labels))
        return self


class SCAn(TransductiveDetector):
    """Statistical contamination analyser (Tang et al. 2021): labels that hold two groups, and the smaller one's records."""

    def fit(
        self, X: NDArray[np.floating], y: ArrayLike | None = None, *, neighbours: NeighbourGraph | None = None
    ) -> Self:
        """Score each record of `X` (N, D) by its probability of being in the smaller group of its label in `y` (N,)."""
        rows = checked(X)
        labels = checked_labels(y, len(rows), self)
        self.scores_ = scan_decomposition(rows, _numbers(labels)).scores
        return self


def _margins(
    found: NDArray[np.int64],
    numbers: NDArray[np.int64],
    n_labels: int,
    rows: NDArray[np.int64] | None = None,
) -> Scores:
    """`vote`'s margins; with a single label nothing can disagree."""
    votes = vote(found, numbers.astype(np.int32), max(n_labels, 2), rows)
    return votes.margin.astype(np.float64)


def _numbers(labels: NDArray[np.generic]) -> NDArray[np.int32]:
    return np.asarray(np.unique(labels, return_inverse=True)[1], dtype=np.int32)
