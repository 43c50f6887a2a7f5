"""From a significant peak to the whole trigger: its extent, its pattern, and every record that carries it.

The members of a `Peak` agree on the trigger's pixels and on nothing else, so the pixels on which they spread much less
than the population does are the mask, and their median is the pattern. A record carries the trigger when its
distance to the pattern, at the peak's place or up to `JITTER` pixels from it, lies on the members' side of the gap
between members and what the same pattern finds at displaced places.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bezoar.scan.functional.patterns import ISOLATION, Peak, isolation_of

MARGIN = 10  # pixels around the window in which the trigger's extent is looked for
JITTER = 2  # pixels by which a record's trigger may be displaced
AGREEMENT = 0.35  # members must spread at most this share of the population's spread
_SAMPLE = 2000  # records from which spreads and the displaced background are estimated
_OUTER = 0.9  # quantile of absolute deviations that counts as the spread (a few strangers do not move it)


@dataclass(frozen=True, slots=True)
class Trigger:
    """A recovered trigger.

    Attributes:
        top, left: its bounding box's corner in the images, pixels.
        pattern: uint8 (h, w, 3).
        mask: bool (h, w), the pixels that belong to it.
        distance: float32 (N,), RMS grey levels between each record and the pattern, at the best place near its own.
        threshold: RMS grey levels up to which a record carries it.

    """

    top: int
    left: int
    pattern: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    distance: NDArray[np.float32]
    threshold: float

    @property
    def carriers(self) -> NDArray[np.bool_]:
        """Mask (N,) of the records that carry the trigger."""
        return self.distance <= self.threshold


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
    strangers = np.setdiff1d(rng.choice(n, min(n, _SAMPLE), replace=False), peak.members)
    members = images[peak.members[:_SAMPLE], top:bottom, left:right]
    center = np.median(members, axis=0)
    mask = _extent(members, images[strangers, top:bottom, left:right], center, peak.tolerance)
    inner = np.zeros_like(mask)
    inner[box[0] - top : box[2] - top, box[1] - left : box[3] - left] = True
    parts, _ = ndimage.label(mask)
    touching = np.setdiff1d(parts[inner], 0)
    mask = np.isin(parts, touching) if len(touching) else inner
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    part = np.s_[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1]
    pattern, mask = center[part].round().astype(np.uint8), mask[part]
    top, left = top + int(rows[0]), left + int(cols[0])
    near = [(dy, dx) for dy in range(-JITTER, JITTER + 1) for dx in range(-JITTER, JITTER + 1)]
    distance = _least_distance(images, pattern, mask, top, left, near, isolated=True)
    far = [(dy, dx) for dy in (-2 * MARGIN, -MARGIN, MARGIN, 2 * MARGIN) for dx in (-MARGIN, 0, MARGIN)]
    background = _least_distance(images[strangers], pattern, mask, top, left, far)
    return Trigger(top, left, pattern, mask, distance, _threshold(distance[peak.members], background))


def _extent(
    members: NDArray[np.uint8], strangers: NDArray[np.uint8], center: NDArray[np.float64], tolerance: float
) -> NDArray[np.bool_]:
    """Pixels (h, w) on which the members agree, and agree more than other records do among themselves."""

    def spread(block: NDArray[np.uint8], middle: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(np.quantile(np.abs(block - middle).mean(axis=-1), _OUTER, axis=0))

    ours, theirs = spread(members, center), spread(strangers, np.median(strangers, axis=0))
    return np.asarray((ours < AGREEMENT * theirs) & (ours <= 2 * tolerance))


def _least_distance(
    images: NDArray[np.uint8],
    pattern: NDArray[np.uint8],
    mask: NDArray[np.bool_],
    top: int,
    left: int,
    shifts: list[tuple[int, int]],
    *,
    isolated: bool = False,
) -> NDArray[np.float32]:
    """RMS distance (N,) over the mask between each image and the pattern, the least over shifts that fit.

    With `isolated`, a displaced copy counts only where it does not continue into its surroundings: otherwise every
    bright sky would carry a white square somewhere.
    """
    _, height, width, _ = images.shape
    h, w = mask.shape
    least = np.full(len(images), np.inf, dtype=np.float32)
    wanted = pattern[mask].astype(np.float32)
    for dy, dx in shifts:
        y, x = top + dy, left + dx
        if 0 <= y <= height - h and 0 <= x <= width - w:
            difference = images[:, y : y + h, x : x + w][:, mask] - wanted
            squares = np.einsum("nij,nij->n", difference, difference)
            if isolated and (dy, dx) != (0, 0):
                squares[~_stands_alone(images, y, x, h, w)] = np.inf
            np.minimum(least, squares, out=least)
    return np.asarray(np.sqrt(least / wanted.size), dtype=np.float32)


def _stands_alone(images: NDArray[np.uint8], y: int, x: int, h: int, w: int) -> NDArray[np.bool_]:
    """Mask (N,): the box differs from the continuation of each of its sides."""
    _, height, width, _ = images.shape
    sides = (y > 0, y + h < height, x > 0, x + w < width)
    rows = np.clip(np.arange(y - 1, y + h + 1), 0, height - 1)
    cols = np.clip(np.arange(x - 1, x + w + 1), 0, width - 1)
    window = images[:, rows[:, None], cols].transpose(1, 2, 3, 0)
    return np.asarray(isolation_of(window, sides) > ISOLATION**2)


def _threshold(members: NDArray[np.float32], background: NDArray[np.float32]) -> float:
    """The geometric middle of the gap between the members' distances and the displaced background's."""
    inner = max(float(np.quantile(members, 0.95)), 1.0)
    finite = background[np.isfinite(background)]
    outer = float(np.quantile(finite, 0.001)) if len(finite) else 4.0 * inner
    return inner if outer <= inner else float(np.sqrt(inner * outer))
