"""Groups of a label that stand apart in pixels, judged by what they look like without their own company.

Planted records vote for each other: half of a label in poison looks at home there. So a group's own records have no vote, and
the group is held against honest company, whose own have none either (as in `spectrum_carriers`, by the neighbours at hand).
The p-value is no error rate by itself: a sub-class that stands apart gets a tiny one. `spectrum_carriers.examined` decides.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from bezoar.scan.functional.spectrum_mixture import Mask, distinct
from bezoar.scan.scene import Scene
from bezoar.scan.spectrum_carriers import FEWEST_FOREIGN, LEAST_FOREIGN, REFERENCES, Found

_JURY = 16  # nearest records outside a group that say what one of its records looks like
_LEAST_USUAL = 0.05  # of honest company that is taken to look foreign


def foreign_groups(
    scene: Scene,
    labels: NDArray[np.int32],
    label: int,
    rows: NDArray[np.int64],
    groups: list[Mask],
    most: int,
    rng: np.random.Generator,
) -> tuple[list[Found], int]:
    """The `most` most foreign of these groups of one label's `rows` (n,) and of their complements; how many were tested.

    `labels` (M,) are the scene's, or those of a copy in which canaries are planted.
    """
    sides = [side for group in groups for side in (group, ~group)]
    looks = _Looks(scene, labels, label, rows)
    ranked = []
    for side in sides:
        foreign = looks.foreign(side, unsure=False)
        if foreign.mean() >= LEAST_FOREIGN:
            ranked.append((binom.logsf(foreign.sum() - 1, len(foreign), 0.5), side))
    ranked.sort(key=lambda pair: pair[0])
    if not ranked:
        return [], len(sides)
    apart = distinct(np.column_stack([side for _, side in ranked])).T[:most]
    judged = [_judged(scene, looks, side, rng) for side in apart]
    return [item for item in judged if item is not None], len(sides)


class _Looks:
    """Which of a label's rows look foreign when some of them have no vote."""

    def __init__(self, scene: Scene, labels: NDArray[np.int32], label: int, rows: NDArray[np.int64]) -> None:
        self.label, self.rows = label, rows
        neighbours = scene.space.neighbours[rows]
        self._votes = labels[neighbours]
        place = np.full(len(labels), len(rows))
        place[rows] = np.arange(len(rows))
        self._place = place[neighbours]
        self._n_labels = len(scene.label_names)

    def foreign(self, group: Mask, *, unsure: bool) -> Mask:
        """Whether each of the `group` does, by the first voters outside it; `unsure` is said of those who have none."""
        votes, voters = self._votes[group], ~np.append(group, False)[self._place[group]]
        voters &= np.cumsum(voters, axis=1) <= _JURY
        cells = (np.arange(len(votes))[:, None] * self._n_labels + votes)[voters]
        counts = np.bincount(cells, minlength=len(votes) * self._n_labels).reshape(len(votes), -1)
        return np.where(voters.any(axis=1), counts.argmax(axis=1) != self.label, unsure)


def _judged(scene: Scene, looks: _Looks, side: Mask, rng: np.random.Generator) -> Found | None:
    """A group by how many independent records of it look foreign, where as many do as in the strangest honest company."""
    members, rest = looks.rows[side], np.flatnonzero(~side)
    independent = scene.independent_of(members)
    size = min(len(members), len(rest) // 2)
    if independent < FEWEST_FOREIGN or len(rest) < _JURY:  # fewer could win no vote, whoever asked
        return None
    usual = _LEAST_USUAL
    unit = scene.space.unit[looks.rows[rest]]
    for start in rng.permutation(len(rest))[:REFERENCES]:
        company = side.copy()
        company[rest[np.argpartition(-(unit @ unit[start]), size - 1)[:size]]] = True
        usual = max(usual, float(looks.foreign(company, unsure=True)[~side[company]].mean()))
    strange = round(looks.foreign(side, unsure=False).mean() * independent)
    log_p = max(float(binom.logsf(strange - 1, independent, usual)), np.log(1e-300))
    return Found(looks.label, members, log_p, strange, usual * independent, None)
