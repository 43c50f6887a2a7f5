"""The records in an independent encoder's space: neighbours, votes, distances, and what a record looks like."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bezoar.errors import InputError
from bezoar.progress import track
from bezoar.scan.evidence import Gallery
from bezoar.scan.functional.disagreement import KS, Disagreement, vote
from bezoar.scan.functional.mahalanobis import log_distances, outlier_p_values
from bezoar.scan.functional.neighbours import nearest, unit_rows
from bezoar.scan.result import Example, Picture

_COMPARED = 3  # neighbours shown per class
_JURY, _JURY_BLOCK = 16, 256  # neighbours that say what a record looks like; rows at a time


@dataclass(frozen=True, slots=True)
class Space:
    """The M readable, labelled records in the encoder's space.

    Attributes:
        records: int64 (M,), record of each row.
        labels: int32 (M,).
        neighbours: int64 (M, k), rows, nearest first.
        votes: how the neighbours vote.
        outlier_p: float64 (M,), class-conditional Mahalanobis p-values.
        outlier_score: float64 (M,), log squared Mahalanobis distances.
        unit: float32 (M, D), the features with rows of unit length.

    """

    records: NDArray[np.int64]
    labels: NDArray[np.int32]
    neighbours: NDArray[np.int64]
    votes: Disagreement
    outlier_p: NDArray[np.float64]
    outlier_score: NDArray[np.float64]
    unit: NDArray[np.float32]


def build_space(
    features: NDArray[np.float32], records: NDArray[np.int64], labels: NDArray[np.int32], n_labels: int
) -> Space:
    """Neighbours, votes and distances of `features` (M, D), the rows of `records` with `labels`."""
    if not np.isfinite(features).all():
        raise InputError("the encoder gives features that are not finite numbers; choose another encoder")
    with track("nearest neighbours", len(features)) as bar:
        found = nearest(features, min(max(KS), len(features) - 1), on_rows=bar.advance)
    score = log_distances(features, labels)
    votes = vote(found.indices, labels, n_labels)
    p_values = outlier_p_values(score, labels)
    return Space(records, labels, found.indices, votes, p_values, score, unit_rows(features))


def look_alikes(space: Space, rows: NDArray[np.int64], excluded: NDArray[np.bool_]) -> NDArray[np.int32]:
    """The label that most of the nearest rows outside `excluded` carry, for each of `rows`.

    A group of poison would otherwise vote for itself.
    """
    rest = np.flatnonzero(~excluded)
    k = min(_JURY, len(rest))
    looks = np.empty(len(rows), dtype=np.int32)
    for start in range(0, len(rows), _JURY_BLOCK):
        block = rows[start : start + _JURY_BLOCK]
        cosines = space.unit[block] @ space.unit[rest].T
        own = np.flatnonzero(~excluded[block])  # a row must not vote for itself
        cosines[own, np.searchsorted(rest, block[own])] = -2.0
        nearest_rows = rest[np.argpartition(-cosines, k - 1, axis=1)[:, :k]]
        looks[start : start + len(block)] = [
            np.bincount(votes).argmax() for votes in space.labels[nearest_rows]
        ]
    return looks


def example(
    space: Space,
    row: int,
    gallery: Gallery,
    excluded: NDArray[np.bool_],
    other: int,
    box: tuple[float, float, float, float] | None = None,
) -> Example:
    """A record with its nearest unsuspected neighbours in its own class and in the class `other`."""

    def pictures(label: int) -> tuple[Picture, ...]:
        rows = np.flatnonzero((space.labels == label) & ~excluded)
        nearest_rows = rows[np.argsort(-(space.unit[rows] @ space.unit[row]), kind="stable")[:_COMPARED]]
        return tuple(gallery.record(int(space.records[r])) for r in nearest_rows if r != row)

    own = int(space.labels[row])
    return Example(
        gallery.record(int(space.records[row]), box), pictures(own), pictures(other) if other != own else ()
    )
