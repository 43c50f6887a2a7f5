"""Statistical contamination analyser, SCAn (Tang, Wang, Tang and Zhang 2021, "Demon in the Variant", arXiv 1908.00686).

A record's features are the identity of its class plus a variation whose covariance all classes share. A class that holds
planted records has two identities: under the shared covariance, a mixture of two groups explains it better than one group.
The paper estimates the covariance on clean records, splits a class by iterated linear discriminants and calls a class
contaminated whose statistic lies more than e^2 median absolute deviations from the median over classes. Here

- the covariance is that of the suspect records themselves around the means of their labels: nothing clean is needed;
- the split is expectation maximisation from many fixed starts, so the order of the records and no chance decide;
- the statistic is per record, less what a class of the same size gains when it has a single group (simulated): large classes
  and tiny ones are compared alike;
- there is no threshold and no p-value. Real features are neither Gaussian nor of one covariance: half of GTSRB's honest classes
  gain more than 40 simulated standard deviations from a second group (tracks of the same sign are groups), and ranks among K
  labels give p = 1/K at best.

It separates groups and cannot say which is planted: the smaller one is taken. Where most of a label is planted, ranks turn
around.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from bezoar.scan.functional.scatter import blocks, label_means, scatter_within
from bezoar.seeds import generator

Matrix = NDArray[np.float64]

_WHITENED = 32  # leading components within classes that are kept: in many, honest subgroups of any few records look far apart
_RIDGE = 1e-3  # of the mean variance: keeps directions without variance from deciding
_RANK = 1e-9  # of the largest variance: directions below it hold rounding errors
_ENOUGH = 10  # records of a class, below which it is not split
_LEAST = 3.0  # records of the smaller group: one outlier is no group
_STARTS = 3  # leading directions of a class; a split starts from either tail along one of them
_TAILS = (0.03, 0.15, 0.5)
_SHORT, _LONG = 10, 60  # iterations from every start, and from the best one
_SETTLED = 1e-5  # change of the smaller group's share that ends the iteration
_SIZES, _DRAWS, _LARGEST = 8, 6, 4000  # of simulated classes; larger ones gain as little per record
_MAD = 1.4826  # median absolute deviation to standard deviation


@dataclass(frozen=True, slots=True)
class Decomposition:
    """Labels that look like two groups, and the records of the smaller one.

    Attributes:
        labels: (K,), the distinct labels, ascending.
        statistic: float64 (K,), gain of a second group, in robust standard deviations from the median label; 0 where a
            label has too few records.
        share: float64 (K,), of the label's records in the smaller group, 0 where there is none.
        scores: float64 (N,), >= 0: probability of the smaller group times the statistic, which a softplus keeps positive.

    """

    labels: NDArray[np.integer]
    statistic: Matrix
    share: Matrix
    scores: Matrix


def scan_decomposition(features: NDArray[np.floating], labels: NDArray[np.integer]) -> Decomposition:
    """Split each label's rows of `features` (N, D) in two under the covariance that all of `labels` (N,) share.

    Holds one copy of at most 32 columns. ValueError for values that are not finite.
    """
    names, number = np.unique(labels, return_inverse=True)
    rows = _whitened(features, number, len(names))
    members = [np.flatnonzero(number == label) for label in range(len(names))]
    gain, share, posterior = np.zeros(len(names)), np.zeros(len(names)), np.zeros(len(number))
    tested = np.array([len(ours) >= _ENOUGH for ours in members]) & (rows.shape[1] > 0)
    for label in np.flatnonzero(tested):
        ours = members[label]
        gain[label], posterior[ours] = _two_groups(rows[ours])
        share[label] = posterior[ours].mean()
    statistic = np.zeros(len(names))
    if tested.any():
        sizes = np.array([len(ours) for ours in members])[tested]
        statistic[tested] = _standardised(gain[tested], sizes, rows.shape[1])
    scores = posterior * np.logaddexp(0, statistic)[number]
    return Decomposition(names, statistic, share, scores)


def _whitened(features: NDArray[np.floating], number: NDArray[np.integer], n_labels: int) -> Matrix:
    """Rows (N, at most 32) around their label's mean, of unit variance within labels in the leading directions."""
    means = label_means(features, number, n_labels)
    values, vectors = np.linalg.eigh(scatter_within(features, number, means))
    values, vectors = values[::-1][:_WHITENED], vectors[:, ::-1][:, :_WHITENED]
    held = values > max(_RANK * values[0], 1e-30)
    values, vectors = values[held], vectors[:, held]
    projection = vectors / np.sqrt(values + _RIDGE * values.mean()) if held.any() else vectors
    rows = np.empty((len(features), projection.shape[1]))
    for block in blocks(len(features)):
        rows[block] = (features[block] - means[number[block]]) @ projection
    return rows


def _two_groups(rows: Matrix) -> tuple[float, Matrix]:
    """Twice the log-likelihood that a second group gains, and each row's probability of the smaller group (n,).

    `rows` (n, D) have unit covariance within a group. 0 and zeros where no second group of three rows gains anything.
    """
    rows = rows - rows.mean(axis=0)
    leading = rows @ np.linalg.eigh(rows.T @ rows)[1][:, ::-1][:, :_STARTS]
    tails = [leading >= np.quantile(leading, 1 - tail, axis=0) for tail in _TAILS]
    tails += [leading <= np.quantile(leading, tail, axis=0) for tail in _TAILS if tail < 0.5]
    posterior = np.hstack(tails).astype(np.float64)
    for _ in range(_SHORT):
        gain, posterior = _step(rows, posterior)
    posterior = posterior[:, [gain.argmax()]]
    share = posterior.mean()
    for _ in range(_LONG):
        gain, posterior = _step(rows, posterior)
        if abs(posterior.mean() - share) < _SETTLED:
            break
        share = posterior.mean()
    if not gain[0] > 0:
        return 0.0, np.zeros(len(rows))
    found = posterior[:, 0]
    return float(gain[0]), found if found.mean() <= 0.5 else 1 - found


def _step(rows: Matrix, posterior: Matrix) -> tuple[Matrix, Matrix]:
    """One iteration for S splits at once: their gains (S,) and the next probabilities (n, S) from the last ones.

    -inf for a split with a group of fewer than three rows.
    """
    n = len(rows)
    mass = np.clip(posterior.sum(axis=0), 1e-9, n - 1e-9)
    second = posterior.T @ rows / mass[:, None]
    first = -second * (mass / (n - mass))[:, None]  # rows sum to zero
    offset = [np.einsum("sd,sd->s", mean, mean) / 2 for mean in (first, second)]
    odds = rows @ (second - first).T + (offset[0] - offset[1] + np.log(mass / (n - mass)))
    one = rows @ first.T + (np.log1p(-mass / n) - offset[0])
    gain = 2 * (one + np.logaddexp(0, odds)).sum(axis=0)
    return np.where(np.minimum(mass, n - mass) < _LEAST, -np.inf, gain), expit(odds)


def _standardised(gain: Matrix, sizes: NDArray[np.integer], width: int) -> Matrix:
    """Gains per record less those of a single group of the same size, from the median label in robust deviations (K,)."""
    expected, deviation = _single_group(sizes, width)
    excess = (gain - expected) / sizes
    excess -= np.median(excess)
    return np.asarray(excess / np.hypot(_MAD * np.median(np.abs(excess)), deviation / sizes))


def _single_group(sizes: NDArray[np.integer], width: int) -> tuple[Matrix, Matrix]:
    """Mean and standard deviation of the gain where rows of each of the sizes (K,) have one group in `width` dimensions."""
    rng = generator(0, "scan decomposition")  # always the same: it depends on nothing but the sizes
    least, most = min(sizes.min(), _LARGEST), min(sizes.max(), _LARGEST)
    grid = np.unique(np.geomspace(least, most, _SIZES).round().astype(np.int64))
    drawn = np.array([[_two_groups(rng.normal(size=(n, width)))[0] for _ in range(_DRAWS)] for n in grid])
    return (
        np.interp(sizes, grid, drawn.mean(axis=1)),
        np.interp(sizes, grid, np.maximum(drawn.std(axis=1, ddof=1), 1.0)),
    )
