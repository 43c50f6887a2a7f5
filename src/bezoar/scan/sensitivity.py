"""What this scan would have noticed: canaries planted in a copy, at rates that are bisected.

Only what a canary touches is scored again (a patch's window, the neighbours of relabelled records), so hundreds of trials cost
seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from bezoar.scan.functional.disagreement import Disagreement, foreign_p, pair_tests, vote
from bezoar.scan.functional.patterns import DISPLACEMENTS, Peak, peaks_at, pixel_table
from bezoar.scan.pattern_view import Family
from bezoar.scan.result import Sensitivity
from bezoar.scan.scene import Scene
from bezoar.scan.space import Space

RATES = (0.05, 0.02, 0.01, 0.005, 0.002, 0.001)
_TRIALS, _NEEDED = 20, 19  # 9 of 10 would often be luck, and 90 % is what a stated rate promises
_SIZE = 3
_REACH = max(DISPLACEMENTS) + 1
_MIN_RECORDS = 5


def patch_sensitivity(
    scene: Scene, families: Mapping[tuple[int, int, float], Family], p_value: float, rng: np.random.Generator
) -> Sensitivity:
    """The smallest of `RATES` at which a random 3x3 patch, at a random place and relabelled, is found in 19 of 20 trials.

    `families` are those that were mined, `p_value` what a pattern needs. What is planted is stored as its record is.
    """
    poison = f"a {_SIZE}x{_SIZE} patch at one place, relabelled"
    nulls = {
        tolerance: family
        for (size, scale, tolerance), family in families.items()
        if (size, scale) == (_SIZE, 1)
    }
    if not nulls:
        return Sensitivity(poison, None, "the images are too small to be mined for patterns")
    images, labels, n_labels = scene.images, scene.labels, len(scene.label_names)
    usually_foreign = scene.space.votes.margin > 0
    _, height, width, _ = images.shape

    def look_foreign(
        peak: Peak, order: NDArray[np.int64], relabelled: NDArray[np.int32], foreign: NDArray[np.bool_]
    ) -> float:
        of_label = np.flatnonzero(relabelled == peak.label)
        return foreign_p(np.sort(order[peak.members]), of_label, foreign, scene.independent_of)

    def found(count: int) -> bool:
        top, left = (int(v) for v in rng.integers(0, [height - _SIZE + 1, width - _SIZE + 1]))
        chosen = rng.choice(len(images), count, replace=False)
        planted = images[chosen]
        planted[:, top : top + _SIZE, left : left + _SIZE] = rng.integers(0, 256, (_SIZE, _SIZE, 3))
        relabelled = labels.copy()
        relabelled[chosen] = labels[rng.integers(len(labels))]
        foreign = usually_foreign.copy()
        foreign[chosen] = vote(scene.space.neighbours, relabelled, n_labels, chosen).margin > 0
        order = np.argsort(relabelled, kind="stable")
        rows, columns = _neighbourhood(height, top), _neighbourhood(width, left)
        part = images[:, rows, columns].copy()
        part[chosen] = scene.gallery.stored(scene.space.records[chosen], planted)[:, rows, columns]
        peaks = peaks_at(
            pixel_table(part[order]),
            relabelled[order],
            lambda members: scene.independent_of(order[members]),
            top - rows.start,
            left - columns.start,
            _SIZE,
        )
        return any(
            peak.independent >= _MIN_RECORDS
            and nulls[peak.tolerance].p_value(
                peak.z, peak.z, look_foreign(peak, order, relabelled, foreign), alone=1.0
            )
            <= p_value
            for peak in peaks
        )

    how = f"random {_SIZE}x{_SIZE} patches at random places planted in a copy"
    return smallest_found(poison, how, len(images), found)


def relabel_sensitivity(space: Space, alpha: float, rng: np.random.Generator) -> Sensitivity:
    """The smallest of `RATES` at which records of one label, moved to another, are found in 19 of 20 trials."""
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
    """The smallest of `RATES` of `n` records at which `found(count)` holds in 19 of 20 trials.

    The rates are bisected, as if a higher one were never harder to find; those of more than `most` records are left out.
    """
    rates = [rate for rate in RATES if most is None or max(1, round(rate * n)) <= most]
    low, high, smallest = 0, len(rates), None
    while low < high:
        middle = (low + high) // 2
        if _mostly_found(found, max(1, round(rates[middle] * n))):
            smallest, low = rates[middle], middle + 1
        else:
            high = middle
    return Sensitivity(poison, smallest, f"{how}: found in at least {_NEEDED} of {_TRIALS} trials")


def _mostly_found(found: Callable[[int], bool], count: int) -> bool:
    hits = misses = 0
    while misses <= _TRIALS - _NEEDED:
        if hits == _NEEDED:
            return True
        if found(count):
            hits += 1
        else:
            misses += 1
    return False


def _neighbourhood(length: int, start: int) -> slice:
    """The part of one axis that scoring a window at `start` looks at: the window and its displacements."""
    return slice(max(start - _REACH, 0), min(start + _SIZE + _REACH, length))
