"""Two classes that are nearly alike have a short way to each other in clean models, too: is this pair such a pair?

Natural backdoors (Tao et al. 2022, arXiv 2205.15592) differ from planted ones by what can be measured on clean images. The reach
from one class to another is by how much, without any trigger, images of the one are told from the other. Where classes are
nearly alike it is short, and a small trigger is no more than that asks for; a planted trigger is small for the reach that it has.
The way back does not tell them apart: from T-shirt to shirt it is three times shorter than from shirt to T-shirt.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bezoar.inspect.evidence import Evidence

_NEXT = 2  # labels that are next to a source
_ACCURACY = 1.5  # of sizes and reaches, as a factor


def reaches(answers: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Median, over clean images of a row's class, of the best logit less a column's (K, K); nan where there are no images.

    `answers` (N, K) are the network's logits, `labels` (N,) the images'.
    """
    gaps = answers.max(1, keepdims=True) - answers
    n_labels = answers.shape[1]
    rows = [gaps[labels == label] for label in range(n_labels)]
    return np.array([np.median(row, axis=0) if len(row) else np.full(n_labels, np.nan) for row in rows])


def nearest(reach: NDArray[np.float64], source: int) -> list[int]:
    """The other labels, the one with the shortest reach from `source` first."""
    return [int(label) for label in np.argsort(reach[source], kind="stable") if label != source]


def is_shortcut(evidence: Evidence, reach: NDArray[np.float64], source: int, target: int) -> bool:
    """Whether a working trigger leads to a label next to its source, and is as large as its reach asks for by its rivals'."""
    asked = min(
        (rival.size / reach[source, rival.target] for rival in evidence.rivals if rival.target is not None),
        default=np.inf,
    )
    explained = evidence.trigger.size / reach[source, target] * _ACCURACY >= asked
    return evidence.works and target in nearest(reach, source)[:_NEXT] and bool(explained)
