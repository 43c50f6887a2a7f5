"""What a detector is, the registry of detectors, and the neighbour graph that they share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator

from bezoar.registry import Registry
from bezoar.scan.functional.neighbours import Neighbours, nearest

KS = (8, 16, 64)  # strangers show at every k; a group of planted records only at a k beyond its number


@dataclass(frozen=True, slots=True, eq=False)
class NeighbourGraph:
    """The nearest other records of each of N records, searched once and given to every detector.

    Attributes:
        neighbours: indices and cosines (N, K), nearest first.

    """

    neighbours: Neighbours

    @classmethod
    def of(cls, X: NDArray[np.floating], k: int = max(KS), *, n_jobs: int | None = None) -> Self:
        """The graph of features `X` (N, D), of at most N - 1 neighbours; ValueError for NaN or fewer than two rows."""
        rows = checked(X)
        return cls(nearest(rows, min(k, len(rows) - 1), n_jobs=n_jobs))


class Detector(Protocol):
    """One way to score records; higher = more suspicious, the opposite of scikit-learn's outlier detectors.

    Scores have no common unit, and no share of the records is flagged: what is too high is for a test to say. Constructors
    take parameters with defaults only and store them as given.
    """

    scores_: NDArray[np.float64]  # (N,), finite; of the fitted records, each against the others

    def fit(
        self, X: NDArray[np.floating], y: ArrayLike | None = None, *, neighbours: NeighbourGraph | None = None
    ) -> Self:
        """Score the records with features `X` (N, D) and labels `y` (N,); ValueError for NaN or missing labels.

        `X` may be memory-mapped. `neighbours` spares a search to those who need one; others ignore it.
        """
        ...

    def score_samples(
        self, X: NDArray[np.floating] | None = None, y: ArrayLike | None = None
    ) -> NDArray[np.float64]:
        """Scores of the fitted records, or of others, `X` (M, D) labelled `y`, against the fitted ones.

        ValueError from detectors that only score what they are fitted on.
        """
        ...

    def get_params(self, deep: bool = True) -> Mapping[str, Any]:
        """Parameters by name."""
        ...

    def set_params(self, **params: Any) -> Self:
        """Change parameters; fitting again applies them."""
        ...


DETECTORS: Registry[type[Detector]] = Registry("detector", "bezoar.detectors")


class TransductiveDetector(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Shared by detectors that score only the records they were fitted on."""

    scores_: NDArray[np.float64]

    def score_samples(
        self, X: NDArray[np.floating] | None = None, y: ArrayLike | None = None
    ) -> NDArray[np.float64]:
        """The scores of the fitted records; ValueError for others."""
        if X is not None:
            raise ValueError(f"{type(self).__name__} scores only the records that it was fitted on")
        return fitted_scores(self)


def fitted_scores(detector: Any) -> NDArray[np.float64]:
    """`scores_`; scikit-learn's NotFittedError (a ValueError) before `fit`."""
    from sklearn.utils.validation import check_is_fitted

    check_is_fitted(detector, "scores_")
    return np.asarray(detector.scores_)


def checked(X: NDArray[np.floating], least: int = 2) -> NDArray[np.floating]:
    """`X` as a matrix of numbers with at least this many rows and one column, not copied; ValueError otherwise."""
    rows = X if isinstance(X, np.ndarray) else np.asarray(X)
    if rows.ndim != 2 or rows.shape[1] == 0:
        raise ValueError(f"features must have the shape (N, D), not {rows.shape}")
    if not np.issubdtype(rows.dtype, np.number) or np.iscomplexobj(rows):
        raise ValueError(f"features must be real numbers, not {rows.dtype}")
    if len(rows) < least:
        raise ValueError(f"at least {least} records are needed, not {len(rows)}")
    return rows


def checked_labels(y: ArrayLike | None, n: int, detector: Any) -> NDArray[np.generic]:
    """`y` as an array of n labels of any kind; ValueError otherwise."""
    if y is None:
        raise ValueError(f"{type(detector).__name__} compares records with their labels: give y")
    labels = np.asarray(y)
    if labels.shape != (n,):
        raise ValueError(f"y must have the shape ({n},), not {labels.shape}")
    if np.issubdtype(labels.dtype, np.floating) and not np.isfinite(labels).all():
        raise ValueError("y holds NaN or infinite values")
    return labels


def graph_of(
    X: NDArray[np.floating], k: int, n_jobs: int | None, given: NeighbourGraph | None
) -> NeighbourGraph:
    """The given graph where it fits these rows and k, ValueError where it does not; a new one when none is given."""
    if given is None:
        return NeighbourGraph.of(X, k, n_jobs=n_jobs)
    n, width = given.neighbours.indices.shape
    if n != len(X):
        raise ValueError(f"the neighbour graph is of {n} records, not {len(X)}")
    if width < min(k, n - 1):
        raise ValueError(f"the neighbour graph has {width} neighbours a record; {k} are needed")
    return given
