"""Repeated patches without a fixed place: the same small isolated patch in many records of one label, anywhere.

A trigger that is stamped at a random place (or on a moving object) recurs nowhere in particular, so positions cannot be
compared. Instead every image offers its few most isolated patches (see `patterns`), wherever they are, and patches are
compared across the records of a label. Honest images repeat patches too (highlights, dots, the corners of a font): flat
patches are left out, and the group sizes that this dataset's own patches reach are the null.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bezoar.scan.functional.patterns import (
    ISOLATION,
    RING_DISTANCE,
    TOLERANCES,
    Independence,
    Table,
    isolation_of,
)

SIZE = 3  # side of a patch, pixels of the canvas
_OFFERED = 4  # patches per image
_FLAT = 12.0  # grey levels (standard deviation inside a patch, any channel) below which it says nothing
_COMPARED = 6000  # patches of a label that are compared, the most isolated ones
_GROUPS = 5  # disjoint groups taken per label and tolerance
_BLOCK = 1024
_MIN_COUNT = 4
_ABREAST = 8  # places next to each other that are compared in one product


@dataclass(frozen=True, slots=True)
class Patches:
    """Isolated patches of many images.

    Attributes:
        record: int64 (P,), the image of each.
        place: int64 (P, 2), top and left, pixels.
        isolation: float32 (P,), mean squared grey levels.
        inner: float32 (P, SIZE * SIZE * 3), its pixels.
        ring: float32 (P, R), the pixels around it.

    """

    record: NDArray[np.int64]
    place: NDArray[np.int64]
    isolation: NDArray[np.float32]
    inner: NDArray[np.float32]
    ring: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Group:
    """Records of one label that show the same patch somewhere.

    Attributes:
        label: theirs.
        tolerance: RMS grey levels within which patches counted as equal.
        patch: float32 (SIZE, SIZE, 3), the seed's pixels.
        members: int64, the patches (indices into `Patches`), one per record.
        independent: records after counting near-duplicates once.
        elsewhere: how many records of another label show it, at most, per as many records as this label has.

    """

    label: int
    tolerance: float
    patch: NDArray[np.float32]
    members: NDArray[np.int64]
    independent: int
    elsewhere: float


def isolated_patches(table: Table, *, on_row: Callable[[], None] | None = None) -> Patches:
    """The `_OFFERED` most isolated patches of each image of `table` (from `patterns.pixel_table`), flat ones left out."""
    height, width, n = table.shape[0] - 2, table.shape[1] - 2, table.shape[-1]
    best = np.full((_OFFERED, n), ISOLATION**2, dtype=np.float32)
    where = np.full((_OFFERED, n), -1, dtype=np.int32)
    images = np.arange(n)
    for top in range(1, height - SIZE):
        for left in range(1, width - SIZE):
            window = table[top : top + SIZE + 2, left : left + SIZE + 2]
            isolation = isolation_of(window, (True, True, True, True))
            weakest = best.argmin(axis=0)
            better = np.flatnonzero(isolation > best[weakest, images])
            if len(better):
                inside = window[1:-1, 1:-1][..., better].reshape(SIZE * SIZE, 3, -1).astype(np.float32)
                better = better[inside.std(axis=0).max(axis=0) > _FLAT]
                best[weakest[better], better] = isolation[better]
                where[weakest[better], better] = top * width + left
        if on_row is not None:
            on_row()
    slot, record = np.nonzero(where >= 0)
    order = np.argsort(record, kind="stable")
    slot, record = slot[order], record[order]
    place = np.stack(np.divmod(where[slot, record].astype(np.int64), width), axis=1)
    rows = place[:, 0, None, None] + np.arange(SIZE + 2)[:, None]
    cols = place[:, 1, None, None] + np.arange(SIZE + 2)
    windows = table[rows, cols, :, record[:, None, None]].astype(np.float32)  # (P, SIZE + 2, SIZE + 2, 3)
    inner = np.zeros((SIZE + 2, SIZE + 2), dtype=bool)
    inner[1:-1, 1:-1] = True
    return Patches(
        record.astype(np.int64),
        place,
        best[slot, record],
        windows[:, inner].reshape(len(record), 3 * SIZE**2),
        windows[:, ~inner].reshape(len(record), 3 * (SIZE + 2) ** 2 - 3 * SIZE**2),
    )


def repeated(patches: Patches, labels: NDArray[np.int32], independent_of: Independence) -> list[Group]:
    """The largest disjoint groups of equal patches in each label, per tolerance; `labels` (N,) of the images."""
    of_patch = labels[patches.record]
    return [
        group
        for label in np.unique(of_patch).tolist()
        for tolerance in TOLERANCES
        for group in _groups_of(patches, labels, of_patch, label, tolerance, independent_of)
    ]


def nearest_places(table: Table, patch: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Where each image of `table` shows `patch` (SIZE, SIZE, C) best: RMS difference (N,), top and left (N, 2).

    Unlike mining, this looks at every place: a patch next to an edge of the scene is not among the most isolated ones.
    """
    width, n = table.shape[1] - 2, table.shape[-1]
    best = np.full(n, np.inf, dtype=np.float32)
    where = np.zeros(n, dtype=np.int64)
    for top, squared in enumerate(_squared_distances(table, patch.round().astype(np.float32))):
        left = squared.argmin(axis=0)
        least = squared[left, np.arange(n)]
        closer = least < best
        best[closer] = least[closer]
        where[closer] = top * width + left[closer]
    return np.sqrt(best / patch.size), np.stack(np.divmod(where, width), axis=1)


def _squared_distances(table: Table, patch: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    """Row by row of places, the sums of squared differences (lefts, N): squares of what is shown and wanted, less their products.

    All are sums of whole numbers below 2**24, so exact. Products are taken for a few places at a time, of a few pixels more than
    a patch has.
    """
    _, width, channels, n = table.shape
    lefts = width - 2 - SIZE + 1
    lines: deque[NDArray[np.float32]] = deque(maxlen=SIZE)
    squares: deque[NDArray[np.float32]] = deque(maxlen=SIZE)
    for line in table[1:-1, 1:-1]:
        pixels = line.astype(np.float32)
        square = np.square(pixels).sum(axis=1)
        lines.append(pixels.reshape(len(line) * channels, n))
        squares.append(np.sum([square[shift : shift + lefts] for shift in range(SIZE)], axis=0))
        if len(lines) < SIZE:
            continue
        apart = np.sum(squares, axis=0) + np.square(patch).sum()
        for left in range(0, lefts, _ABREAST):
            some = min(_ABREAST, lefts - left)
            seen = slice(left * channels, (left + some + SIZE - 1) * channels)
            for wanted, shown in zip(patch, lines, strict=True):
                apart[left : left + some] -= 2 * _shifted(wanted, some) @ shown[seen]
        yield apart


def _shifted(wanted: NDArray[np.float32], some: int) -> NDArray[np.float32]:
    """One line (SIZE, C) of a patch at `some` places next to each other, a row each."""
    rows = np.zeros((some, some + SIZE - 1, wanted.shape[1]), dtype=np.float32)
    for place in range(some):
        rows[place, place : place + SIZE] = wanted
    return rows.reshape(some, -1)


def _groups_of(
    patches: Patches,
    labels: NDArray[np.int32],
    of_patch: NDArray[np.int32],
    label: int,
    tolerance: float,
    independent_of: Independence,
) -> list[Group]:
    rows = np.flatnonzero(of_patch == label)
    if len(rows) > _COMPARED:
        rows = np.sort(rows[np.argsort(-patches.isolation[rows], kind="stable")[:_COMPARED]])
    equal = _equal(patches, rows, tolerance)
    found = []
    alive = np.ones(len(rows), dtype=bool)
    for _ in range(_GROUPS):
        counts = np.where(alive, (equal & alive).sum(axis=1), 0)
        seed = int(counts.argmax())
        if counts[seed] < _MIN_COUNT - 1:
            break
        mine = np.flatnonzero(equal[seed] & alive)
        mine = np.r_[seed, mine]
        _, first = np.unique(patches.record[rows[mine]], return_index=True)
        members = rows[mine[np.sort(first)]]
        alive[mine] = False
        records = patches.record[members]
        if len(records) >= _MIN_COUNT:
            found.append(
                Group(
                    label,
                    tolerance,
                    patches.inner[rows[seed]].reshape(SIZE, SIZE, 3),
                    members,
                    independent_of(records),
                    _elsewhere(patches, labels, of_patch, label, rows[seed], tolerance),
                )
            )
    return found


def _equal(patches: Patches, rows: NDArray[np.int64], tolerance: float) -> NDArray[np.bool_]:
    """Which of the patches (n, n) show the same in other surroundings, of other images."""
    n = len(rows)
    equal = np.zeros((n, n), dtype=bool)
    inner, ring, record = patches.inner[rows], patches.ring[rows], patches.record[rows]
    for start in range(0, n, _BLOCK):
        part = slice(start, min(start + _BLOCK, n))
        same = _squared(inner[part], inner) <= tolerance**2
        same &= record[part, None] != record[None, :]
        i, j = np.nonzero(same)
        differs = ((ring[part][i] - ring[j]) ** 2).mean(axis=1) >= RING_DISTANCE**2
        equal[part][i[differs], j[differs]] = True
    return equal


def _squared(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean squared differences (n, m) of rows."""
    squares = np.einsum("ij,ij->i", a, a)[:, None] + np.einsum("ij,ij->i", b, b)
    return np.asarray((squares - 2 * (a @ b.T)) / np.float32(a.shape[1]))


def _elsewhere(
    patches: Patches,
    labels: NDArray[np.int32],
    of_patch: NDArray[np.int32],
    label: int,
    seed: int,
    tolerance: float,
) -> float:
    """Most records of another label that offer the seed's patch, per as many records as `label` has."""
    others = np.flatnonzero(of_patch != label)
    alike = others[_squared(patches.inner[seed : seed + 1], patches.inner[others])[0] <= tolerance**2]
    sizes = np.bincount(labels)
    records = np.unique(patches.record[alike])
    counts = np.bincount(labels[records], minlength=len(sizes))
    share = counts / np.maximum(sizes, 1)
    return float(share.max() * sizes[label])
