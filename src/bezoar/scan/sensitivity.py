"""What this scan would have noticed: canaries planted in a copy, at rates that are bisected.

Only what a canary touches is looked at again (the surroundings of a patch, the neighbours of relabelled records), so that a trial
costs a fraction of a second.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

from bezoar.scan.functional.disagreement import Disagreement, foreign_p, pair_tests, vote
from bezoar.scan.functional.patterns import DISPLACEMENTS, TOLERANCES, Peak, peaks_at, pixel_table
from bezoar.scan.functional.triggers import MARGIN
from bezoar.scan.pattern_view import EXPLAINED, Family, completed, examine
from bezoar.scan.result import Sensitivity
from bezoar.scan.scene import Scene
from bezoar.scan.space import Space

RATES = (0.05, 0.02, 0.01, 0.005, 0.002, 0.001)
_TRIALS, _NEEDED = 20, 19  # 9 of 10 would often be luck, and 90 % is what a stated rate promises
_SIZE = 3
_WIDER = 1  # pixels by which the largest window exceeds the patch
_SCORED = _WIDER + max(DISPLACEMENTS) + 1  # pixels around the patch that are looked at to score a window
_RECOVERED = _WIDER + 3 * MARGIN + 1  # and to recover the trigger behind it
_MIN_RECORDS = 5
# records of its label, and of all, that a patch is held against where it is recovered
_OF_LABEL, _OTHERS = 10_000, 5_000


@dataclass(frozen=True, slots=True)
class _Patched:
    """A copy of a scene in which some records carry one patch under one label.

    Attributes:
        scene: without it.
        chosen: int64 (C,), rows of the carriers.
        pixels: uint8 (C, H, W, 3), the carriers as they would be stored.
        labels: int32 (M,), of all rows.
        top, left: the patch's corner.

    """

    scene: Scene
    chosen: NDArray[np.int64]
    pixels: NDArray[np.uint8]
    labels: NDArray[np.int32]
    top: int
    left: int

    def around(self, reach: int, rows: NDArray[np.int64]) -> tuple[NDArray[np.uint8], int, int]:
        """Images (R, h, w, 3) of some rows up to `reach` pixels from the patch, and its corner in them."""
        _, height, width, _ = self.scene.images.shape
        down, across = _near(height, self.top, reach), _near(width, self.left, reach)
        part = self.scene.images[:, down, across][rows]
        _, theirs, ours = np.intersect1d(rows, self.chosen, assume_unique=True, return_indices=True)
        part[theirs] = self.pixels[ours][:, down, across]
        return part, self.top - down.start, self.left - across.start


def patch_sensitivity(
    scene: Scene, families: Mapping[tuple[int, int, float], Family], p_value: float, rng: np.random.Generator
) -> Sensitivity:
    """The smallest of `RATES` at which a random 3x3 patch, at a random place and relabelled, is found in 19 of 20 trials.

    `families` are those that were mined, `p_value` what a pattern needs. What is planted is stored as its record is.
    """
    poison = f"a {_SIZE}x{_SIZE} patch at one place, relabelled"
    if (_SIZE, 1, TOLERANCES[0]) not in families:
        return Sensitivity(poison, None, "the images are too small to be mined for patterns")
    labels, n_labels, votes = scene.labels, len(scene.label_names), scene.space.votes

    def found(count: int) -> bool:
        copy = _patched(scene, count, rng)
        foreign = votes.margin > 0
        foreign[copy.chosen] = vote(scene.space.neighbours, copy.labels, n_labels, copy.chosen).margin > 0

        def p_value_of(peak: Peak) -> float:
            of_label = np.flatnonzero(copy.labels == peak.label)
            look_foreign = foreign_p(peak.members, of_label, foreign, scene.independent_of)
            null = families[peak.size, 1, peak.tolerance]
            return null.p_value(peak.z, peak.z, look_foreign, alone=1.0)

        peaks = [peak for peak in _peaks(copy, families) if peak.independent >= _MIN_RECORDS]
        tested = sorted(((p_value_of(peak), peak) for peak in peaks), key=lambda item: (item[0], -item[1].z))
        explained = np.zeros(len(labels), dtype=bool)
        for (
            p,
            peak,
        ) in tested:  # in the order of the scan, for which a pattern that is dropped is explained, too
            if p <= p_value and explained[peak.members].mean() < EXPLAINED:
                if _recovered(copy, peak, p, rng):
                    return True
                explained[peak.members] = True
        return False

    how = f"random {_SIZE}x{_SIZE} patches at random places planted in a copy"
    return smallest_found(poison, how, len(labels), found)


def _patched(scene: Scene, count: int, rng: np.random.Generator) -> _Patched:
    """A random patch at a random place of `count` random records, under the label of a random record."""
    n, height, width, _ = scene.images.shape
    top, left = (int(v) for v in rng.integers(0, [height - _SIZE + 1, width - _SIZE + 1]))
    chosen = rng.choice(n, count, replace=False)
    pixels = scene.images[chosen]
    pixels[:, top : top + _SIZE, left : left + _SIZE] = rng.integers(0, 256, (_SIZE, _SIZE, 3))
    labels = scene.labels.copy()
    labels[chosen] = scene.labels[rng.integers(n)]
    return _Patched(
        scene, chosen, scene.gallery.stored(scene.space.records[chosen], pixels), labels, top, left
    )


def _peaks(copy: _Patched, families: Mapping[tuple[int, int, float], Family]) -> list[Peak]:
    """The peaks of all windows at full size that lie in the patch or contain it, placed in whole images; members ascending."""
    order = np.argsort(copy.labels, kind="stable")
    pixels, top, left = copy.around(_SCORED, order)
    table, labels = pixel_table(pixels), copy.labels[order]
    down, across = copy.top - top, copy.left - left
    _, height, width, _ = pixels.shape
    found = []
    for size in sorted({size for size, scale, _ in families if scale == 1}):
        for y, x in product(_overlapping(top, size, height), _overlapping(left, size, width)):
            found += [
                replace(peak, top=y + down, left=x + across, members=np.sort(order[peak.members]))
                for peak in peaks_at(
                    table, labels, lambda members: copy.scene.independent_of(order[members]), y, x, size
                )
            ]
    return found


def _overlapping(start: int, size: int, length: int) -> range:
    """Where windows of a size begin, within `length`, that lie in the patch at `start` or contain it."""
    first, last = sorted((start, start + _SIZE - size))
    return range(max(first, 0), min(last, length - size) + 1)


def _recovered(copy: _Patched, peak: Peak, p_value: float, rng: np.random.Generator) -> bool:
    """Whether the patch behind a peak is parted from everything else, with half of its carriers at least.

    Of very many records a sample is asked, its label's and the planted ones thinned alike.
    """
    n = len(copy.labels)
    of_label = np.flatnonzero(copy.labels == peak.label)
    rows = np.union1d(
        rng.choice(of_label, min(len(of_label), _OF_LABEL), replace=False),
        rng.choice(n, min(n, _OTHERS), replace=False),
    )
    pixels, top, left = copy.around(_RECOVERED, rows)
    placed = replace(
        peak,
        top=peak.top - copy.top + top,
        left=peak.left - copy.left + left,
        members=np.flatnonzero(np.isin(rows, peak.members)),
    )

    def independent(members: NDArray[np.int64]) -> int:
        return copy.scene.independent_of(rows[members])

    pattern = examine(pixels, copy.labels[rows], placed, 1, p_value, independent, rng)
    if pattern is None:
        return False
    carriers = completed(pattern, copy.labels[rows]).carriers
    planted = np.isin(rows, copy.chosen)
    return bool(2 * carriers[planted].sum() >= planted.sum())


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


def _near(length: int, start: int, reach: int) -> slice:
    """The part of one axis that is at most `reach` pixels from a window at `start`."""
    return slice(max(start - reach, 0), min(start + _SIZE + reach, length))
