"""View 3's density scores: how lone, how crumpled the surroundings of each record are in the encoder's space."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bezoar.scan.functional.density import chords, dao, k_distance, over_k, slof
from bezoar.scan.functional.dimensionality import lid
from bezoar.scan.functional.disagreement import KS
from bezoar.scan.scene import Scene
from bezoar.scan.space import Space

_BLOCK = 256


def density(scene: Scene) -> dict[str, NDArray[np.float64]]:
    """Columns of the score table, float64 (M,) each: `k_distance`, `slof`, `dao` and `lid` over k = 8, 16 and 64.

    In robust standard deviations of this dataset, higher = more suspicious. They rank records for a person to look at and
    accuse none: natural outliers are as far out as planted ones.
    """
    space = scene.space
    distances = _distances(space)
    scores: dict[str, list[NDArray[np.float64]]] = {"k_distance": [], "slof": [], "dao": [], "lid": []}
    for k in sorted({min(k, distances.shape[1]) for k in KS}):
        near, rows = distances[:, :k], space.neighbours[:, :k]
        farthest, dimension = k_distance(near), lid(near)
        scores["k_distance"].append(farthest)
        scores["slof"].append(slof(near, rows, farthest))
        scores["dao"].append(dao(near, rows, farthest, dimension))
        scores["lid"].append(dimension)
    return {name: over_k(each) for name, each in scores.items()}


def _distances(space: Space) -> NDArray[np.float64]:
    """Distances (M, k) to the neighbours."""
    cosines = np.empty(space.neighbours.shape, np.float32)
    for start in range(0, len(cosines), _BLOCK):
        here = slice(start, start + _BLOCK)
        near = space.unit[space.neighbours[here]]
        cosines[here] = np.matmul(near, space.unit[here][:, :, None])[:, :, 0]
    return np.maximum.accumulate(chords(cosines), axis=1)  # ascending whatever the rounding
