"""Detectors of records in sparse or crumpled surroundings: k-distance, SLOF, DAO and LID, each over several k."""

from __future__ import annotations

from abc import abstractmethod
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator

from bezoar.scan.detectors.base import KS, NeighbourGraph, checked, fitted_scores, graph_of
from bezoar.scan.functional.density import chords, dao, k_distance, over_k, scale, slof
from bezoar.scan.functional.dimensionality import lid
from bezoar.scan.functional.neighbours import nearest_among

Scores = NDArray[np.float64]


class _NeighbourDetector(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Parameters: `k`, one number of neighbours or several (at most N - 1 are used); `n_jobs`, threads, None for all cores.

    With several k the score is the largest over them, in robust standard deviations of the fitted records.
    """

    scores_: Scores

    def __init__(self, k: int | tuple[int, ...] = KS, *, n_jobs: int | None = None) -> None:
        self.k = k
        self.n_jobs = n_jobs

    def fit(
        self, X: NDArray[np.floating], y: ArrayLike | None = None, *, neighbours: NeighbourGraph | None = None
    ) -> Self:
        """Score each record of `X` (N, D) against the others; labels are ignored."""
        rows = checked(X)
        ks = self._ks(len(rows) - 1)
        found = graph_of(rows, ks[-1], self.n_jobs, neighbours).neighbours
        distances = chords(found.similarities)
        self._rows, self._used = rows, ks
        self._fitted = [(k_distance(distances[:, :k]), lid(distances[:, :k])) for k in ks]
        scores = [
            self._score(distances[:, :k], found.indices[:, :k], fitted)
            for k, fitted in zip(ks, self._fitted, strict=True)
        ]
        self._scales = [scale(score) for score in scores]
        self.scores_ = over_k(scores, self._scales)
        return self

    def score_samples(self, X: NDArray[np.floating] | None = None, y: ArrayLike | None = None) -> Scores:
        """Scores of the fitted records, or of others, `X` (M, D), against them; one of them finds itself."""
        if X is None:
            return fitted_scores(self)
        fitted_scores(self)
        rows = checked(X, least=0)
        if rows.shape[1] != self._rows.shape[1]:
            raise ValueError(f"features have {rows.shape[1]} columns; the fitted ones {self._rows.shape[1]}")
        found = nearest_among(rows, self._rows, self._used[-1], n_jobs=self.n_jobs)
        distances = chords(found.similarities)
        scores = [
            self._score(distances[:, :k], found.indices[:, :k], fitted)
            for k, fitted in zip(self._used, self._fitted, strict=True)
        ]
        return over_k(scores, self._scales)

    @abstractmethod
    def _score(self, distances: Scores, indices: NDArray[np.int64], fitted: tuple[Scores, Scores]) -> Scores:
        """Scores at one k; `fitted` holds k-distance and LID of the fitted records at that k."""

    def _ks(self, most: int) -> list[int]:
        ks = np.atleast_1d(np.asarray(self.k))
        if ks.size == 0 or not np.issubdtype(ks.dtype, np.integer) or ks.min() < 1:
            raise ValueError(f"k must be one positive integer or several, not {self.k!r}")
        return sorted({min(int(k), most) for k in ks})


class KDistance(_NeighbourDetector):
    """Distance to the k-th neighbour (Ramaswamy, Rastogi and Shim 2000)."""

    def _score(self, distances: Scores, indices: NDArray[np.int64], fitted: tuple[Scores, Scores]) -> Scores:
        return k_distance(distances)


class SLOF(_NeighbourDetector):
    """Simplified local outlier factor (Schubert, Zimek and Kriegel 2014): density against the neighbours' density."""

    def _score(self, distances: Scores, indices: NDArray[np.int64], fitted: tuple[Scores, Scores]) -> Scores:
        return slof(distances, indices, fitted[0])


class DAO(_NeighbourDetector):
    """Dimensionality-aware outlier factor (Anderberg et al. 2024): SLOF to the power of the neighbours' dimensionality."""

    def _score(self, distances: Scores, indices: NDArray[np.int64], fitted: tuple[Scores, Scores]) -> Scores:
        return dao(distances, indices, *fitted)


class LID(_NeighbourDetector):
    """Local intrinsic dimensionality (Amsaleg et al. 2015): perturbed records leave the surface of their neighbours."""

    def _score(self, distances: Scores, indices: NDArray[np.int64], fitted: tuple[Scores, Scores]) -> Scores:
        return lid(distances)
