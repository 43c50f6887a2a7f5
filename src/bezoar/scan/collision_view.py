"""Collisions: records that look different, carry one label, and lie in one spot of the encoder's space, among another label.

Poison that is made to collide with a target (Shafahi et al. 2018, arXiv 1804.00792; Aghakhani et al. 2021, arXiv 2005.00191)
votes for itself among the neighbours there. What gives it away is that nothing honest is so close without looking alike. It is
seen in the space of the attacked encoder: see `--encoder`.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from bezoar.scan.flood_view import Crowd, crowds_of, label_around
from bezoar.scan.functional.counts import excess, tail_of
from bezoar.scan.functional.near_duplicates import collisions_within_labels, surroundings
from bezoar.scan.result import Finding, Severity
from bezoar.scan.scene import Evidence, Scene, distinct_of
from bezoar.scan.space import example

_MIN_RECORDS = 5
_FITS = 10  # of a spot to what it holds, at most
# of its label, that a spot set apart may hold: without most of a label, its rest lies among others
_MINORITY = 0.2
_ROUND_ABOUT = 16  # records around a spot
_MIXED = 0.4  # share of them with the spot's label, up to which they are mixed
_MOSTLY_TOLD = 0.5  # of a spot, from which it is not told again
_SHOWN = 12

Spot = tuple[float, NDArray[np.int64], int, int]  # p-value, rows, label around them, how many were linked


def collisions(scene: Scene, alpha: float) -> Evidence:
    """Crowds of unlike records in one spot among a foreign label: much larger than this dataset's others, or set apart."""
    space = scene.space
    group = collisions_within_labels(space.unit, scene.thumbs, space.neighbours, scene.labels)
    crowds = crowds_of(group, scene)
    p_values, findings, told = np.ones(len(scene.label_names)), [], np.zeros(len(scene.labels), dtype=bool)
    for p_value, rows, around, linked in [*_much_larger(scene, crowds), *_set_apart(scene, crowds)]:
        p_value = min(1.0, 2 * p_value)  # the two share the error
        label = int(scene.labels[rows[0]])
        p_values[label] = min(p_values[label], p_value)
        if p_value <= alpha and told[rows].mean() < _MOSTLY_TOLD:
            findings.append(_finding(scene, rows, around, linked, p_value))
            told[rows] = True
    return Evidence("collisions", p_values, tuple(findings))


def _much_larger(scene: Scene, crowds: list[Crowd]) -> Iterator[Spot]:
    """Crowds that stand clear of the others by their size: the next only if this one does."""
    sizes = excess(
        np.array([float(len(crowd.members)) for crowd in crowds]), 0.0
    )  # the scale that its tail is meant for
    honest = np.ones(len(crowds), dtype=bool)
    worst = 0.0
    for i, crowd in enumerate(crowds):
        if len(crowd.members) < _MIN_RECORDS:
            return
        rows = _spot(scene, crowd.members)
        around = label_around(scene, rows)
        if around is not None:
            honest[i] = False
            worst = max(worst, tail_of(sizes[honest]).p_value(sizes[i]))
            yield worst, rows, around, len(crowd.members)


def _set_apart(scene: Scene, crowds: list[Crowd]) -> Iterator[Spot]:
    """Crowds that nothing of their label leads up to, most certain first.

    Bullseye Polytope moves the mean of its poison onto a target and leaves each image at some distance, so that few pairs are
    close; but a spot that is fitted to any of them anew, until it stays the same, has all of them. Honest groups among another
    label thin out: of their label about as many records lie half-way as lie inside.
    """
    spots: dict[bytes, tuple[NDArray[np.int64], int]] = {}  # several crowds may lead to one
    for crowd in crowds:
        if len(crowd.members) > 1:
            rows = _settled(scene, crowd.members)
            spots.setdefault(np.sort(rows).tobytes(), (rows, len(crowd.members)))
    large = [(rows, linked) for rows, linked in spots.values() if len(rows) >= _MIN_RECORDS]
    count, found = distinct_of(scene), []
    for rows, linked in large:
        around = _target_label(scene, rows)
        few = len(rows) <= _MINORITY * (scene.labels == scene.labels[rows[0]]).sum()
        if around is not None and few and _strangers(scene, rows) <= len(rows) / 2:
            inside, half_way = count(rows), _half_way(scene, rows)
            p_value = len(large) * float(binom.sf(inside - 1, inside + half_way, 0.5))
            found.append((min(1.0, p_value), rows, around, linked))
    yield from sorted(found, key=lambda spot: (spot[0], -len(spot[1])))


def _target_label(scene: Scene, rows: NDArray[np.int64]) -> int | None:
    """The label around a spot, or that of the record in its very middle, where poison has its target; None without either.

    The middle is asked only where what surrounds the spot is mixed: a wrong label in the middle of what its own label surrounds
    is a wrong label.
    """
    own, nearness = scene.labels[rows[0]], scene.space.unit @ scene.space.unit[rows].mean(axis=0)
    middle = int(scene.labels[nearness.argmax()])
    nearest = surroundings(scene.space.unit, scene.labels, rows, _ROUND_ABOUT)
    mixed = middle != own and (nearest == own).mean() <= _MIXED
    return middle if mixed else label_around(scene, rows)


def _settled(scene: Scene, members: NDArray[np.int64]) -> NDArray[np.int64]:
    """The spot that is its own: fitted to the rows that it holds."""
    for _ in range(_FITS):
        rows = _spot(scene, members)
        if np.array_equal(np.sort(rows), np.sort(members)):
            break
        members = rows
    return rows


def _strangers(scene: Scene, rows: NDArray[np.int64]) -> int:
    """Records of other labels inside the spot: records with wrong labels lie scattered among them."""
    nearness = scene.space.unit @ scene.space.unit[rows].mean(axis=0)
    inside = nearness >= nearness[rows].min()
    return int((inside & (scene.labels != scene.labels[rows[0]])).sum())


def _half_way(scene: Scene, rows: NDArray[np.int64]) -> int:
    """Records of the spot's label outside it that are nearer to it than half-way to its edge."""
    outside, nearness, edge, usual = _nearness(scene, rows)
    return int((nearness[outside] >= (edge + usual) / 2).sum())


def _spot(scene: Scene, members: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows of the crowd's label that lie nearer to its middle than half-way to where the label usually lies, nearest first."""
    own = np.flatnonzero(scene.labels == scene.labels[members[0]])
    _, nearness, edge, _ = _nearness(scene, members)
    near = nearness >= edge
    order = np.argsort(-nearness[near], kind="stable")
    return np.asarray(own[near][order], dtype=np.int64)


def _nearness(
    scene: Scene, members: NDArray[np.int64]
) -> tuple[NDArray[np.bool_], NDArray[np.float32], float, float]:
    """Of the label's rows: which are not members, and how near they are to the members' middle; the half-way edge; the usual."""
    centre = scene.space.unit[members].mean(axis=0)
    own = np.flatnonzero(scene.labels == scene.labels[members[0]])
    nearness = scene.space.unit[own] @ centre
    outside = ~np.isin(own, members)
    usual = float(np.median(nearness[outside])) if outside.any() else 0.0
    return outside, nearness, (float(np.median(nearness[~outside])) + usual) / 2, usual


def _finding(scene: Scene, rows: NDArray[np.int64], around: int, linked: int, p_value: float) -> Finding:
    label = int(scene.labels[rows[0]])
    name, other = scene.label_names[label], scene.label_names[around]
    excluded = np.zeros(len(scene.labels), dtype=bool)
    excluded[rows] = True
    surrounded = label_around(scene, rows) == around
    nearest = "What is nearest to them otherwise is mostly" if surrounded else "The record in its middle is"
    return Finding(
        kind="feature-collision",
        severity=Severity.POISON,
        title=f"{len(rows)} records labelled {name!r} look different but collide in one spot "
        f"{'among' if surrounded else 'around a record of'} {other!r}",
        explanation=(
            f"To the encoder these records are nearly the same, though their pictures are not: {linked} of them are linked by "
            "pairs as close as the closest thousandth in this dataset. Such a spot is either much larger than any other here, or "
            f"nothing else of its label leads up to it. {nearest} labelled {other!r}. "
            "Images that were perturbed to collide with a target look like this: a "
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
