"""From a few equal patches, each at a place of its own, to every record of their label that carries the patch.

The patch is the mean of those found so far, and each record is asked for the place that shows it best. How near honest
records come to it is seen in the other labels: the threshold lies where at most one carrier in `_FALSE` would be honest. JPEG
halves the resolution of colours, so that a patch at odd places differs in them; brightness alone is tried as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from bezoar.scan.functional.patterns import Table, pixel_table
from bezoar.scan.functional.roaming import SIZE, nearest_places
from bezoar.scan.functional.triggers import LUMA

Tables = list[tuple[NDArray[np.int64], Table]]  # and the corner (top, left) of the images where each begins
Pixel = TypeVar("Pixel", np.uint8, np.float32)

_FALSE = 25
_ROUNDS = 3
_OTHERS = 2000  # records of other labels that are asked


@dataclass(frozen=True, slots=True)
class Carriers:
    """Records that carry a roaming patch.

    Attributes:
        rows: int64 (n,), nearest to the patch first.
        place: int64 (n, 2), top and left, pixels of the images.

    """

    rows: NDArray[np.int64]
    place: NDArray[np.int64]


def carriers_of(
    images: NDArray[np.uint8], labels: NDArray[np.int32], label: int, patch: NDArray[np.float32], scale: int
) -> Carriers:
    """The records of `label` among images (N, H, W, 3) that show `patch` (SIZE, SIZE, 3), seen on a canvas shrunk by `scale`."""
    own, others = np.flatnonzero(labels == label), np.flatnonzero(labels != label)
    others = others[np.unique(np.linspace(0, len(others) - 1, min(_OTHERS, len(others))).astype(np.int64))]
    mine, theirs = _tables(images[own], scale), _tables(images[others], scale)
    found = (
        _Search(mine, theirs, patch, scale),
        _Search(_all_bright(mine), _all_bright(theirs), _bright(patch, axis=2), scale),
    )
    best = max(found, key=lambda search: int(search.near.sum()))
    best.refine()
    order = np.argsort(best.distance, kind="stable")[: int(best.near.sum())]
    return Carriers(own[order], best.place[order])


class _Search:
    """The patch as it is known, and who shows it: `near` (n,), `distance` (n,) and `place` (n, 2) of the label's records."""

    def __init__(self, own: Tables, others: Tables, patch: NDArray[np.float32], scale: int) -> None:
        self._own, self._others = own, others
        self._scale, self._n = scale, own[0][1].shape[-1]
        self._look(patch)

    def refine(self) -> None:
        """Look for the mean of what those near it show, until these stay the same."""
        for _ in range(_ROUNDS):
            before = self.near
            if not before.any():
                return
            self._look(self._shown(np.flatnonzero(before)))
            if (self.near == before).all():
                return

    def _look(self, patch: NDArray[np.float32]) -> None:
        self.distance, self._which, self.place = _nearest(self._own, patch, self._scale)
        theirs = np.sort(_nearest(self._others, patch, self._scale)[0])
        ours = np.sort(self.distance)
        honest = self._n * np.searchsorted(theirs, ours, side="right") / max(len(theirs), 1)
        within = np.flatnonzero(_FALSE * honest <= np.arange(1, self._n + 1))
        self.near = self.distance <= (ours[within[-1]] if len(within) else -1.0)

    def _shown(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """The mean (SIZE, SIZE, C) of what these rows show at their places."""
        total = np.zeros(1)
        for row in rows:
            shift, table = self._own[self._which[row]]
            top, left = (self.place[row] - shift) // self._scale
            total = total + table[top + 1 : top + 1 + SIZE, left + 1 : left + 1 + SIZE, :, row]
        return np.asarray(total / len(rows), dtype=np.float32)


def _bright(pixels: NDArray[Pixel], axis: int) -> NDArray[Pixel]:
    """The brightness of pixels whose colours lie along `axis`, which keeps one value."""
    bright = np.expand_dims(np.tensordot(pixels, LUMA, (axis, 0)), axis)
    return bright.round().astype(pixels.dtype)


def _all_bright(tables: Tables) -> Tables:
    return [(corner, _bright(table, axis=2)) for corner, table in tables]


def _tables(images: NDArray[np.uint8], scale: int) -> Tables:
    """The images shrunk by `scale`, from several corners: a patch seldom begins at a multiple of it."""
    shifts = range(0, scale, max(1, scale // 2))
    return [(np.array([y, x]), pixel_table(images[:, y:, x:], scale)) for y in shifts for x in shifts]


def _nearest(
    tables: Tables, patch: NDArray[np.float32], scale: int
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]:
    """The least distance (n,) of each image to the patch, the table that shows it, and where: pixels of the images (n, 2)."""
    looked = [nearest_places(table, patch) for _, table in tables]
    distances = np.stack([distance for distance, _ in looked])
    which = distances.argmin(axis=0)
    images = np.arange(distances.shape[1])
    places = np.stack([place * scale + shift for (_, place), (shift, _) in zip(looked, tables, strict=True)])
    return distances[which, images], which, places[which, images]
