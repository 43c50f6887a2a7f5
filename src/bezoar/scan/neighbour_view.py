"""View 3: labels against an independent encoder's space. Finds relabelled and colliding records, and outliers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bezoar.progress import track
from bezoar.scan.evidence import Gallery
from bezoar.scan.functional.disagreement import FIRM, KS, Disagreement, PairTest, pair_tests, vote
from bezoar.scan.functional.mahalanobis import benjamini_hochberg, log_distances, outlier_p_values
from bezoar.scan.functional.neighbours import nearest
from bezoar.scan.result import Example, Finding, Picture, Severity

_MIN_RECORDS = 5  # deep disagreements that a finding of planted labels needs
_FALSE_DISCOVERIES = 0.01
_SHOWN = 12


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


def build_space(
    features: NDArray[np.float32], records: NDArray[np.int64], labels: NDArray[np.int32], n_labels: int
) -> Space:
    """Neighbours, votes and distances of `features` (M, D), the rows of `records` with `labels`."""
    with track("nearest neighbours", len(features)) as bar:
        found = nearest(features, min(max(KS), len(features) - 1), on_rows=bar.advance)
    score = log_distances(features, labels)
    votes = vote(found.indices, labels, n_labels)
    return Space(records, labels, found.indices, votes, outlier_p_values(score, labels), score)


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
            f"In the space of an encoder that never saw the labels, {test.count} records labelled {given!r} have neighbours "
            f"that are almost all {other!r}; the confusion between classes in this dataset explains about "
            f"{test.expected:.0f}. Relabelled images, and images perturbed until they collide with {other!r}, look like this. "
            "A systematic labelling mistake does too: look at the examples."
        ),
        records=space.records[rows],
        p_value=test.p_value,
        target=test.given,
        origins=(test.other,),
        examples=tuple(example(space, int(row), gallery) for row in rows[:_SHOWN]),
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
            examples=tuple(example(space, int(row), gallery) for row in rows[:_SHOWN]),
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
            examples=tuple(example(space, int(row), gallery) for row in rows[:_SHOWN]),
        )
    ]


def example(
    space: Space, row: int, gallery: Gallery, box: tuple[float, float, float, float] | None = None
) -> Example:
    """A record with its nearest neighbours in its own and in the other class."""
    near = space.neighbours[row]
    same = near[space.labels[near] == space.labels[row]][:3]
    other = near[space.labels[near] == space.votes.other[row]][:3]

    def pictures(rows: NDArray[np.int64]) -> tuple[Picture, ...]:
        return tuple(gallery.record(int(space.records[r])) for r in rows)

    return Example(gallery.record(int(space.records[row]), box), pictures(same), pictures(other))
