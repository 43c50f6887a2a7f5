"""Label disagreement: records whose nearest neighbours, in an independent encoder's space, carry another label.

A relabelled stop sign still lies among stop signs (dirty label), and a clean-label poison made by feature collision lies
among the class that it collides with (deep k-NN, Peri et al. 2020, arXiv 1909.13374). Single disagreements are
common in honest data; what gives poison away is that they go one way and all the way: far more records labelled b lie
deep among a's than records labelled a among b's, than either class exchanges with the others, and than the records that
lie half-way between the two classes explain.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from bezoar.scan.functional.counts import excess, family_wise

KS = (8, 16, 64)  # single strangers show at every k; a dense group of poison votes for itself at small k
FIRM = 0.5  # margin from which a record counts as disagreeing
_ENOUGH = 10  # half-way records from which a cell's ratio of deep to half-way is known
_LEAST_RATIO = 0.25
_QUARTILE = 0.75
_HONEST = 0.2  # share of honest records among the flagged ones that is put up with


@dataclass(frozen=True, slots=True)
class Disagreement:
    """How each record's neighbours vote.

    Attributes:
        margin: float32 (N,), share of the votes for the strongest other label minus the share for the given label, in
            [-1, 1]: the mean over `KS` or the margin at the largest k, whichever is larger.
        other: int32 (N,), the strongest other label.

    """

    margin: NDArray[np.float32]
    other: NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class InflowTest:
    """Whether more records given label `given` lie among other labels, whichever, than confusion explains."""

    given: int
    count: int
    expected: float
    p_value: float


@dataclass(frozen=True, slots=True)
class PairTest:
    """Whether records given label `given` lie among label `other` beyond what the data's own confusions explain."""

    given: int
    other: int
    count: int
    expected: float
    p_value: float


def vote(
    neighbours: NDArray[np.int64],
    labels: NDArray[np.int32],
    n_labels: int,
    rows: NDArray[np.int64] | None = None,
) -> Disagreement:
    """Votes of the neighbours (N, k), nearest first, for records with `labels` (N,) in range(n_labels).

    With `rows` (M,) only for those records: margin and other have shape (M,) then.
    """
    wanted = np.arange(len(labels)) if rows is None else rows
    ks = sorted({min(k, neighbours.shape[1]) for k in KS})
    wide_enough = np.bincount(labels, minlength=n_labels) >= 2 * ks[-1]
    margin = np.empty(len(wanted), dtype=np.float32)
    other = np.empty(len(wanted), dtype=np.int32)
    block = max(1, 2**24 // n_labels)
    for start in range(0, len(wanted), block):
        here = slice(start, min(start + block, len(wanted)))
        own = labels[wanted[here]]
        votes = labels[neighbours[wanted[here]]]
        shares = np.stack([_shares(votes[:, :k], n_labels) for k in ks])
        mean, _ = _margins(np.asarray(shares.mean(axis=0)), own)
        widest, strongest = _margins(shares[-1], own)
        margin[here] = np.where(wide_enough[own], np.maximum(mean, widest), mean)
        other[here] = strongest
    return Disagreement(margin, other)


def _shares(votes: NDArray[np.int32], n_labels: int) -> NDArray[np.float32]:
    """Share of each label among the votes (rows, k): (rows, n_labels)."""
    rows, k = votes.shape
    cells = np.arange(rows)[:, None] * n_labels + votes
    counts = np.bincount(cells.ravel(), minlength=rows * n_labels)
    return np.asarray(counts.reshape(rows, n_labels) / np.float32(k))


def _margins(
    shares: NDArray[np.float32], own: NDArray[np.int32]
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Share of the strongest other label minus that of the own one (rows,), and that other label."""
    at = np.arange(len(own))
    others = shares.copy()
    others[at, own] = -1.0
    other = others.argmax(axis=1)
    return np.asarray(others[at, other] - shares[at, own]), other.astype(np.int32)


def pair_tests(found: Disagreement, labels: NDArray[np.int32], n_labels: int) -> list[PairTest]:
    """One test per ordered pair of labels, most significant first (family-wise p-values)."""
    count = _pair_counts(found, labels, n_labels, found.margin >= FIRM)
    half_way = _pair_counts(found, labels, n_labels, (found.margin > 0) & (found.margin < FIRM))
    expected = _expected(count, half_way)
    given, other = np.nonzero(~np.eye(n_labels, dtype=bool))
    p = family_wise(excess(count, expected)[given, other])
    tests = [
        PairTest(int(g), int(o), int(count[g, o]), float(expected[g, o]), float(q))
        for g, o, q in zip(given, other, p, strict=True)
    ]
    return sorted(tests, key=lambda test: (test.p_value, -test.count))


def inflow_tests(found: Disagreement, labels: NDArray[np.int32], n_labels: int) -> list[InflowTest]:
    """One test per label, most significant first (family-wise p-values).

    Poison that takes its records from every class puts too few into any one pair. What confusion explains is the largest
    of the label's own outflow (its look-alikes under other labels), of what usually comes with its half-way records, and of
    the other labels' inflow, which random label noise raises everywhere alike (upper quartile over labels for both).
    """
    off = ~np.eye(n_labels, dtype=bool)
    count = _pair_counts(found, labels, n_labels, found.margin >= FIRM) * off
    half_way = _pair_counts(found, labels, n_labels, (found.margin > 0) & (found.margin < FIRM)) * off
    inflow, outflow, between = count.sum(axis=1), count.sum(axis=0), half_way.sum(axis=1)
    usual = float(np.quantile(inflow / np.maximum(between, _ENOUGH), 0.75))
    expected = np.maximum(outflow, max(usual, _LEAST_RATIO) * between)
    expected = np.maximum(expected, np.quantile(inflow, 0.75))
    p = family_wise(excess(inflow, expected))
    tests = [
        InflowTest(g, int(inflow[g]), float(expected[g]), float(p[g])) for g in range(n_labels) if inflow[g]
    ]
    return sorted(tests, key=lambda test: (test.p_value, -test.count))


def margin_of_poison(found: Disagreement, labels: NDArray[np.int32], given: int) -> float:
    """The least margin from which records labelled `given` are mostly planted, as the other labels' margins suggest.

    Of the records above it at most `_HONEST` would be there if `given` were confused as often as the other labels are
    (upper quartile over them).
    """
    ours = found.margin[labels == given]
    others = [found.margin[labels == label] for label in np.unique(labels) if label != given]
    for margin in np.arange(0.0, FIRM, 0.05):
        usual = np.quantile([(theirs > margin).mean() for theirs in others], 0.75) if others else 0.0
        if usual * len(ours) <= _HONEST * (ours > margin).sum():
            return float(margin)
    return FIRM


def foreign_p(
    members: NDArray[np.int64],
    of_label: NDArray[np.int64],
    foreign: NDArray[np.bool_],
    independent_of: Callable[[NDArray[np.int64]], int],
) -> float:
    """Chance that as many independent `members` (n,) of one label look foreign, if they do as often as honest records.

    `of_label` are all records of that label, `foreign` (N,) says which records look so. Honest ones do as often as the others
    of the label, or as records in general, whichever is more.
    """
    strange = members[foreign[members]]
    if not len(strange):
        return 1.0
    others = np.setdiff1d(of_label, members, assume_unique=True)
    usual = max(float(foreign.mean()), float(foreign[others].mean()) if len(others) else 0.0)
    n = independent_of(members)
    return float(
        binom.sf(min(independent_of(strange), n) - 1, n, usual)
    )  # a link may be missing among the strange ones


def _pair_counts(
    found: Disagreement, labels: NDArray[np.int32], n_labels: int, which: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """How many of `which` records each (given, other) pair holds, shape (n_labels, n_labels)."""
    cells = labels[which].astype(np.int64) * n_labels + found.other[which]
    return np.bincount(cells, minlength=n_labels**2).reshape(n_labels, n_labels).astype(np.float64)


def _expected(count: NDArray[np.float64], half_way: NDArray[np.float64]) -> NDArray[np.float64]:
    """What confusion alone would put into each [given, other] cell: the largest of the opposite direction, of what the two
    labels exchange with third labels (upper quartile of the row and of the column), and of what usually comes with the
    cell's half-way records (upper decile of that ratio over cells).
    """
    n = len(count)
    confused = half_way >= _ENOUGH
    ratio = float(np.quantile(count[confused] / half_way[confused], 0.9)) if confused.any() else 0.0
    expected = np.maximum(count.T, max(ratio, _LEAST_RATIO) * half_way)
    if n < 3:
        return expected
    off = ~np.eye(n, dtype=bool)
    expected[off] = np.maximum(expected[off], np.maximum(_third_labels(count), _third_labels(count.T).T)[off])
    return expected


def _third_labels(count: NDArray[np.float64]) -> NDArray[np.float64]:
    """For each [row, column] the upper quartile of the row without that column and without the diagonal; (n, n), n >= 3."""
    n = len(count)
    off = ~np.eye(n, dtype=bool)
    rows = count[off].reshape(n, n - 1)
    order = np.argsort(rows, axis=1)
    rank = np.argsort(order, axis=1)
    ordered = np.take_along_axis(rows, order, axis=1)
    place = _QUARTILE * (n - 3)
    low, high = int(place), min(int(place) + 1, n - 3)

    def without_it(k: int) -> NDArray[np.float64]:
        return np.where(k < rank, ordered[:, [k]], ordered[:, [k + 1]])

    result = np.zeros((n, n))
    result[off] = (without_it(low) + (place - low) * (without_it(high) - without_it(low))).ravel()
    return result
