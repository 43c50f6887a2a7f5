"""From a significant peak to the whole trigger: its extent, its pattern, and every record that carries it.

The members of a `Peak` agree on the trigger's pixels and on little else, so the pixels on which they spread much less
than the population does are the mask, and their median is the pattern. What little else they agree on, the backdrop
of their class, is left behind by fitting again: to all records, of whatever label, that show the mask's rare pixels.
A record carries the trigger when its distance to the pattern, at the peak's place or up to `JITTER` pixels from it,
lies on the members' side of the gap between members and what the same pattern finds at displaced places. JPEG halves the
resolution of colours, so that the gap is often clearer in brightness alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bezoar.scan.functional.patterns import DISPLACEMENTS, ISOLATION, TOLERANCES, Peak, isolation_of

MARGIN = 10  # pixels around the window in which the trigger's extent is looked for
JITTER = 2  # pixels by which a record's trigger may be displaced
AGREEMENT = 0.35  # members must spread at most this share of the population's spread
_SAMPLE = 2000  # records from which spreads and the displaced background are estimated
_FITS = 4  # rounds; each leaves behind more of the backdrop that the members before it shared
_RARE = 0.25  # share of other records that show a pixel's colour, up to which the pixel tells a trigger
_RAREST = 6  # such pixels that it is known by: a backdrop's may be among more
_FEWEST_RARE = 4  # such pixels that are enough
_ELSEWHERE = 0.1  # of the records that show them, as many may show them at one displaced place
_OUTER = 0.9  # quantile of absolute deviations that counts as the spread (a few strangers do not move it)
_ALL = 0.98  # the same among records that show the trigger: each of them has all of it
LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601, as in JPEG
_CLEARER = 1.05  # times the ratio of a gap's ends in colour, that it is in brightness where that is asked
# times a threshold, or grey levels beyond it, up to which a record nearly carries the trigger
_NEARLY_TIMES, _NEARLY_LEVELS = 1.5, 10.0


@dataclass(frozen=True, slots=True)
class Trigger:
    """A recovered trigger.

    Attributes:
        top, left: its bounding box's corner in the images, pixels.
        pattern: uint8 (h, w, 3).
        mask: bool (h, w), the pixels that belong to it.
        distance: float32 (N,), RMS grey levels between each record and the pattern, at the best place near its own.
        threshold: RMS grey levels up to which a record carries it.
        brightness: float32 (N,), RMS grey levels between the brightness of each record and of the pattern.
        bright_threshold: RMS grey levels up to which a record is as bright as the pattern.
        clearer: brightness tells carriers more clearly than colours do.

    """

    top: int
    left: int
    pattern: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    distance: NDArray[np.float32]
    threshold: float
    brightness: NDArray[np.float32]
    bright_threshold: float
    clearer: bool

    @property
    def carriers(self) -> NDArray[np.bool_]:
        """Mask (N,) of the records that carry the trigger."""
        return self.distance <= self.threshold

    @property
    def bright(self) -> NDArray[np.bool_]:
        """Mask (N,) of the records whose brightness is that of the pattern; none where colours tell carriers more clearly."""
        return (self.brightness <= self.bright_threshold) & self.clearer

    @property
    def near(self) -> NDArray[np.bool_]:
        """Mask (N,) of the records that carry it or nearly do."""
        return self.distance <= _edge(self.threshold)

    @property
    def nearly_bright(self) -> NDArray[np.bool_]:
        """Mask (N,) of the records whose brightness is nearly the pattern's; all where colours tell carriers more clearly."""
        return (self.brightness <= _edge(self.bright_threshold)) | (not self.clearer)


def recover(images: NDArray[np.uint8], peak: Peak, scale: int, rng: np.random.Generator) -> Trigger:
    """The trigger behind a peak of the canvas `images` (N, H, W, 3) shrunk by `scale`."""
    n, height, width, _ = images.shape
    box = (
        peak.top * scale,
        peak.left * scale,
        (peak.top + peak.size) * scale,
        (peak.left + peak.size) * scale,
    )
    top, left = max(box[0] - MARGIN, 0), max(box[1] - MARGIN, 0)
    bottom, right = min(box[2] + MARGIN, height), min(box[3] + MARGIN, width)
    around = images[:, top:bottom, left:right]
    inner = np.zeros(around.shape[1:3], dtype=bool)
    inner[box[0] - top : box[2] - top, box[1] - left : box[3] - left] = True
    sample, members = rng.choice(n, min(n, _SAMPLE), replace=False), peak.members
    tolerance = _kept_to(around[members[:_SAMPLE]][:, inner], peak.tolerance)
    for outer in (_OUTER, *[_ALL] * (_FITS - 1)):
        strangers = np.setdiff1d(sample, members)
        center, mask = _fitted(around, members, strangers, inner, tolerance, outer)
        showing = _showing(around, center, mask, strangers, tolerance)
        if len(showing) <= len(members) or np.isin(sample, showing).all():
            break
        members = showing
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    part = np.s_[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1]
    pattern, mask = center[part].round().astype(np.uint8), mask[part]
    top, left = top + int(rows[0]), left + int(cols[0])
    near = [(dy, dx) for dy in range(-JITTER, JITTER + 1) for dx in range(-JITTER, JITTER + 1)]
    distance, brightness = _least_distances(images, pattern, mask, top, left, near, isolated=True)
    far = [(dy, dx) for dy in (-2 * MARGIN, -MARGIN, MARGIN, 2 * MARGIN) for dx in (-MARGIN, 0, MARGIN)]
    colours, greys = _least_distances(images[strangers], pattern, mask, top, left, far)
    gap, bright_gap = _gap(distance[members], colours), _gap(brightness[members], greys)
    clearer = bright_gap[1] / bright_gap[0] > max(1.0, _CLEARER * gap[1] / gap[0])
    thresholds = _threshold(*gap), _threshold(*bright_gap)
    return Trigger(top, left, pattern, mask, distance, thresholds[0], brightness, thresholds[1], clearer)


def _kept_to(window: NDArray[np.uint8], tolerance: float) -> float:
    """The smallest tolerance, at most `tolerance`, that members (M, P, 3) keep to: within a wide one, more colours are common."""
    difference = window - np.median(window, axis=0)
    apart = float(np.quantile(np.sqrt(np.square(difference).mean(axis=(1, 2))), _OUTER))
    return min((each for each in TOLERANCES if apart <= each <= tolerance), default=tolerance)


def _fitted(
    around: NDArray[np.uint8],
    members: NDArray[np.int64],
    strangers: NDArray[np.int64],
    inner: NDArray[np.bool_],
    tolerance: float,
    outer: float,
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """What `members` show in the middle (h, w, 3), and where they agree on it (h, w): the parts that touch the window `inner`."""
    ours = around[members[:_SAMPLE]]
    center = np.median(ours, axis=0)
    parts, _ = ndimage.label(_extent(ours, around[strangers], center, tolerance, outer))
    touching = np.setdiff1d(parts[inner], 0)
    return center, np.isin(parts, touching) if len(touching) else inner


def _showing(
    around: NDArray[np.uint8],
    center: NDArray[np.float64],
    mask: NDArray[np.bool_],
    strangers: NDArray[np.int64],
    tolerance: float,
) -> NDArray[np.int64]:
    """All records that show the pixels of the mask whose colours are rare; none where these tell no trigger at its place."""
    others = np.abs(around[strangers][:, mask] - center[mask]).mean(axis=-1)
    common = (others <= 2 * tolerance).mean(axis=0)
    rarest = np.argsort(common, kind="stable")[:_RAREST]
    rows, cols = (place[rarest[common[rarest] <= _RARE]] for place in np.nonzero(mask))
    if len(rows) < _FEWEST_RARE:
        return np.zeros(0, dtype=np.int64)

    def showing(dy: int, dx: int) -> NDArray[np.int64]:
        y, x = rows + dy, cols + dx
        if min(y.min(), x.min()) < 0 or y.max() >= around.shape[1] or x.max() >= around.shape[2]:
            return np.zeros(0, dtype=np.int64)
        difference = around[:, y, x] - center[rows, cols]
        return np.flatnonzero(np.square(difference).mean(axis=(1, 2)) <= tolerance**2)

    here = showing(0, 0)
    displaced = [(dy * d, dx * d) for d in DISPLACEMENTS for dy, dx in ((-1, 0), (1, 0), (0, -1), (0, 1))]
    elsewhere = max(len(showing(dy, dx)) for dy, dx in displaced)
    return here if elsewhere <= _ELSEWHERE * len(here) else here[:0]


def _extent(
    members: NDArray[np.uint8],
    strangers: NDArray[np.uint8],
    center: NDArray[np.float64],
    tolerance: float,
    outer: float,
) -> NDArray[np.bool_]:
    """Pixels (h, w) on which the members agree, and agree more than other records do among themselves."""

    def spread(block: NDArray[np.uint8], middle: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(np.quantile(np.abs(block - middle).mean(axis=-1), outer, axis=0))

    ours, theirs = spread(members, center), spread(strangers, np.median(strangers, axis=0))
    return np.asarray((ours < AGREEMENT * theirs) & (ours <= 2 * tolerance))


def _least_distances(
    images: NDArray[np.uint8],
    pattern: NDArray[np.uint8],
    mask: NDArray[np.bool_],
    top: int,
    left: int,
    shifts: list[tuple[int, int]],
    *,
    isolated: bool = False,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """RMS distances (N,) over the mask between each image and the pattern, in colour and in brightness, the least over shifts.

    With `isolated`, a displaced copy counts only where it does not continue into its surroundings: otherwise every
    bright sky would carry a white square somewhere.
    """
    _, height, width, _ = images.shape
    h, w = mask.shape
    least = np.full((2, len(images)), np.inf, dtype=np.float32)
    wanted = pattern[mask].astype(np.float32)
    for dy, dx in shifts:
        y, x = top + dy, left + dx
        if 0 <= y <= height - h and 0 <= x <= width - w:
            difference = images[:, y : y + h, x : x + w][:, mask] - wanted
            grey = difference @ LUMA
            squares = np.stack(
                [np.einsum("nij,nij->n", difference, difference), np.einsum("ni,ni->n", grey, grey)]
            )
            if isolated and (dy, dx) != (0, 0):
                squares[:, ~_stands_alone(images, y, x, h, w)] = np.inf
            np.minimum(least, squares, out=least)
    return np.sqrt(least[0] / wanted.size), np.sqrt(least[1] / len(wanted))


def _stands_alone(images: NDArray[np.uint8], y: int, x: int, h: int, w: int) -> NDArray[np.bool_]:
    """Mask (N,): the box differs from the continuation of each of its sides."""
    _, height, width, _ = images.shape
    sides = (y > 0, y + h < height, x > 0, x + w < width)
    rows = np.clip(np.arange(y - 1, y + h + 1), 0, height - 1)
    cols = np.clip(np.arange(x - 1, x + w + 1), 0, width - 1)
    window = images[:, rows[:, None], cols].transpose(1, 2, 3, 0)
    return np.asarray(isolation_of(window, sides) > ISOLATION**2)


def _gap(members: NDArray[np.float32], background: NDArray[np.float32]) -> tuple[float, float]:
    """From where the members' distances end to where those of the displaced background begin."""
    inner = max(float(np.quantile(members, 0.95)), 1.0)
    finite = background[np.isfinite(background)]
    return inner, float(np.quantile(finite, 0.001)) if len(finite) else 4.0 * inner


def _threshold(inner: float, outer: float) -> float:
    """The geometric middle of a gap."""
    return inner if outer <= inner else float(np.sqrt(inner * outer))


def _edge(threshold: float) -> float:
    """Up to where something is nearly within a threshold."""
    return max(_NEARLY_TIMES * threshold, threshold + _NEARLY_LEVELS)
