"""Repeated-pattern statistic: does one small patch recur, at one place, in records that share nothing else?

A patch trigger (BadNets, Gu et al. 2017; label-consistent, Turner et al. 2019) leaves three marks that honest images
do not leave together: the patch is *isolated* (none of its sides continues into the surroundings), it is *the same* in
many records of one label while the ring of pixels around it differs, and it is *tied to its place* (the same
patch is rare a few pixels away). Every window position of the canvas gets one statistic from these marks:

    z = 2 (sqrt(T) - sqrt(B))

T counts mutually independent records (near-duplicate frames once) around the densest isolated patch; B is the largest
number of records of the same label that show that patch at a displaced position (see `counts` for the test).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from bezoar.scan.functional.areas import area_means
from bezoar.scan.functional.counts import excess

Independence = Callable[[NDArray[np.int64]], int]
Table = NDArray[np.uint8]  # (H + 2, W + 2, C, N): position-major pixels with one replicated border pixel

ISOLATION = 20.0  # grey levels (RMS) by which a patch must differ from the continuation of each of its sides
RING_DISTANCE = 24.0  # grey levels (RMS) by which the surroundings of two records must differ to be evidence
TOLERANCES = (8.0, 20.0)  # grey levels (RMS) within which two patches are the same: lossless, JPEG-compressed
DISPLACEMENTS = (3, 5)  # pixels: where the same patch must be rare
_COUNTED = 2000  # records whose likeness is looked at pair by pair
NEAR_DUPLICATE = 0.9  # correlation of thumbnails above which two records count once
# nearest near-duplicates of a record that are asked for: about as many as a track has frames
LOOK_ALIKES = 16
_NEARLY_ALL = 7 / 8  # of them, from which a group holds all of what looks so
MOST_ISOLATED = 0.05  # share of records, the most isolated ones, that are compared at a position
MAX_COMPARED = 2048  # records compared at a position at most (bounds time and memory)
MIN_COUNT = 4  # smaller groups say nothing
_TRANSPOSED = 64  # images that are turned at a time: they stay in the processor's cache
_BLOCK = 300  # records of several labels that are compared in one product


@dataclass(frozen=True, slots=True)
class Peak:
    """The densest repeated patch at one window position.

    Attributes:
        top, left: position of the window in the canvas, pixels.
        size: window side, pixels.
        tolerance: RMS grey levels within which patches counted as equal.
        label: the label of its records.
        members: int64 indices of the records counted.
        independent: members after counting near-duplicates once (T).
        background: most records with the same patch at a displaced position (B).
        z: the statistic.

    """

    top: int
    left: int
    size: int
    tolerance: float
    label: int
    members: NDArray[np.int64]
    independent: int
    background: int
    z: float


def pixel_table(images: NDArray[np.uint8], scale: int = 1) -> Table:
    """Position-major copy of images (N, H, W, C), shrunk by an integer factor, with a replicated border."""
    n, h, w, channels = images.shape
    h, w = h // scale, w // scale
    table = np.empty((h + 2, w + 2, channels, n), dtype=np.uint8)
    for start in range(0, n, _TRANSPOSED):
        block = images[start : start + _TRANSPOSED, : h * scale, : w * scale]
        turned = np.ascontiguousarray(block.reshape(len(block), -1).T)
        turned = turned.reshape(h * scale, w * scale, channels, len(block))
        table[1:-1, 1:-1, :, start : start + _TRANSPOSED] = _shrunk(turned, scale)
    table[0], table[-1] = table[1], table[-2]
    table[:, 0], table[:, -1] = table[:, 1], table[:, -2]
    return table


def _shrunk(turned: Table, scale: int) -> Table:
    """Means over squares of position-major pixels (H, W, C, N)."""
    if scale == 1:
        return turned
    total = np.zeros_like(turned[::scale, ::scale], dtype=np.uint32)
    for y in range(scale):
        for x in range(scale):
            total += turned[y::scale, x::scale]
    return np.asarray((total / scale**2).round(), dtype=np.uint8)


def thumbnails(images: NDArray[np.uint8], side: int = 8) -> NDArray[np.float32]:
    """Unit-length, mean-free thumbnails (N, side * side * 3) whose inner products are correlations.

    Images smaller than `side` pixels are their own thumbnails.
    """
    n, h, w, _ = images.shape
    side = min(side, h, w)
    flat = area_means(images, side, side).reshape(n, -1)
    flat -= flat.mean(axis=1, keepdims=True)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    return np.asarray(flat / np.maximum(length, 1e-6), dtype=np.float32)


def by_likeness(thumbs: NDArray[np.float32]) -> Independence:
    """Count near-duplicates (single linkage over correlated thumbnails, from `thumbnails`) once."""

    def count(indices: NDArray[np.int64]) -> int:
        if len(indices) > _COUNTED:  # at least as many as in an even sample of them
            indices = indices[np.linspace(0, len(indices) - 1, _COUNTED).astype(np.int64)]
        linked = thumbs[indices] @ thumbs[indices].T > NEAR_DUPLICATE
        np.fill_diagonal(linked, False)
        some = linked.any(axis=1)
        if not some.any():  # as a rule
            return len(indices)
        return len(indices) - int(some.sum()) + _components(linked[np.ix_(some, some)])

    return count


def by_company(
    independent_of: Independence, thumbs: NDArray[np.float32], neighbours: NDArray[np.int64]
) -> Independence:
    """As `independent_of` counts, or by company where that is more: a record as one over itself and its look-alikes among them.

    The frames of a track come together, so that they count about once. Where a whole class looks alike (trousers), linking
    leaves one of any group; but records that were drawn from it have look-alikes which are not in the group, and count nearly
    singly. Those whose look-alikes are nearly all in it, as in a camera's long track, count no more than linking says. `thumbs`
    (N, T) are from `thumbnails`, `neighbours` (N, k) the rows that come into question.
    """
    alike = _look_alikes(thumbs, neighbours)

    def count(indices: NDArray[np.int64]) -> int:
        least = independent_of(indices)
        if least >= len(indices):
            return least
        group = np.sort(indices)
        asked = alike[group]
        place = np.minimum(np.searchsorted(group, asked), len(group) - 1)
        among = group[place] == asked
        singly = 1.0 / (1.0 + among.sum(axis=1))
        if int(singly.sum()) <= least:
            return least
        whole = among.any(axis=1) & (among.sum(axis=1) >= _NEARLY_ALL * (asked >= 0).sum(axis=1))
        together = min(float(singly[whole].sum()), float(independent_of(group[whole])))
        return max(least, int(singly[~whole].sum() + together))

    return count


def _look_alikes(thumbs: NDArray[np.float32], neighbours: NDArray[np.int64]) -> NDArray[np.int64]:
    """The `LOOK_ALIKES` most correlated near-duplicates (N, L) among the neighbours of each record; -1 where there are fewer."""
    found = np.full((len(thumbs), min(LOOK_ALIKES, neighbours.shape[1])), -1, dtype=np.int64)
    for start in range(0, len(thumbs), _BLOCK):
        here = slice(start, start + _BLOCK)
        alike = np.einsum("id,ikd->ik", thumbs[here], thumbs[neighbours[here]])
        nearest = np.argsort(-alike, axis=1, kind="stable")[:, : found.shape[1]]
        near = np.take_along_axis(alike, nearest, axis=1) > NEAR_DUPLICATE
        found[here] = np.where(near, np.take_along_axis(neighbours[here], nearest, axis=1), -1)
    return found


def _components(linked: NDArray[np.bool_]) -> int:
    """How many connected components a graph (n, n) has; it is small, so that setting up a sparse one would take longest."""
    left = np.ones(len(linked), dtype=bool)
    components = 0
    while left.any():
        reached = np.flatnonzero(left)[:1]
        while len(reached):
            left[reached] = False
            reached = np.flatnonzero(linked[reached].any(axis=0) & left)
        components += 1
    return components


def by_group(groups: NDArray[np.int64]) -> Independence:
    """Count records of one group (a track, a video, a page) once; `groups` has shape (N,)."""
    return lambda indices: len(np.unique(groups[indices]))


def peaks(
    table: Table,
    labels: NDArray[np.int32],
    independent_of: Independence,
    size: int,
    *,
    jobs: int = 2,
    on_row: Callable[[], None] | None = None,
) -> list[Peak]:
    """The strongest `Peak` per tolerance at every window position of a canvas.

    Args:
        table: from `pixel_table`.
        labels: (N,) labels in ascending order (so that a label is one slice of the table).
        independent_of: how many independent records these indices are (see `by_likeness`, `by_group`).
        size: window side P in pixels.
        jobs: threads; the positions are shared out by row.
        on_row: called without arguments after each row (progress).

    """
    height, width = table.shape[0] - 2, table.shape[1] - 2

    def row(top: int) -> list[Peak]:
        found = [
            p
            for left in range(width - size + 1)
            for p in peaks_at(table, labels, independent_of, top, left, size)
        ]
        if on_row is not None:
            on_row()
        return found

    # One BLAS thread each: the products are small, and the positions already keep every core busy.
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(jobs) as pool:
        return [peak for found in pool.map(row, range(height - size + 1)) for peak in found]


def peaks_at(
    table: Table, labels: NDArray[np.int32], independent_of: Independence, top: int, left: int, size: int
) -> list[Peak]:
    """One `Peak` per tolerance at one window position (see `peaks`)."""
    window = table[top : top + size + 2, left : left + size + 2]
    isolated = _most_isolated(window, size, _sides_inside(table, top, left, size))
    best = dict.fromkeys(TOLERANCES, (-1, isolated[:0]))
    for rows in _whole_labels(isolated, labels):
        for tolerance, (seed, members) in _densest(window[..., rows], labels[rows]).items():
            if len(members) > len(best[tolerance][1]):
                best[tolerance] = int(rows[seed]), rows[members]
    return [_score(table, labels, independent_of, top, left, size, t, *best[t]) for t in TOLERANCES]


def _whole_labels(rows: NDArray[np.int64], labels: NDArray[np.int32]) -> Iterator[NDArray[np.int64]]:
    """`rows` of labels that have enough of them, in blocks of about `_BLOCK`; no label is in two of them."""
    size = np.bincount(labels[rows])
    size[size < MIN_COUNT] = 0
    rows = rows[size[labels[rows]] > 0]
    ends = np.cumsum(size)
    start = 0
    while start < len(rows):
        fitting = ends[ends <= start + _BLOCK]
        end = int(fitting[-1]) if len(fitting) and fitting[-1] > start else int(ends[ends > start][0])
        yield rows[start:end]
        start = end


def _sides_inside(table: Table, top: int, left: int, size: int) -> tuple[bool, bool, bool, bool]:
    """Which sides (above, below, left, right) of a window have real pixels beyond them."""
    height, width = table.shape[0] - 2, table.shape[1] - 2
    return top > 0, top + size < height, left > 0, left + size < width


def _most_isolated(
    window: Table,
    size: int,
    sides: tuple[bool, bool, bool, bool],
) -> NDArray[np.int64]:
    """Records whose patch continues into none of its sides, the most isolated `share` of them, ascending."""
    n = window.shape[-1]
    isolation = isolation_of(window, sides)
    limit = int(min(max(MOST_ISOLATED * n, 300), MAX_COMPARED, n))
    chosen = np.argpartition(-isolation, limit - 1)[:limit]
    chosen = chosen[isolation[chosen] > ISOLATION**2]
    chosen.sort()
    return chosen.astype(np.int64)


def isolation_of(window: Table, sides: tuple[bool, bool, bool, bool]) -> NDArray[np.float32]:
    """Mean squared difference (N,) between a patch and the extension of its most similar side."""
    inner = window[1:-1, 1:-1].astype(np.float32)
    edges = (window[:1, 1:-1], window[-1:, 1:-1], window[1:-1, :1], window[1:-1, -1:])
    least = np.full(window.shape[-1], np.inf, dtype=np.float32)
    for inside, edge in zip(sides, edges, strict=True):
        if inside:
            difference = inner - edge
            np.minimum(least, np.einsum("ijcn,ijcn->n", difference, difference), out=least)
    return least / np.float32(inner[..., 0].size)


def _densest(window: Table, labels: NDArray[np.int32]) -> dict[float, tuple[int, NDArray[np.int64]]]:
    """Per tolerance: the record with most look-alikes of its label in other surroundings, and those look-alikes (itself too)."""
    inside = np.zeros(window.shape[:2], dtype=bool)
    inside[1:-1, 1:-1] = True
    patches, rings = (window[which].reshape(-1, len(labels)) for which in (inside, ~inside))
    same, around = _squared_distances(patches), _squared_distances(rings)
    differ = (around >= RING_DISTANCE**2 * len(rings)) & (labels[:, None] == labels)
    found = {}
    for tolerance in TOLERANCES:
        equal = differ & (same <= tolerance**2 * len(patches))
        seed = int(equal.sum(axis=1, dtype=np.int32).argmax())
        equal[seed, seed] = True
        found[tolerance] = seed, np.flatnonzero(equal[seed])
    return found


def _squared_distances(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Pairwise squared differences (M, M) of pixel columns (values, M), summed: whole numbers that float32 holds exactly."""
    flat = pixels.astype(np.float32)
    squares = np.einsum("ij,ij->j", flat, flat)[None]
    ones = np.ones_like(squares)
    product = np.concatenate([flat, squares, ones]).T @ np.concatenate([-2 * flat, ones, squares])
    return np.asarray(product, dtype=np.float32)


def _score(
    table: Table,
    labels: NDArray[np.int32],
    independent_of: Independence,
    top: int,
    left: int,
    size: int,
    tolerance: float,
    seed: int,
    members: NDArray[np.int64],
) -> Peak:
    """Turn a group of look-alikes into a `Peak`: count near-duplicates once, subtract the displaced background."""
    independent, background = len(members), 0
    label = int(labels[seed]) if len(members) else -1
    if independent >= MIN_COUNT:
        independent = independent_of(members)
        first, last = np.searchsorted(labels, [label, label + 1])
        background = _background(table[..., first:last], table[..., seed], top, left, size, tolerance)
    z = float(excess(independent, background))
    return Peak(top, left, size, tolerance, label, members, independent, background, z)


def _background(
    table: Table, seed: NDArray[np.uint8], top: int, left: int, size: int, tolerance: float
) -> int:
    """Most records of `table` (those of one label) that show the patch of the image `seed` at one displaced position,
    isolated on the sides on which the window itself has to be.
    """
    height, width = table.shape[0] - 2, table.shape[1] - 2
    sides = _sides_inside(table, top, left, size)
    patch = seed[top + 1 : top + 1 + size, left + 1 : left + 1 + size].astype(np.float32)[..., None]
    most = 0
    for distance in DISPLACEMENTS:
        for dy in (-distance, 0, distance):
            for dx in (-distance, 0, distance):
                y, x = top + dy, left + dx
                if (dy, dx) == (0, 0) or not (0 <= y <= height - size and 0 <= x <= width - size):
                    continue
                shown = table[y + 1 : y + 1 + size, x + 1 : x + 1 + size] - patch
                alike = np.flatnonzero(np.einsum("ijcn,ijcn->n", shown, shown) <= patch.size * tolerance**2)
                if len(alike) > most:
                    window = table[y : y + size + 2, x : x + size + 2][..., alike]
                    most = max(most, int((isolation_of(window, sides) > ISOLATION**2).sum()))
    return most
