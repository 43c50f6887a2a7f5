"""View 3: labels against an independent encoder's space. Finds relabelled and colliding records, and outliers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bezoar.errors import InputError
from bezoar.progress import track
from bezoar.scan.evidence import Gallery
from bezoar.scan.functional.disagreement import FIRM, KS, Disagreement, PairTest, pair_tests, vote
from bezoar.scan.functional.mahalanobis import benjamini_hochberg, log_distances, outlier_p_values
from bezoar.scan.functional.neighbours import nearest, unit_rows
from bezoar.scan.result import Example, Finding, Picture, Severity

_MIN_RECORDS = 5  # deep disagreements that a finding of planted labels needs
_FALSE_DISCOVERIES = 0.01
_SHOWN = 12
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


def planted_labels(space: Space, names: tuple[str, ...], alpha: float, gallery: Gallery) -> list[Finding]:
    """Pairs of labels between which far more records lie on the wrong side than confusion explains."""
    return [
        _planted(test, space, names, gallery)
        for test in pair_tests(space.votes, space.labels, len(names))
        if test.p_value <= alpha and test.count >= _MIN_RECORDS
    ]


def _planted(test: PairTest, space: Space, names: tuple[str, ...], gallery: Gallery) -> Finding:
    """The finding of one significant pair: all its records whose neighbours lean to the other label."""
    votes = space.votes
    rows = np.flatnonzero((space.labels == test.given) & (votes.other == test.other) & (votes.margin > 0))
    rows = rows[np.argsort(-votes.margin[rows], kind="stable")]
    given, other = names[test.given], names[test.other]
    return Finding(
        kind="label-disagreement",
        severity=Severity.POISON,
        title=f"{len(rows)} records labelled {given!r} lie among {other!r}",
        explanation=(
            f"In the space of an encoder that never saw these labels, {test.count} records labelled {given!r} have neighbours "
            f"that are almost all {other!r}; the confusion between classes in this dataset explains about "
            f"{test.expected:.0f}. Relabelled images, and images perturbed until they collide with {other!r}, look like this. "
            "A systematic labelling mistake does too: look at the examples."
        ),
        records=space.records[rows],
        p_value=test.p_value,
        target=test.given,
        origins=(test.other,),
        examples=_examples(space, rows, gallery),
        details={"deep_disagreements": test.count, "expected": test.expected},
    )


def outliers(space: Space, taken: NDArray[np.bool_], gallery: Gallery) -> list[Finding]:
    """Records far from everything in their class (Benjamini-Hochberg at 1 %), for a person to look at."""
    rows = np.flatnonzero(benjamini_hochberg(space.outlier_p, _FALSE_DISCOVERIES) & ~taken[space.records])
    if not len(rows):
        return []
    rows = rows[np.argsort(space.outlier_p[rows], kind="stable")]
    return [
        Finding(
            kind="feature-outliers",
            severity=Severity.REVIEW,
            title=f"{len(rows)} records lie far from their own class",
            explanation=(
                "Class-conditional Mahalanobis distance in the encoder's space, false discovery rate 1 %. Odd crops, foreign "
                "objects and damaged images look like this far more often than poison does."
            ),
            records=space.records[rows],
            examples=_examples(space, rows, gallery),
        )
    ]


def lone_disagreements(space: Space, taken: NDArray[np.bool_], gallery: Gallery) -> list[Finding]:
    """Single records with neighbours that agree on another label, where such records are rare."""
    rows = np.flatnonzero((space.votes.margin >= FIRM) & ~taken[space.records])
    if not 0 < len(rows) <= max(_MIN_RECORDS, len(space.records) // 200):
        return []
    rows = rows[np.argsort(-space.votes.margin[rows], kind="stable")]
    return [
        Finding(
            kind="lone-disagreements",
            severity=Severity.REVIEW,
            title=f"{len(rows)} records whose neighbours carry another label",
            explanation=(
                "Each lies deep among another class, in no common direction: label mistakes, or single poisoned records too few "
                "for any test. Worth a look."
            ),
            records=space.records[rows],
            examples=_examples(space, rows, gallery),
        )
    ]


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


def _examples(space: Space, rows: NDArray[np.int64], gallery: Gallery) -> tuple[Example, ...]:
    """The first of these rows, each against the strongest other label among its neighbours."""
    excluded = np.zeros(len(space.records), dtype=bool)
    excluded[rows] = True
    return tuple(
        example(space, int(row), gallery, excluded, int(space.votes.other[row])) for row in rows[:_SHOWN]
    )
