"""The search behind `neighbours`: products of tiles, and for each row the candidates above a bound.

The bound comes from a random pilot sample of columns: with the sample's j-th largest similarity, about j N / P columns of all N
pass, a few times k, and hardly ever fewer than k; where it was too high the row is searched again without one. Selection then
costs a comparison per cell. Between rows of one panel a tile serves both of its sides, which halves the products.

Products in float32 depend on the tile by some 1e-7. Similarities closer than `_NEAR` are therefore computed again in
float64, one pair at a time, so that the order depends neither on tiles nor on threads.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from bezoar.seeds import generator

TILE = 1024  # rows and columns of a product: 4 MiB of similarities, in the cache while they are compared
PANEL = 131_072  # rows whose candidates are held at a time
_GPU_COLUMNS = 65_536
_KEEP_BYTES = 2**29  # a normalised copy of features up to this size is kept
_PILOT, _PILOT_SHARE, _PILOT_RANK = 2048, 64, 12
_NEAR = 2e-6

Found = tuple[NDArray[np.int64], NDArray[np.float32]]  # indices and similarities, (N, k) each


class UnitRows:
    """Rows of `features` (N, D) at unit length, float32, computed as they are taken where all would be large.

    ValueError when the features have not two dimensions or hold a value that is not finite.
    """

    def __init__(self, features: NDArray[np.floating], chosen: NDArray[np.int64] | None = None) -> None:
        if np.ndim(features) != 2:
            raise ValueError(f"features must have two dimensions, not {np.ndim(features)}")
        self._source, self._chosen = features, chosen
        self._kept: NDArray[np.float32] | None = None
        self.shape = (len(features) if chosen is None else len(chosen), features.shape[1])
        keep = self.shape[0] * self.shape[1] * 4 <= _KEEP_BYTES
        kept = np.empty(self.shape, np.float32) if keep else None
        for start in range(0, len(self), TILE):
            rows = self.take(slice(start, start + TILE))  # checks them
            if kept is not None:
                kept[start : start + TILE] = rows
        self._kept = kept

    def __len__(self) -> int:
        return self.shape[0]

    def select(self, rows: NDArray[np.int64]) -> UnitRows:
        """Only these rows."""
        return UnitRows(self._source, rows if self._chosen is None else self._chosen[rows])

    def take(self, which: slice | NDArray[np.int64]) -> NDArray[np.float32]:
        """These rows, C-contiguous."""
        if self._kept is not None:
            return self._kept[which]
        if self._chosen is not None:
            which = self._chosen[which]
        with np.errstate(over="ignore"):  # what float32 cannot hold is refused below
            rows = np.ascontiguousarray(self._source[which], dtype=np.float32)
        length = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))
        if not np.isfinite(length).all():
            raise ValueError("features hold NaN or infinite values")
        return np.asarray(rows / np.maximum(length, 1e-12).astype(np.float32)[:, None])


def search(
    queries: UnitRows,
    base: UnitRows,
    k: int,
    *,
    same: bool,
    n_jobs: int | None = None,
    on_rows: Callable[[int], None] | None = None,
) -> Found:
    """The k nearest rows of `base` for each of `queries`; with `same` they are one, and no row finds itself."""
    n = len(queries)
    indices, similarities = np.empty((n, k), np.int64), np.empty((n, k), np.float32)
    find = _search_on_gpu if _gpu() else _search_panel
    for start in range(0, n, PANEL):
        panel = slice(start, min(start + PANEL, n))
        for here, keys in find(
            queries, base, k, panel, same, threads(n_jobs), on_rows or (lambda count: None)
        ):
            indices[here], similarities[here] = _settled(keys, queries.take(here), base, k)
    return indices, similarities


def threads(n_jobs: int | None) -> int:
    """How many threads `n_jobs` asks for: as many as there are cores for None or -1; ValueError for 0 and other negatives."""
    if n_jobs is None or n_jobs == -1:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if n_jobs < 1:
        raise ValueError(f"n_jobs must be None, -1 or at least 1, not {n_jobs}")
    return n_jobs


Keys = NDArray[
    np.uint64
]  # similarity above, complement of the column below: a larger key is a better neighbour


class _Candidates:
    """What has passed the bound of each row of a block of queries, in any order."""

    def __init__(self, bound: NDArray[np.float32], k: int) -> None:
        self.bound, self.first_bound, self.k = bound, bound, k
        self._rows: list[NDArray[np.uint16]] = []  # a tile has fewer than 65,536
        self._keys: list[Keys] = []
        self._count, self._limit = 0, len(bound) * max(6 * k, 512)
        self._lock = Lock()

    def offer(
        self, rows: NDArray[np.int64], columns: NDArray[np.int64], similarities: NDArray[np.float32]
    ) -> None:
        keys = _keys(similarities, columns)
        with self._lock:
            self._rows.append(rows.astype(np.uint16))
            self._keys.append(keys)
            self._count += len(rows)
            if self._count > self._limit:
                self._shrink()

    def best(self) -> Keys:
        """The 2 k largest keys of each row, largest first; 0 where there are fewer."""
        best: Keys = np.zeros((len(self.bound), 2 * self.k), np.uint64)
        if self._rows:
            rows, keys = np.concatenate(self._rows), np.concatenate(self._keys)
            order = np.argsort(keys)[::-1]
            order = order[np.argsort(rows[order], kind="stable")]  # a radix sort
            rows, keys = rows[order], keys[order]
            rank = np.arange(len(rows)) - np.searchsorted(rows, np.arange(len(self.bound)))[rows]
            first = rank < best.shape[1]
            best[rows[first], rank[first]] = keys[first]
        return best

    def _shrink(self) -> None:
        """Keep the best; none below the k-th of them can be among the k nearest."""
        best = self.best()
        reached = best[:, self.k - 1] > 0
        self.bound = np.where(
            reached, np.maximum(self.bound, _values(best[:, self.k - 1]) - _NEAR), self.bound
        ).astype(np.float32)
        rows, _ = np.nonzero(best)
        self._rows, self._keys, self._count = [rows.astype(np.uint16)], [best[best > 0]], len(rows)


def _search_panel(
    queries: UnitRows,
    base: UnitRows,
    k: int,
    panel: slice,
    same: bool,
    jobs: int,
    on_rows: Callable[[int], None],
) -> Iterator[tuple[slice, Keys]]:
    """Best keys (rows, 2 k) of each block of rows of one panel of `queries`."""
    blocks = _slices(panel)
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(jobs) as pool:
        sample = base.take(_pilot(len(base), k))
        bounds = pool.map(lambda here: _bound(queries.take(here) @ sample.T, k, len(base)), blocks)
        candidates = [_Candidates(bound, k) for bound in bounds]
        inside = {block.start: number for number, block in enumerate(blocks)} if same else {}

        def row_of_tiles(number: int) -> None:
            rows = queries.take(blocks[number])
            cells, flags = np.empty(len(rows) * TILE, np.float32), np.empty(len(rows) * TILE, bool)
            for columns in _slices(slice(0, len(base))):
                mirror = inside.get(columns.start)
                if mirror is not None and mirror < number:
                    continue  # seen from the other side
                shape = len(rows), columns.stop - columns.start
                cosines = cells[: shape[0] * shape[1]].reshape(
                    shape
                )  # fresh memory costs as much as comparing
                passed = flags[: len(cosines.ravel())].reshape(shape)
                np.matmul(rows, base.take(columns).T, out=cosines)
                if mirror == number:
                    np.fill_diagonal(cosines, -2.0)
                np.greater_equal(cosines, candidates[number].bound[:, None], out=passed)
                row, column = np.divmod(np.flatnonzero(passed), shape[1])
                candidates[number].offer(row, column + columns.start, cosines[row, column])
                if mirror is not None and mirror > number:
                    np.greater_equal(cosines, candidates[mirror].bound[None, :], out=passed)
                    row, column = np.divmod(np.flatnonzero(passed), shape[1])
                    candidates[mirror].offer(column, row + blocks[number].start, cosines[row, column])

        for block, _ in zip(blocks, pool.map(row_of_tiles, range(len(blocks))), strict=True):
            on_rows(block.stop - block.start)
        yield from zip(
            blocks,
            pool.map(lambda b, c: _completed(queries, base, b, c, same), blocks, candidates),
            strict=True,
        )


def _pilot(n: int, k: int) -> NDArray[np.int64]:
    """Columns of the pilot sample, ascending."""
    size = max(_PILOT, n // _PILOT_SHARE)
    return (
        np.arange(n)
        if n <= max(size, 4 * k)
        else np.sort(generator(0, "pilot", n).choice(n, size, replace=False))
    )


def _bound(cosines: NDArray[np.float32], k: int, n: int) -> NDArray[np.float32]:
    """A similarity that some three times k of n columns exceed, for each row of a sample's similarities (rows, P)."""
    size = cosines.shape[1]
    rank = min(size, max(min(_PILOT_RANK, size), -(-3 * k * size // n)) + 1)
    return np.asarray(np.partition(cosines, size - rank, axis=1)[:, size - rank])


def _completed(queries: UnitRows, base: UnitRows, block: slice, found: _Candidates, same: bool) -> Keys:
    """The best keys of a block, after another search for the rows whose bound was too high."""
    best = found.best()
    kth = best[:, found.k - 1]
    short = np.flatnonzero((kth == 0) | (_values(kth) - np.float32(_NEAR) < found.first_bound))
    if len(short):
        rows = short + block.start
        best[short] = _search_all(queries.take(rows), base, found.k, rows if same else None)
    return best


def _search_all(rows: NDArray[np.float32], base: UnitRows, k: int, own: NDArray[np.int64] | None) -> Keys:
    """Best keys (rows, 2 k) without a bound; `own` are the columns that the rows must not find."""
    best: Keys = np.zeros((len(rows), 2 * k), np.uint64)
    for columns in _slices(slice(0, len(base))):
        keys = _keys(rows @ base.take(columns).T, np.arange(columns.start, columns.stop))
        if own is not None:
            here = np.flatnonzero((own >= columns.start) & (own < columns.stop))
            keys[here, own[here] - columns.start] = 0
        both = np.hstack([best, keys])
        best = np.partition(both, both.shape[1] - 2 * k, axis=1)[:, -2 * k :]
    return np.sort(best, axis=1)[:, ::-1]


def _settled(keys: Keys, rows: NDArray[np.float32], base: UnitRows, k: int) -> Found:
    """The k best columns and their similarities, equal ones by index, close ones compared in float64."""
    value = _values(keys).astype(np.float64)
    column = (~keys).astype(np.uint32).astype(np.int64)
    value[keys == 0] = -np.inf
    with np.errstate(invalid="ignore"):  # nothing less nothing
        close = value[:, :-1] - value[:, 1:] < _NEAR
    at = np.zeros(value.shape, bool)
    at[:, :-1] |= close
    at[:, 1:] |= close
    row, place = np.nonzero(at)
    for start in range(0, len(row), TILE):
        r, p = row[start : start + TILE], place[start : start + TILE]
        value[r, p] = np.einsum("ij,ij->i", rows[r], base.take(column[r, p]), dtype=np.float64)
    order = np.lexsort((column, -value))[:, :k]
    value = np.take_along_axis(value, order, axis=1)
    return np.take_along_axis(column, order, axis=1), np.minimum(value, 1.0).astype(np.float32)


def _keys(similarities: NDArray[np.float32], columns: NDArray[np.int64]) -> Keys:
    bits = np.ascontiguousarray(similarities).view(np.uint32)
    ordered = np.where(bits >> 31, ~bits, bits | np.uint32(2**31)).astype(
        np.uint64
    )  # as the floats are ordered
    return np.asarray(ordered << np.uint64(32) | np.uint64(2**32 - 1) - columns.astype(np.uint64))


def _values(keys: Keys) -> NDArray[np.float32]:
    ordered = (keys >> np.uint64(32)).astype(np.uint32)
    return (
        np.where(ordered >> 31, ordered & np.uint32(2**31 - 1), ~ordered).astype(np.uint32).view(np.float32)
    )


def _slices(whole: slice) -> list[slice]:
    return [slice(start, min(start + TILE, whole.stop)) for start in range(whole.start, whole.stop, TILE)]


def _gpu() -> bool:
    """Whether torch sees a GPU; torch is only imported where there is a driver for one."""
    if "torch" not in sys.modules and not any(Path(p).exists() for p in ("/dev/nvidiactl", "/dev/dxg")):
        return False
    try:
        import torch
    except ImportError:
        return False
    return bool(torch.cuda.is_available())


def _search_on_gpu(
    queries: UnitRows,
    base: UnitRows,
    k: int,
    panel: slice,
    same: bool,
    jobs: int,
    on_rows: Callable[[int], None],
    device: str = "cuda",
) -> Iterator[tuple[slice, Keys]]:
    """As `_search_panel`, with torch: wide tiles of the product and torch's own selection."""
    import torch

    blocks = _slices(panel)
    best: list[Keys] = [np.zeros((block.stop - block.start, 2 * k), np.uint64) for block in blocks]
    for start in range(0, len(base), _GPU_COLUMNS):
        stop = min(start + _GPU_COLUMNS, len(base))
        columns = torch.from_numpy(base.take(slice(start, stop))).to(device)
        for number, block in enumerate(blocks):
            cosines = torch.from_numpy(queries.take(block)).to(device) @ columns.T
            if same:
                own = np.arange(max(block.start, start), min(block.stop, stop))
                cosines[own - block.start, own - start] = -2.0
            top = torch.topk(cosines, min(2 * k, stop - start), dim=1)
            value, column = top.values.cpu().numpy(), top.indices.cpu().numpy() + start
            keys = np.where(value < -1.5, np.uint64(0), _keys(value, column))
            best[number] = np.sort(np.hstack([best[number], keys]), axis=1)[:, : -2 * k - 1 : -1]
            if stop == len(base):
                on_rows(block.stop - block.start)
    yield from zip(blocks, best, strict=True)
