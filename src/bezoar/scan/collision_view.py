"""Collisions: records that look different, carry one label, and lie in one spot of the encoder's space, among another label.

Poison that is made to collide with a target (Shafahi et al. 2018, arXiv 1804.00792; Aghakhani et al. 2021, arXiv 2005.00191)
votes for itself among the neighbours there. What gives it away is that nothing honest is so close without looking alike. It is
seen in the space of the attacked encoder: see `--encoder`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bezoar.scan.flood_view import Crowd, crowds_of, label_around
from bezoar.scan.functional.counts import excess, tail_of
from bezoar.scan.functional.near_duplicates import collisions_within_labels
from bezoar.scan.functional.patterns import thumbnails
from bezoar.scan.result import Finding, Severity
from bezoar.scan.scene import Evidence, Scene
from bezoar.scan.space import example

_MIN_RECORDS = 5
_SHOWN = 12


def collisions(scene: Scene, alpha: float) -> Evidence:
    """Crowds of unlike records in one spot, much larger than this dataset's others: poison if among a foreign label."""
    space = scene.space
    group = collisions_within_labels(space.unit, thumbnails(scene.images), space.neighbours, scene.labels)
    crowds = crowds_of(group, scene)
    sizes = excess(
        np.array([float(len(crowd.members)) for crowd in crowds]), 0.0
    )  # the scale that its tail is meant for
    honest = np.ones(len(crowds), dtype=bool)
    p_values, findings = np.ones(len(scene.label_names)), []
    for i, crowd in enumerate(crowds):
        if len(crowd.members) < _MIN_RECORDS:
            break
        rows = _spot(scene, crowd)
        around = label_around(scene, rows)
        if around is None:
            continue
        honest[i] = False
        p_value = tail_of(sizes[honest]).p_value(sizes[i])
        if p_value > alpha:
            break
        label = int(scene.labels[rows[0]])
        p_values[label] = min(p_values[label], p_value)
        findings.append(_finding(scene, rows, around, len(crowd.members), p_value))
    return Evidence("collisions", p_values, tuple(findings))


def _spot(scene: Scene, crowd: Crowd) -> NDArray[np.int64]:
    """Rows of the crowd's label that lie nearer to its middle than half-way to where the label usually lies, nearest first."""
    centre = scene.space.unit[crowd.members].mean(axis=0)
    own = np.flatnonzero(scene.labels == scene.labels[crowd.members[0]])
    nearness = scene.space.unit[own] @ centre
    inside = np.isin(own, crowd.members)
    usual = float(np.median(nearness[~inside])) if not inside.all() else 0.0
    near = nearness >= (float(np.median(nearness[inside])) + usual) / 2
    order = np.argsort(-nearness[near], kind="stable")
    return np.asarray(own[near][order], dtype=np.int64)


def _finding(scene: Scene, rows: NDArray[np.int64], around: int, linked: int, p_value: float) -> Finding:
    label = int(scene.labels[rows[0]])
    name, other = scene.label_names[label], scene.label_names[around]
    excluded = np.zeros(len(scene.labels), dtype=bool)
    excluded[rows] = True
    return Finding(
        kind="feature-collision",
        severity=Severity.POISON,
        title=f"{len(rows)} records labelled {name!r} look different but collide in one spot among {other!r}",
        explanation=(
            f"To the encoder these records are nearly the same, though their pictures are not: {linked} of them are linked by "
            "pairs as close as the closest thousandth in this dataset, far more than in any other such spot. What is nearest to "
            f"them otherwise is mostly labelled {other!r}. Images that were perturbed to collide with a target look like this: a "
            f"model built on this encoder will probably read the target as {name!r}."
        ),
        records=scene.space.records[rows],
        p_value=p_value,
        target=label,
        origins=(around,),
        examples=tuple(
            example(scene.space, int(row), scene.gallery, excluded, around) for row in rows[:_SHOWN]
        ),
        details={"linked": linked},
    )
