"""Exact k nearest neighbours by cosine similarity, at the speed of the matrix product, in bounded memory.

Rows that are equal once they have unit length are searched once: copies of one record, the usual cause of ties, then cost nothing
and are put in the order of their indices. What remains is searched by tiles (`neighbour_tiles`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bezoar.scan.functional import neighbour_tiles
from bezoar.scan.functional.neighbour_tiles import Found, UnitRows
from bezoar.seeds import generator

_BLOCK = 4096  # rows looked at together outside the products


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The k nearest other records of each record, nearest first.

    Attributes:
        indices: int64 (N, k).
        similarities: float32 (N, k), cosines.

    """

    indices: NDArray[np.int64]
    similarities: NDArray[np.float32]


def nearest(
    features: NDArray[np.floating],
    k: int,
    *,
    n_jobs: int | None = None,
    on_rows: Callable[[int], None] | None = None,
) -> Neighbours:
    """Exact k nearest neighbours (cosine) of every row of `features` (N, D) among the other rows.

    Equal similarities are in the order of their indices. `features` may be memory-mapped and larger than memory; NaN
    is refused with ValueError, and k must be below N. Time is that of half the N x N matrix product (all of it beyond
    `neighbour_tiles.PANEL` rows); memory is N x k, a few hundred candidates for each row of a panel, and a copy of the features
    where that is small. Threads (`n_jobs`, None for all cores) change neither. `on_rows(n)` is called as work is done, N rows in
    all. A GPU that torch sees does the products.
    """
    n = len(features)
    if not 0 < k < n:
        raise ValueError(f"k must be in 1..{n - 1}, not {k}")
    rows = UnitRows(features)
    groups = _identical(rows)
    distinct = rows if len(groups.first) == n else rows.select(groups.first)
    if len(distinct) == 1:
        found = np.empty((1, 0), np.int64), np.empty((1, 0), np.float32)
    else:
        fewer = min(k, len(distinct) - 1)
        share = _shared_out(on_rows, len(distinct), n)
        found = neighbour_tiles.search(distinct, distinct, fewer, same=True, n_jobs=n_jobs, on_rows=share)
    if distinct is rows:
        return Neighbours(*found)
    out = Neighbours(np.empty((n, k), np.int64), np.empty((n, k), np.float32))
    for start in range(0, n, _BLOCK):
        here = slice(start, min(start + _BLOCK, n))
        own = groups.of[here]
        unit = distinct.take(own)
        itself = np.einsum("ij,ij->i", unit, unit)  # 1, or 0 for a row of zeros
        itself[groups.size[own] == 1] = 2.0  # no copies: place and value are of no consequence
        group = np.hstack([own[:, None], found[0][own]])
        value = np.hstack([itself[:, None], found[1][own]])
        order = np.lexsort((group, -value))
        group, value = (np.take_along_axis(a, order, axis=1) for a in (group, value))
        out.indices[here], out.similarities[here] = _members(
            group, value, groups, k, np.arange(here.start, here.stop)
        )
    return out


def nearest_among(
    queries: NDArray[np.floating], features: NDArray[np.floating], k: int, *, n_jobs: int | None = None
) -> Neighbours:
    """Exact k nearest neighbours (cosine) of every row of `queries` (M, D) among the rows of `features` (N, D).

    A query that is itself among the features finds itself. Otherwise as `nearest`; k may be N.
    """
    if not 0 < k <= len(features):
        raise ValueError(f"k must be in 1..{len(features)}, not {k}")
    rows = UnitRows(features)
    groups = _identical(rows)
    distinct = rows if len(groups.first) == len(rows) else rows.select(groups.first)
    found = neighbour_tiles.search(
        UnitRows(queries), distinct, min(k, len(distinct)), same=False, n_jobs=n_jobs
    )
    return Neighbours(*(found if distinct is rows else _members(*found, groups, k, None)))


def unit_rows(features: NDArray[np.floating]) -> NDArray[np.float32]:
    """Rows scaled to unit length, float32; ValueError when any value is not finite."""
    return UnitRows(features).take(slice(0, len(features)))


@dataclass(frozen=True, slots=True)
class _Groups:
    """Rows that are equal: U groups, in the order of their first rows.

    Attributes:
        of: int64 (N,), group of each row.
        first: int64 (U,), its first row.
        size: int64 (U,).
        members: int64 (N,), rows by group, ascending in each.
        start: int64 (U,), where a group's members begin.

    """

    of: NDArray[np.int64]
    first: NDArray[np.int64]
    size: NDArray[np.int64]
    members: NDArray[np.int64]
    start: NDArray[np.int64]


def _identical(rows: UnitRows) -> _Groups:
    """Groups of equal rows: found by a hash, then compared, so that a collision only leaves two copies apart."""
    n, d = rows.shape
    weights = generator(0, "hash of rows").integers(0, 2**63, d, dtype=np.uint64) * np.uint64(2) + np.uint64(
        1
    )
    hashes = np.empty(n, np.uint64)
    for start in range(0, n, _BLOCK):
        bits = (rows.take(slice(start, start + _BLOCK)) + np.float32(0)).view(np.uint32)  # -0.0 becomes 0.0
        hashes[start : start + _BLOCK] = (bits * weights).sum(axis=1)
    _, first, of = np.unique(hashes, return_index=True, return_inverse=True)
    if len(first) < n:
        head = first[of]
        copies = np.flatnonzero(head != np.arange(n))
        for start in range(0, len(copies), _BLOCK):
            here = copies[start : start + _BLOCK]
            collided = here[(rows.take(here) != rows.take(head[here])).any(axis=1)]
            head[collided] = collided
        first, of = np.unique(head, return_inverse=True)
    else:
        first = of = np.arange(n)
    size = np.bincount(of, minlength=len(first))
    return _Groups(of, first, size, np.argsort(of, kind="stable"), np.cumsum(size) - size)


def _members(
    group: NDArray[np.int64],
    value: NDArray[np.float32],
    groups: _Groups,
    k: int,
    rows: NDArray[np.int64] | None,
) -> Found:
    """From nearest groups (M, G), nearest first, to the k nearest of their members, without the M `rows` themselves."""
    mine = np.zeros(group.shape, bool) if rows is None else group == groups.of[rows][:, None]
    count = groups.size[group] - mine
    taken = np.clip(k - (np.cumsum(count, axis=1) - count), 0, count).ravel()
    place = np.arange(taken.sum()) - np.repeat(np.cumsum(taken) - taken, taken)
    at = np.repeat(groups.start[group].ravel(), taken) + place
    if rows is not None:  # pass over the row among its copies
        itself = np.repeat(rows, k)
        at += np.repeat(mine.ravel(), taken) & (groups.members[at] >= itself)
    return groups.members[at].reshape(-1, k), np.repeat(value.ravel(), taken).reshape(-1, k)


def _shared_out(on_rows: Callable[[int], None] | None, distinct: int, n: int) -> Callable[[int], None] | None:
    """Progress over the distinct rows, as progress over all N."""
    if on_rows is None:
        return None
    done = told = 0

    def advance(count: int) -> None:
        nonlocal done, told
        done += count
        now = done * n // distinct
        on_rows(now - told)
        told = now

    return advance
