"""Suspects against a trusted sample: labels whose records are more foreign to it than the sample is to itself."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bezoar.scan.functional.combination import holm
from bezoar.scan.functional.conformal import Exceedance, exceedance, foreignness
from bezoar.scan.result import Finding, Severity
from bezoar.scan.scene import Evidence, Scene
from bezoar.scan.space import example

_MIN_TRUSTED = 20  # records to calibrate a label with, below which it is not tested
_MIN_RECORDS = 5  # independent records that a finding needs
_DRIFT = 0.5  # share of the tested labels from which the sample, not the dataset, is what differs
_SHOWN = 12


def against_trusted(scene: Scene, alpha: float) -> Evidence:
    """One exact test per label with at least 20 records to calibrate with (Holm over labels); needs `scene.trusted`."""
    if scene.trusted is None:
        raise ValueError("the scene holds no trusted sample")
    space, trusted = scene.space, scene.trusted
    reference = trusted.reference, trusted.reference_labels
    own = foreignness(trusted.calibration, trusted.calibration_labels, *reference)
    scores = foreignness(space.unit, space.labels, *reference)
    sizes = np.bincount(trusted.calibration_labels[np.isfinite(own)], minlength=len(scene.label_names))
    tested = [label for label in np.unique(space.labels).tolist() if sizes[label] >= _MIN_TRUSTED]
    found = {label: _test(scene, scores, own, label) for label in tested}
    p_values = np.ones(len(scene.label_names))
    p_values[tested] = holm(np.array([found[label].p_value for label in tested]))
    rejected = [label for label in tested if p_values[label] <= alpha]
    columns = {"unlike_trusted": scores}
    if len(rejected) > max(1.0, _DRIFT * len(tested)):
        return Evidence(
            "trusted", np.ones(len(p_values)), (_drift(scene, scores, len(rejected), len(tested)),), columns
        )
    findings = tuple(
        _finding(scene, scores, found[label], label, float(p_values[label])) for label in rejected
    )
    return Evidence("trusted", p_values, findings, columns)


def _test(scene: Scene, scores: NDArray[np.float64], own: NDArray[np.float64], label: int) -> Exceedance:
    trusted = scene.trusted
    assert trusted is not None  # noqa: S101  # `against_trusted` has looked
    rows = np.flatnonzero(scene.labels == label)
    theirs = own[(trusted.calibration_labels == label) & np.isfinite(own)]
    found = exceedance(scores[rows], theirs)
    above = rows[scores[rows] > found.threshold]
    # near-duplicates are one observation: with too few independent ones there is nothing to tell
    if len(above) and scene.independent_of(above[:2000]) >= _MIN_RECORDS:
        return found
    return Exceedance(1.0, found.threshold)


def _finding(
    scene: Scene, scores: NDArray[np.float64], found: Exceedance, label: int, p_value: float
) -> Finding:
    space = scene.space
    rows = np.flatnonzero((scene.labels == label) & (scores > found.threshold))
    rows = rows[np.argsort(-scores[rows], kind="stable")]
    excluded = np.zeros(len(scores), dtype=bool)
    excluded[rows] = True
    name = scene.label_names[label]
    return Finding(
        kind="unlike-trusted",
        severity=Severity.POISON,
        title=f"{len(rows)} records labelled {name!r} are unlike the trusted ones",
        explanation=(
            f"In the encoder's space these records lie closer to trusted records of other labels than trusted records labelled "
            f"{name!r} themselves do. Were the dataset like the trusted sample, so many of them would be as unlikely as the "
            "p-value says. Relabelled and colliding records look like this; so does honest data of another kind than the sample."
        ),
        records=space.records[rows],
        p_value=p_value,
        target=label,
        examples=tuple(
            example(space, int(row), scene.gallery, excluded, int(space.votes.other[row]))
            for row in rows[:_SHOWN]
        ),
        details={"threshold": round(found.threshold, 4)},
    )


def _drift(scene: Scene, scores: NDArray[np.float64], rejected: int, tested: int) -> Finding:
    most = np.argsort(-np.nan_to_num(scores, nan=-np.inf), kind="stable")[:_SHOWN]
    return Finding(
        kind="unlike-trusted",
        severity=Severity.REVIEW,
        title="The trusted sample and the dataset are of different kinds",
        explanation=(
            f"{rejected} of {tested} labels hold more foreign records than the sample explains. Poison does not strike most "
            "labels at once: the sample was probably collected in another way, and it was not used. The records shown are the "
            "most foreign."
        ),
        records=scene.space.records[most],
        details={"labels_rejected": rejected, "labels_tested": tested},
    )
