"""View 1: repeated patterns in pixels. Finds patch triggers at any rate, with the trigger itself as evidence."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bezoar.progress import track
from bezoar.scan.functional.combination import fisher
from bezoar.scan.functional.counts import Tail, excess, tail_of
from bezoar.scan.functional.disagreement import foreign_p
from bezoar.scan.functional.patterns import TOLERANCES, Independence, Peak, peaks, pixel_table
from bezoar.scan.functional.triggers import Trigger, recover

# which records (M,) look foreign, those given left out of the jury
Foreign = Callable[[NDArray[np.int64]], NDArray[np.bool_]]

WINDOWS = (
    (3, 1),
    (2, 1),
    (4, 1),
    (3, 2),
    (2, 2),
    (2, 4),
)  # (side in pixels of the shrunk canvas, shrink factor)
_SMALL_CANVAS = (
    64  # above it, windows of 2 and 4 pixels at full size are left out: they cost much and find little
)
_MIN_SHRUNK = 8  # shrunk canvases below this side have too few positions for a null
_MIN_RECORDS = 5  # independent records that a finding needs
_CONCENTRATION = 5.0  # times the other labels' rate, from which a pattern belongs to one label
_COMMON = 0.5  # share of all records from which a pattern that is spread over labels is the background
_FEWEST_OTHERS = 0.01  # share of all records that a pattern needs to be told from
_CLASS_WIDE = 0.5  # share of a label's records from which a pattern is a mark of the class
_BLURRED = 0.5  # times as many carriers as colours tell, that brightness may add
_SHADING = 0.5  # times the carriers, up to which more may come near than by chance
_SURE = 2.0  # standard deviations by which that chance is taken to be smaller than it looks
_SHADING_BRIGHT = 0.25  # the same in brightness as well, where colours alone do not part them
EXPLAINED = 0.5  # share of a peak's records that an earlier one had, from which it is not looked at
_RECOVERIES = 64  # peaks examined at most
_SAME_RECORDS = 0.2  # of the smaller group's records, from which two peaks are windows of one pattern
_LOOKS = 8  # peaks that do not stand clear, whose carriers are found and asked what they look like
_BY_LABELS = 0.1  # share of the error of that
_TOGETHER = {1: 0.3, 2: 0.05, 4: 0.05}  # how many patterns are tested together, and their share of the error
# shares of the error of the tests that also ask whether the strongest pattern's records look foreign
_JOINT, _BY_COMPANY = 0.4, 0.1
_PROMISING = 0.05  # family-wise p-value by company from which such a pattern is asked about at all
_LITTLE = 0.01  # p-value that it counts for at least
_DISTINCT = 32  # patterns of a family that are looked for: the tested ones, and the tail behind them


@dataclass(frozen=True, slots=True)
class Pattern:
    """A repeated pattern that passed the test and stands clear of everything else.

    Attributes:
        trigger: the pattern, its place and every record's distance to it.
        peak: the statistic that led to it.
        p_value: family-wise over positions, window sizes and tolerances.
        carriers: bool (M,), the records that carry it.
        label: the label it is concentrated in; None when it is spread over labels.
        class_wide: most records of the label carry it.

    """

    trigger: Trigger
    peak: Peak
    p_value: float
    carriers: NDArray[np.bool_]
    label: int | None
    class_wide: bool


@dataclass(frozen=True, slots=True)
class Family:
    """The peaks of one window size and tolerance, as a null for one more of them.

    Attributes:
        tail: of the excess counts of distinct patterns, counted by company (see `by_company`).
        linked: of the same, near-duplicates counted once.
        families: how many of these there are.

    """

    tail: Tail
    linked: Tail
    families: int

    def p_value(self, z: float, linked_z: float, foreign: float, alone: float) -> float:
        """P-value of a peak that is stronger than all these, family-wise over all `families`.

        What repeats by nature sits under right labels, so three tests share the error: whether the peak stands clear, whether it
        stands clear and has records that look foreign (`foreign` is that p-value; Fisher's combination), and the same by company,
        with records that look foreign without each other (`alone`). There it has to stand clear in any case, since the frames of
        one track look foreign without each other, and that counts for little, since the patterns of a class that looks alike
        stand clear by such counts.
        """
        clear, by_company = self.linked.p_value(linked_z**2 / 4), self.tail.p_value(z**2 / 4)
        p_value = min(clear / _TOGETHER[1], fisher(clear, foreign) / _JOINT)
        if self.families * by_company <= _PROMISING:
            p_value = min(p_value, fisher(max(by_company, _LITTLE), alone) / _BY_COMPANY)
        return min(1.0, self.families * p_value)


@dataclass(frozen=True, slots=True)
class Mined:
    """What the miner found.

    Attributes:
        patterns: the significant ones that stand clear of everything else, most significant first.
        near_misses: per label the smallest family-wise p-value of the peaks that were not significant.
        families: of peaks that were mined, by window size, shrink factor and tolerance.

    """

    patterns: list[Pattern]
    near_misses: dict[int, float]
    families: dict[tuple[int, int, float], Family]


def windows_for(height: int, width: int) -> list[tuple[int, int]]:
    """The (side, shrink factor) pairs that a canvas of this size is mined with."""
    side = min(height, width)
    large = side > _SMALL_CANVAS
    return [
        (size, scale)
        for size, scale in WINDOWS
        if side // scale >= _MIN_SHRUNK and not (large and scale == 1 and size != 3)
    ]


def find_patterns(
    images: NDArray[np.uint8],
    labels: NDArray[np.int32],
    foreign_without: Foreign,
    independent_of: Independence,
    linked: Independence,
    alpha: float,
    rng: np.random.Generator,
) -> Mined:
    """Repeated patterns in `images` (M, H, W, 3) at family-wise level `alpha`; `foreign_without` says which look mislabelled.

    `independent_of` counts by company, `linked` near-duplicates once.
    """
    found: list[Pattern] = []
    explained = np.zeros(len(images), dtype=bool)
    tested, families = _tested_peaks(images, labels, foreign_without, independent_of, linked)
    clear = [item for item in tested if item[0] <= alpha]
    others = tested[len(clear) :]
    near_misses = {peak.label: p_value for p_value, peak, _ in reversed(others)}  # the smallest come last
    for items, most in ((clear, _RECOVERIES), (others, _LOOKS)):
        examined = 0
        for p_value, peak, scale in items:
            if examined == most or explained[peak.members].mean() >= EXPLAINED:
                continue
            examined += 1
            pattern = examine(images, labels, peak, scale, p_value, independent_of, rng)
            explained[peak.members] = True  # whatever it was, its other windows need no second look
            if pattern is not None and p_value > alpha:
                pattern = _by_labels(pattern, labels, foreign_without, independent_of)
            if pattern is not None and pattern.p_value <= alpha:
                pattern = completed(pattern, labels)
                found.append(pattern)
                explained |= pattern.carriers
    return Mined(found, near_misses, families)


def completed(pattern: Pattern, labels: NDArray[np.int32]) -> Pattern:
    """With the carriers that only brightness tells. Where these are many, something honest is as bright: without them."""
    in_label = np.ones_like(pattern.carriers) if pattern.label is None else labels == pattern.label
    carriers = pattern.carriers | (pattern.trigger.bright & in_label)
    if carriers.sum() > (1 + _BLURRED) * pattern.carriers.sum():
        return pattern
    class_wide = pattern.label is not None and bool(carriers[in_label].mean() >= _CLASS_WIDE)
    return replace(pattern, carriers=carriers, class_wide=class_wide)


def _by_labels(
    pattern: Pattern, labels: NDArray[np.int32], foreign_without: Foreign, independent_of: Independence
) -> Pattern:
    """The pattern with the p-value of what its carriers under each label look like; those that it was noticed by are left out.

    An attacker's cover records carry a patch under several right labels and give it away, weakly. Only where the carriers show
    it exactly: shapes of a class, which come close to each other, come close to those of similar classes as well.
    """
    if pattern.label is not None or pattern.trigger.threshold > pattern.peak.tolerance:
        return replace(pattern, p_value=1.0)
    carriers = np.flatnonzero(pattern.carriers)
    foreign = foreign_without(carriers)
    p_values = []
    for label in np.unique(labels[carriers]):
        of_label = np.flatnonzero(labels == label)
        rows = np.setdiff1d(carriers[labels[carriers] == label], pattern.peak.members)
        # without most of its class, anything looks foreign
        if _MIN_RECORDS <= len(rows) < _CLASS_WIDE * len(of_label):
            p_values.append(foreign_p(rows, of_label, foreign, independent_of))
    p_value = min(p_values, default=1.0) * len(p_values) * _LOOKS / _BY_LABELS
    return replace(pattern, p_value=min(1.0, p_value) if p_values else 1.0)


def _tested_peaks(
    images: NDArray[np.uint8],
    labels: NDArray[np.int32],
    foreign_without: Foreign,
    independent_of: Independence,
    linked: Independence,
) -> tuple[list[tuple[float, Peak, int]], dict[tuple[int, int, float], Family]]:
    """(family-wise p-value, peak, scale), most significant first; the members are indices of `images`."""
    usually = foreign_without(np.zeros(0, np.int64))

    def look_foreign(peak: Peak) -> tuple[float, float]:
        of_label, members = np.flatnonzero(labels == peak.label), peak.members
        alone = foreign_p(members, of_label, foreign_without(members), independent_of)
        return foreign_p(members, of_label, usually, linked), alone

    order = np.argsort(labels, kind="stable")
    images, ordered = images[order], labels[order]
    _, height, width, _ = images.shape
    windows = windows_for(height, width)
    families = len(windows) * len(TOLERANCES)
    nulls: dict[tuple[int, int, float], Family] = {}
    rows = sum(height // scale - size + 1 for size, scale in windows)
    tested: list[tuple[float, Peak, int]] = []
    with track("repeated patterns", rows) as bar:
        for scale in sorted({scale for _, scale in windows}):
            table = pixel_table(images, scale)
            for size in (size for size, other in windows if other == scale):
                mined = peaks(
                    table,
                    ordered,
                    lambda members: independent_of(order[members]),
                    size,
                    jobs=os.cpu_count() or 1,
                    on_row=lambda: bar.advance(1),
                )
                found = [replace(peak, members=order[peak.members]) for peak in mined]
                for tolerance in TOLERANCES:
                    family = [peak for peak in found if peak.tolerance == tolerance]
                    p, nulls[size, scale, tolerance] = _tested(
                        family,
                        families,
                        lambda peak: float(excess(linked(peak.members), peak.background)),
                        look_foreign,
                    )
                    tested += [
                        (float(value), peak, scale)
                        for value, peak in zip(p, family, strict=True)
                        if value < 1 and peak.independent >= _MIN_RECORDS
                    ]
    return sorted(tested, key=lambda item: (item[0], -item[1].z)), nulls


def _tested(
    family: list[Peak],
    families: int,
    linked_z: Callable[[Peak], float],
    look_foreign: Callable[[Peak], tuple[float, float]],
) -> tuple[NDArray[np.float64], Family]:
    """P-values (M,) of the peaks of one family, family-wise over all `families`, and the family as a null.

    The strongest distinct pattern is held against the others: it has to stand clear of what this dataset repeats by nature.
    So do the strongest two, and four, together, since several triggers would hide each other.
    """
    distinct = _distinct(family)
    counts = np.array([family[i].z ** 2 / 4 for i in distinct])
    linked = np.array([linked_z(family[i]) ** 2 / 4 for i in distinct])
    p = np.ones(len(family))
    strongest = np.argsort(-linked, kind="stable")
    for together, share in _TOGETHER.items():
        if together <= len(distinct):
            first = [distinct[i] for i in strongest[:together]]
            rest = linked[strongest[together - 1 :]]
            clear = tail_of(rest[1:]).p_value(float(rest[0]), together)
            p[first] = np.minimum(p[first], clear * families / share)
    if distinct:
        peak = family[distinct[0]]
        others = Family(tail_of(counts[1:]), tail_of(linked[1:]), families)
        p[distinct[0]] = min(p[distinct[0]], others.p_value(peak.z, linked_z(peak), *look_foreign(peak)))
    return p, Family(tail_of(counts), tail_of(linked), families)


def _distinct(family: list[Peak]) -> list[int]:
    """Indices of peaks with records of their own, strongest first: overlapping windows of a pattern count once."""
    kept: list[int] = []
    for i in sorted(range(len(family)), key=lambda i: -family[i].z):
        members = family[i].members
        if family[i].independent < 2 or len(kept) == _DISTINCT:
            break
        if not any(_overlap(members, family[k].members) >= _SAME_RECORDS for k in kept):
            kept.append(i)
    return kept


def _overlap(a: NDArray[np.int64], b: NDArray[np.int64]) -> float:
    """Share of the smaller of two groups of records that is in the other."""
    return len(np.intersect1d(a, b, assume_unique=True)) / min(len(a), len(b))


def examine(
    images: NDArray[np.uint8],
    labels: NDArray[np.int32],
    peak: Peak,
    scale: int,
    p_value: float,
    independent_of: Independence,
    rng: np.random.Generator,
) -> Pattern | None:
    """Recover the trigger behind a peak; None when its carriers shade into the rest of the data, or are all of it."""
    if len(images) - len(peak.members) < max(_MIN_RECORDS, _FEWEST_OTHERS * len(images)):
        return None
    trigger = recover(images, peak, scale, rng)
    carriers = trigger.carriers
    in_label = labels == peak.label
    rate = carriers[in_label].mean()
    elsewhere = carriers[~in_label].mean() if not in_label.all() else 0.0
    concentrated = bool(rate >= _CONCENTRATION * elsewhere)
    if concentrated:
        carriers = carriers & in_label
    elif carriers.mean() > _COMMON:
        return None  # a plain background, not a pattern on it
    class_wide = bool(concentrated and rate >= _CLASS_WIDE)
    pattern = Pattern(trigger, peak, p_value, carriers, peak.label if concentrated else None, class_wide)
    population = in_label if concentrated else np.ones_like(in_label)
    if _shades(pattern, population, labels) or independent_of(np.flatnonzero(carriers)[:2000]) < _MIN_RECORDS:
        return None
    return pattern


def _shades(pattern: Pattern, population: NDArray[np.bool_], labels: NDArray[np.int32]) -> bool:
    """Whether the carriers shade into the rest of the population (M,).

    A shape of a class comes in all shades there, and in few of them elsewhere. Colours that come near a patch by chance do so
    under every label: as many are no shades of it. JPEG blurs colours, so that more may come near a small patch in them alone.
    Brightness then parts them, by far.
    """
    trigger, carriers = pattern.trigger, pattern.carriers
    nearly = trigger.near & ~trigger.carriers
    if _beyond_chance(nearly, population) <= _SHADING * carriers.sum():
        return False
    told = completed(pattern, labels).carriers
    nearly &= trigger.nearly_bright
    if told.sum() > carriers.sum():
        nearly &= ~trigger.bright  # these carry it, under whatever label
    return bool(_beyond_chance(nearly, population) > _SHADING_BRIGHT * told.sum())


def _beyond_chance(nearly: NDArray[np.bool_], population: NDArray[np.bool_]) -> float:
    """How many more of the population (M,) come near than of as many other records, of which a few say little."""
    elsewhere = nearly[~population].sum()
    rate = max(0.0, elsewhere - _SURE * np.sqrt(elsewhere)) / max(1, (~population).sum())
    return float(nearly[population].sum() - rate * population.sum())
