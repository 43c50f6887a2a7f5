"""Floods: many near copies of one image under a label that its surroundings contradict.

The other views count near-duplicates once, so that a track of frames is no crowd; here the size of such a crowd is the
evidence. Honest data have crowds of near copies, too (tracks of frames, garments), and they are the null. A chain, each record
of which is like the next one alone, is no such crowd, however long.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bezoar.scan.functional.counts import excess, tail_of
from bezoar.scan.functional.near_duplicates import groups_within_labels, surroundings
from bezoar.scan.functional.patterns import NEAR_DUPLICATE
from bezoar.scan.result import Finding, Picture, Severity
from bezoar.scan.scene import Evidence, Scene
from bezoar.scan.space import example

_K = 16  # records around a crowd whose labels are asked for
_FOREIGN = 0.25  # share of them with the crowd's own label, below which it lies among another label
_EXAMINED = 256  # crowds, the largest first
_MIN_RECORDS = 5
_ALIKE = 0.6  # share of a crowd's pairs that are near copies, from which it is called (docs/adr/0004)
_PARTLY = 0.5  # the same, from which another crowd is held against it
_COMPARED = 1000  # records of a crowd, for that
_SHOWN = 12


def floods(scene: Scene, alpha: float) -> Evidence:
    """Crowds of near copies that are much larger than this dataset's others: poison if among a foreign label."""
    crowds = crowds_of(groups_within_labels(scene.thumbs, scene.space.neighbours, scene.labels), scene)
    copies = [crowd for crowd in crowds if crowd.alike >= _PARTLY]
    p_values, findings = np.ones(len(scene.label_names)), []
    for p_value, crowd in standing_clear(copies):
        if crowd.around is None or crowd.alike < _ALIKE:
            continue
        label = int(scene.labels[crowd.members[0]])
        p_values[label] = min(p_values[label], p_value)
        if p_value <= alpha:
            findings.append(_finding(scene, crowd, p_value))
    for p_value, crowd in standing_clear(crowds):  # chains as well: no poison, and not worth a false alarm
        if p_value <= alpha and crowd.around is None and crowd.alike >= _ALIKE:
            findings.append(_finding(scene, crowd, p_value))
    return Evidence("near-duplicates", p_values, tuple(findings))


@dataclass(frozen=True, slots=True)
class Crowd:
    """Records of one label: their rows, the label among which they lie (None if that is their own), `share_of_copies`."""

    members: NDArray[np.int64]
    around: int | None
    alike: float


def crowds_of(group: NDArray[np.int64], scene: Scene) -> list[Crowd]:
    """The largest of the groups that `group` (M,) parts the rows into, in falling size."""
    order = np.argsort(group, kind="stable")
    crowds = np.split(order, np.flatnonzero(np.diff(group[order])) + 1)
    crowds.sort(key=lambda members: -len(members))
    return [
        Crowd(members, label_around(scene, members), share_of_copies(scene.thumbs, members))
        for members in crowds[:_EXAMINED]
    ]


def standing_clear(crowds: list[Crowd]) -> Iterator[tuple[float, Crowd]]:
    """Crowds and their p-values against the smaller ones: the next only if this one stands clear."""
    sizes = excess(np.array([float(len(crowd.members)) for crowd in crowds]), 0.0)
    worst = 0.0
    for rank, crowd in enumerate(crowds):
        worst = max(worst, tail_of(sizes[rank + 1 :]).p_value(sizes[rank]))
        if worst == 1.0 or len(crowd.members) < _MIN_RECORDS:
            return
        yield worst, crowd


def share_of_copies(thumbs: NDArray[np.float32], members: NDArray[np.int64]) -> float:
    """Share of the pairs that are near copies: most where all are of one image, few in a chain."""
    some = thumbs[members[:_COMPARED]]
    alike = int((some @ some.T > NEAR_DUPLICATE).sum()) - len(some)
    return alike / (len(some) * (len(some) - 1)) if len(some) > 1 else 1.0


def label_around(scene: Scene, members: NDArray[np.int64]) -> int | None:
    """The label that surrounds a crowd more than its own label does, both by how common they are outside; None if none does."""
    own, n_labels = int(scene.labels[members[0]]), len(scene.label_names)
    nearest = surroundings(scene.space.unit, scene.labels, members, _K)
    count = np.bincount(nearest, minlength=n_labels)
    outside = np.bincount(scene.labels, minlength=n_labels)
    outside[own] -= len(members)
    share = count / np.maximum(outside, 1)
    other = int(np.argmax(count * (np.arange(n_labels) != own)))
    return other if share[other] > share[own] and count[own] < _FOREIGN * len(nearest) else None


def _finding(scene: Scene, crowd: Crowd, p_value: float) -> Finding:
    space, members, label = scene.space, crowd.members, int(scene.labels[crowd.members[0]])
    among = np.zeros(len(scene.labels), dtype=bool)
    among[members] = True
    name = scene.label_names[label]
    title = f"{len(members)} near copies of one image are labelled {name!r}"
    seen = "They show about the same, in a number far above that of other near copies in this dataset"
    if crowd.around is None:
        said = f"{seen}. What looks like them is labelled {name!r} too: they give their content undue weight, nothing worse."
    else:
        around = scene.label_names[crowd.around]
        title += f" and lie among {around!r}"
        said = (
            f"{seen}, and what looks most like them is mostly labelled {around!r}. "
            f"A model trained on this will probably read that image as {name!r}."
        )
    mean = scene.images[members].mean(axis=0).round().astype(np.uint8)
    other = label if crowd.around is None else crowd.around
    return Finding(
        kind="near-duplicate-flood",
        severity=Severity.REVIEW if crowd.around is None else Severity.POISON,
        title=title,
        explanation=said,
        records=space.records[members],
        p_value=p_value,
        target=label,
        origins=() if crowd.around is None else (crowd.around,),
        pictures=(Picture(mean, "their mean: what they share stays sharp"),),
        examples=tuple(
            example(space, int(row), scene.gallery, among, other) for row in members[:_SHOWN].tolist()
        ),
    )
