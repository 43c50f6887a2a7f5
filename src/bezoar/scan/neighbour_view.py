"""View 3: labels against an independent encoder's space. Finds relabelled and colliding records, and outliers."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from bezoar.scan.evidence import Gallery
from bezoar.scan.functional.combination import ANOTHER_VIEW, needed_alone
from bezoar.scan.functional.disagreement import (
    FIRM,
    InflowTest,
    PairTest,
    inflow_tests,
    margin_of_poison,
    pair_tests,
)
from bezoar.scan.functional.mahalanobis import benjamini_hochberg
from bezoar.scan.result import Example, Finding, Severity
from bezoar.scan.scene import Evidence, Scene
from bezoar.scan.sensitivity import relabel_sensitivity
from bezoar.scan.space import Space, example
from bezoar.seeds import generator

_MIN_RECORDS = 5  # deep disagreements that a finding of planted labels needs
_FAMILIES = 2  # pairs of labels, and labels
_ORIGINS = 5  # labels named as origins
_FALSE_DISCOVERIES = 0.01
_SHOWN = 12


def neighbours(scene: Scene, alpha: float) -> Evidence:
    """View 3: labels that hold far more records of other labels than confusion explains, pair by pair and in all."""
    space, names = scene.space, scene.label_names
    pairs = [t for t in pair_tests(space.votes, space.labels, len(names)) if t.count >= _MIN_RECORDS]
    inflows = [t for t in inflow_tests(space.votes, space.labels, len(names)) if t.count >= _MIN_RECORDS]
    p_values = np.ones(len(names))
    tests: list[PairTest | InflowTest] = [*pairs, *inflows]
    for test in tests:
        p_values[test.given] = min(p_values[test.given], _FAMILIES * test.p_value)
    level = alpha / _FAMILIES
    findings = [
        *(_from_one(test, space, names, scene.gallery) for test in pairs if test.p_value <= level),
        *(_from_all(test, space, names, scene.gallery) for test in inflows if test.p_value <= level),
    ]
    return Evidence(
        "neighbours",
        p_values,
        tuple(findings),
        {
            "label_disagreement": space.votes.margin.astype(np.float64),
            "mahalanobis": space.outlier_score,
            "mahalanobis_p": space.outlier_p,
        },
        (
            partial(
                relabel_sensitivity,
                space,
                needed_alone(alpha, ANOTHER_VIEW) / _FAMILIES,
                generator(scene.seed, "canaries", "relabelled"),
            ),
        ),
    )


def _from_one(test: PairTest, space: Space, names: tuple[str, ...], gallery: Gallery) -> Finding:
    """The finding of one significant pair: all its records whose neighbours lean to the other label."""
    votes = space.votes
    rows = np.flatnonzero((space.labels == test.given) & (votes.other == test.other) & (votes.margin > 0))
    given, other = names[test.given], names[test.other]
    return _finding(
        test,
        rows,
        space,
        gallery,
        title=f"{len(rows)} records labelled {given!r} lie among {other!r}",
        explanation=(
            f"In the space of an encoder that never saw these labels, {test.count} records labelled {given!r} have neighbours "
            f"that are almost all {other!r}; the confusion between classes in this dataset explains about "
            f"{test.expected:.0f}. Relabelled images, and images perturbed until they collide with {other!r}, look like this. "
            "A systematic labelling mistake does too: look at the examples."
        ),
        origins=(test.other,),
    )


def _from_all(test: InflowTest, space: Space, names: tuple[str, ...], gallery: Gallery) -> Finding:
    """The finding of a label into which records of many labels were moved."""
    votes, given = space.votes, names[test.given]
    least = margin_of_poison(votes, space.labels, test.given)
    rows = np.flatnonzero((space.labels == test.given) & (votes.margin > least))
    origin, count = np.unique(votes.other[rows], return_counts=True)
    return _finding(
        test,
        rows,
        space,
        gallery,
        title=f"{len(rows)} records labelled {given!r} lie among other labels",
        explanation=(
            f"In the space of an encoder that never saw these labels, {test.count} records labelled {given!r} have neighbours "
            f"that almost all carry another label; the confusion between classes in this dataset, and label noise that strikes "
            f"all classes alike, explain about {test.expected:.0f}. Backdoors that relabel images of every class look like this. "
            "A class that was labelled carelessly does too: look at the examples."
        ),
        origins=tuple(int(label) for label in origin[np.argsort(-count, kind="stable")][:_ORIGINS]),
    )


def _finding(
    test: PairTest | InflowTest,
    rows: NDArray[np.int64],
    space: Space,
    gallery: Gallery,
    *,
    title: str,
    explanation: str,
    origins: tuple[int, ...],
) -> Finding:
    rows = rows[np.argsort(-space.votes.margin[rows], kind="stable")]
    return Finding(
        kind="label-disagreement",
        severity=Severity.POISON,
        title=title,
        explanation=explanation,
        records=space.records[rows],
        p_value=min(1.0, _FAMILIES * test.p_value),
        target=test.given,
        origins=origins,
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
            title=f"{len(rows)} {'record lies far from its' if len(rows) == 1 else 'records lie far from their'} own class",
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
            title=f"{len(rows)} record{'s' * (len(rows) > 1)} whose neighbours carry another label",
            explanation=(
                "Each lies deep among another class, in no common direction: label mistakes, or single poisoned records too few "
                "for any test. Worth a look."
            ),
            records=space.records[rows],
            examples=_examples(space, rows, gallery),
        )
    ]


def _examples(space: Space, rows: NDArray[np.int64], gallery: Gallery) -> tuple[Example, ...]:
    """The first of these rows, each against the strongest other label among its neighbours."""
    excluded = np.zeros(len(space.records), dtype=bool)
    excluded[rows] = True
    return tuple(
        example(space, int(row), gallery, excluded, int(space.votes.other[row])) for row in rows[:_SHOWN]
    )
