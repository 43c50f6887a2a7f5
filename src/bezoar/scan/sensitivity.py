"""What this scan would have noticed: canaries planted in a copy, at falling rates.

Only what a canary touches is scored again (a patch's window, the neighbours of relabelled records), so hundreds of trials cost
seconds.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from bezoar.scan.functional.counts import null_of
from bezoar.scan.functional.disagreement import Disagreement, pair_tests, vote
from bezoar.scan.functional.patterns import TOLERANCES, Independence, peaks_at, pixel_table
from bezoar.scan.pattern_view import windows_for
from bezoar.scan.result import Sensitivity
from bezoar.scan.space import Space

RATES = (0.05, 0.02, 0.01, 0.005, 0.002, 0.001)
_TRIALS = 10
_NEEDED = 0.9
_SIZE = 3
_NULL_POSITIONS = 60
_MIN_RECORDS = 5


def patch_sensitivity(
    images: NDArray[np.uint8],
    labels: NDArray[np.int32],
    independent_of: Independence,
    alpha: float,
    rng: np.random.Generator,
) -> Sensitivity:
    """The smallest of `RATES` at which a random 3x3 patch, at a random place and relabelled, is found in 9 of 10 trials."""
    poison = f"a {_SIZE}x{_SIZE} patch at one place, relabelled"
    families = len(windows_for(*images.shape[1:3])) * len(TOLERANCES)
    if not families:
        return Sensitivity(poison, None, "the images are too small to be mined for patterns")
    order = np.argsort(labels, kind="stable")
    table, sorted_labels = pixel_table(images[order]), labels[order]
    _, height, width, _ = images.shape
    positions = (height - _SIZE + 1) * (width - _SIZE + 1)

    def score(
        trial_table: NDArray[np.uint8],
        trial_labels: NDArray[np.int32],
        ids: NDArray[np.int64],
        top: int,
        left: int,
    ) -> float:
        found = peaks_at(trial_table, trial_labels, lambda m: independent_of(ids[m]), top, left, _SIZE)
        best = next(peak for peak in found if peak.tolerance == TOLERANCES[0])
        return best.z if best.independent >= _MIN_RECORDS else 0.0

    places = rng.integers(0, [height - _SIZE + 1, width - _SIZE + 1], (_NULL_POSITIONS, 2))
    center, spread = null_of(
        np.array([score(table, sorted_labels, order, int(y), int(x)) for y, x in places])
    )
    needed = center + spread * float(norm.isf(alpha / (families * positions)))

    def found(count: int) -> bool:
        top, left = (int(v) for v in rng.integers(0, [height - _SIZE + 1, width - _SIZE + 1]))
        target = sorted_labels[rng.integers(len(sorted_labels))]
        chosen = rng.choice(len(images), count, replace=False)
        relabelled = sorted_labels.copy()
        relabelled[chosen] = target
        again = np.argsort(relabelled, kind="stable")
        block = _neighbourhood(height, width, top, left)
        part = table[block].copy()
        y, x = top - block[0].start + 1, left - block[1].start + 1
        part[y : y + _SIZE, x : x + _SIZE][..., chosen] = rng.integers(0, 256, (_SIZE, _SIZE, 3, 1))
        return score(part[..., again], relabelled[again], order[again], y - 1, x - 1) >= needed

    how = f"random {_SIZE}x{_SIZE} patches at random places planted in a copy"
    return smallest_found(poison, how, len(images), found)


def relabel_sensitivity(space: Space, alpha: float, rng: np.random.Generator) -> Sensitivity:
    """The smallest of `RATES` at which records of one label, moved to another, are found in 9 of 10 trials."""
    n_labels = int(space.labels.max()) + 1
    sizes = np.bincount(space.labels, minlength=n_labels)

    def found(count: int) -> bool:
        origin = int(rng.choice(np.flatnonzero(sizes >= 2 * count)))
        target = int(rng.choice(np.setdiff1d(np.flatnonzero(sizes), origin)))
        moved = rng.choice(np.flatnonzero(space.labels == origin), count, replace=False)
        labels = space.labels.copy()
        labels[moved] = target
        touched = np.zeros(len(labels), dtype=bool)
        touched[moved] = True
        rows = np.flatnonzero(touched | touched[space.neighbours].any(axis=1))
        margin, other = space.votes.margin.copy(), space.votes.other.copy()
        again = vote(space.neighbours, labels, n_labels, rows)
        margin[rows], other[rows] = again.margin, again.other
        tests = pair_tests(Disagreement(margin, other), labels, n_labels)
        return any(
            test.p_value <= alpha and (test.given, test.other) == (target, origin) for test in tests[:10]
        )

    how = "records of one random label moved to another in a copy"
    poison = "records of one class moved to another"
    return smallest_found(poison, how, len(space.labels), found, most=int(sizes.max()) // 2)


def smallest_found(
    poison: str, how: str, n: int, found: Callable[[int], bool], *, most: int | None = None
) -> Sensitivity:
    """The smallest of `RATES` of `n` records at which `found(count)` holds in 9 of 10 trials, from the largest down.

    Rates of more than `most` records are left out.
    """
    smallest = None
    for rate in RATES:
        count = max(1, round(rate * n))
        if most is not None and count > most:
            continue
        misses = 0
        for _ in range(_TRIALS):
            misses += not found(count)
            if misses > (1 - _NEEDED) * _TRIALS:
                return Sensitivity(poison, smallest, f"{how}: found in at least 9 of {_TRIALS} trials")
        smallest = rate
    return Sensitivity(poison, smallest, f"{how}: found in at least 9 of {_TRIALS} trials")


def _neighbourhood(height: int, width: int, top: int, left: int) -> tuple[slice, slice]:
    """The part of the pixel table that scoring one window looks at (the window and its displacements)."""
    reach = 6
    return (
        slice(max(top - reach, 0), min(top + _SIZE + 2 + reach, height + 2)),
        slice(max(left - reach, 0), min(left + _SIZE + 2 + reach, width + 2)),
    )
