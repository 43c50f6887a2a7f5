"""Mixtures: does a minority of a label's records share one additive signal that all the others lack?

Natural variation is a matter of degree: along any direction, records thin out from the middle outwards. A planted signal has
one strength: its carriers are a second mode, further out than the others' tail explains. Modes are sought on one half of the
records by projection pursuit (Friedman and Tukey 1974, with the fixed-point iterations of Hyvarinen's FastICA, 1999) and along
sinusoids, and tested on the other half, so that the search cannot make the mode that the test then finds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh
from scipy.stats import poisson

_DIRECTIONS = 32  # of most variance in a label, within which modes are sought
_SEEDS = 200  # records from which the search starts
_STEPS = 12  # of the pursuit
_PHASES = 8  # of a sinusoid that are tried, and their opposites
_WAVES = 4  # sinusoids tested
_ROUNDS = 5  # of fitting a template to its carriers
_SAME = 0.95  # cosine from which two directions are one
_MOST = 0.6  # share of the records that a mode may hold
_CARRIES = 0.5  # share of the way to the mode from which a record carries its signal
_GAP = (0.35, 0.65)  # shares of the way between which there must be few records
_ONE = 0.8  # overlap (Jaccard) from which two groups are one
_FEWEST = 4  # records on the searched half that make a mode
_LEAST_EXPECTED = 1e-3
_TURNED = 2.0  # times as many as at the most frequent other phase may be chance
_TAIL = (0.8, 0.95)  # quantiles from which the tail of the other records is extrapolated

Rows = NDArray[np.float32]  # (n, D), whitened
Mask = NDArray[np.bool_]
Masks = NDArray[np.bool_]  # (n, g), a group per column
Count = Callable[[NDArray[np.int64]], int]


@dataclass(frozen=True, slots=True)
class Wave:
    """A sinusoid: which pair of `sinusoids`, and its phase in radians."""

    pair: int
    phase: float

    def along(self, phases: NDArray[np.float64]) -> NDArray[np.float64]:
        """Projections (n,) of rows whose products with all pairs are `phases` (n, m, 2)."""
        return np.asarray(phases[:, self.pair] @ self._turn())

    def of(self, rows: Rows, sinusoids: NDArray[np.float32]) -> NDArray[np.float32]:
        """Projections (n,) of `rows` (n, D) themselves."""
        return np.asarray(_plane(rows, sinusoids) @ (self._turn().astype(np.float32) @ sinusoids[self.pair]))

    def _turn(self) -> NDArray[np.float64]:
        return np.array([np.cos(self.phase), np.sin(self.phase)])


@dataclass(frozen=True, slots=True)
class Mode:
    """A second mode along a template.

    Attributes:
        members: int64, the records of the searched half that it was fitted to.
        carriers: int64, the records of the tested half beyond the cut.
        wave: the sinusoid that was tested; None where the members' own mean was.
        independent: how many independent observations those are.
        expected: how many the tail of the others, or other phases of the sinusoid, explain.
        log_p: natural logarithm of the Poisson probability of as many, before any correction.

    """

    members: NDArray[np.int64]
    carriers: NDArray[np.int64]
    wave: Wave | None
    independent: int
    expected: float
    log_p: float


def products(rows: Rows) -> NDArray[np.float64]:
    """Products (n, n) of bounded `rows` (n, D) with each other, which both searches start from."""
    return np.asarray(rows @ rows.T, dtype=np.float64)


def modes(
    rows: Rows,
    gram: NDArray[np.float64],
    sinusoids: NDArray[np.float32],
    count: Count,
    rng: np.random.Generator,
    hint: Mask | None = None,
) -> tuple[list[Mode], int]:
    """Second modes among bounded `rows` (n, D) of one label, most significant first, and how many were tested.

    `gram` are their `products`. `sinusoids` (m, 2, d) are pairs of whitened directions, a sine and a cosine each, of the first d
    columns. `count` says how many independent
    observations a set of rows is. Each half of the records is searched, the other one tested. `hint` (n,) is a group that the
    search starts from, too: whatever it is, the test does not know it.
    """
    if len(rows) < 8 * _FEWEST:
        return [], 0
    order = rng.permutation(len(rows))
    halves = order[: len(rows) // 2], order[len(rows) // 2 :]
    flat = sinusoids.reshape(-1, sinusoids.shape[2])
    phases = (_plane(rows, sinusoids) @ flat.T).astype(np.float64).reshape(len(rows), -1, 2)
    found: list[Mode] = []
    for searched, tested in (halves, halves[::-1]):
        inner = gram[np.ix_(searched, searched)]
        together = _groups(inner, rng, None if hint is None else hint[searched])
        _, reaches = _span(_scores(inner @ together, inner.diagonal(), together), together)
        scores = gram[np.ix_(tested, searched)] @ together / together.sum(axis=0)
        for group, reach, score in zip(together.T, reaches.tolist(), scores.T, strict=True):
            found.append(_tested(score, reach, searched[group], tested, count))
        for wave, group in _waves(phases[searched]):
            score = wave.along(phases)
            members = searched[group]
            reach = float(np.median(score[members]) - np.median(score[searched[~group]]))
            found.append(_tested_wave(phases[tested], reach, members, tested, wave, count))
    tests = len(found)
    return sorted((mode for mode in found if mode.log_p < 0), key=lambda mode: mode.log_p), tests


def groups(gram: NDArray[np.float64], rng: np.random.Generator) -> list[Mask]:
    """Distinct groups (n,) of rows of these `products` that stand apart along some direction; untested."""
    if len(gram) < 4 * _FEWEST:
        return []
    return list(_groups(gram, rng).T)


def bounded(rows: Rows) -> Rows:
    """Rows less their mean, none longer than the median: a few busy images would make every direction theirs."""
    rows = rows - rows.mean(axis=0)
    length = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    usual = max(float(np.median(length)), 1e-6)
    return np.asarray(rows / np.maximum(1.0, length / usual)[:, None], dtype=np.float32)


def shares(rows: Rows, carriers: Mask) -> NDArray[np.float64]:
    """How far along the way from the others (0) to the carriers (1) each of `rows` is, (n,), itself left out of the template."""
    total = rows[carriers].sum(axis=0)
    dots = (rows @ total).astype(np.float64)
    own = np.einsum("ij,ij->i", rows, rows).astype(np.float64)
    return _shares(dots[:, None], own, carriers[:, None])[:, 0]


def along_wave(rows: Rows, sinusoids: NDArray[np.float32], wave: Wave, carriers: Mask) -> Mask:
    """Which of `rows` are more than half of the way along a sinusoid from the others to `carriers`."""
    score = wave.of(rows, sinusoids)
    return np.asarray(score > (np.median(score[carriers]) + np.median(score[~carriers])) / 2)


def settled(rows: Rows, carriers: Mask) -> Mask:
    """Carriers among `rows` after the template was fitted to them again, a few times over."""
    for _ in range(_ROUNDS):
        again = shares(rows, carriers) > _CARRIES
        if not 2 <= again.sum() < len(rows) or (again == carriers).all():
            break
        carriers = again
    return carriers


def _plane(rows: Rows, sinusoids: NDArray[np.float32]) -> Rows:
    """The columns (n, d) of `rows` that the sinusoids are of."""
    return rows[:, : sinusoids.shape[2]]


def _shares(dots: NDArray[np.float64], own: NDArray[np.float64], together: Masks) -> NDArray[np.float64]:
    """How far along the way from the others (0) to each group's middle (1) each record is, (n, g).

    `dots` (n, g) are the records' products with the sum of each group, `own` (n,) those with themselves.
    """
    score = _scores(dots, own, together)
    middle, reach = _span(score, together)
    return np.asarray((score - middle) / np.where(reach > 0, reach, np.inf))


def _scores(dots: NDArray[np.float64], own: NDArray[np.float64], together: Masks) -> NDArray[np.float64]:
    """Mean product of each record with the others of each group, (n, g)."""
    size = together.sum(axis=0)
    return np.asarray(np.where(together, (dots - own[:, None]) / np.maximum(size - 1, 1), dots / size))


def _span(score: NDArray[np.float64], together: Masks) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where the others' middle lies along each direction, and how far beyond it that of the group; (g,) each."""
    middle = _medians(score, ~together)
    return middle, np.asarray(_medians(score, together) - middle)


def _medians(score: NDArray[np.float64], chosen: Masks) -> NDArray[np.float64]:
    """Of the `chosen` in each column of `score` (n, g); there is at least one."""
    ordered = np.sort(np.where(chosen, score, np.inf), axis=0)
    size, column = chosen.sum(axis=0), np.arange(score.shape[1])
    return np.asarray((ordered[(size - 1) // 2, column] + ordered[size // 2, column]) / 2)


def _tested_wave(
    phases: NDArray[np.float64],
    reach: float,
    members: NDArray[np.int64],
    tested: NDArray[np.int64],
    wave: Wave,
    count: Count,
) -> Mode:
    """The second mode of the tested half, whose products with all pairs are `phases` (n, m, 2), along a sinusoid.

    Whatever honest images show of one frequency they show at any phase, or at several: the same wave a quarter, a half and three
    quarters of a turn on is what the mode is held against.
    """
    turned = [Wave(wave.pair, wave.phase + quarter * np.pi / 2).along(phases) for quarter in range(4)]
    beyond = [score - np.median(score) > _GAP[1] * reach for score in turned]
    if reach <= 0 or not _FEWEST <= beyond[0].sum() <= _MOST * len(tested):
        return Mode(members, tested[:0], wave, 0, 0.0, 0.0)
    independent, *others = (count(tested[far]) if far.any() else 0 for far in beyond)
    expected = _TURNED * max(others) + 1.0
    if independent <= expected:
        return Mode(members, tested[:0], wave, 0, 0.0, 0.0)
    log_p = float(poisson.logsf(independent - 1, expected))
    return Mode(members, tested[beyond[0]], wave, independent, expected, log_p)


def _tested(
    score: NDArray[np.float64],
    reach: float,
    members: NDArray[np.int64],
    tested: NDArray[np.int64],
    count: Count,
) -> Mode:
    """The second mode of the tested half along a direction, by its scores there; nothing where there is none."""
    share = (score - np.median(score)) / (reach if reach > 0 else np.inf)
    beyond = share > _GAP[1]
    nothing = Mode(members, tested[:0], None, 0, 0.0, 0.0)
    if not _FEWEST <= beyond.sum() <= _MOST * len(tested):
        return nothing
    independent = count(tested[beyond])
    gap = count(tested[(share > _GAP[0]) & (share <= _GAP[1])])
    expected = _expected(share, gap)
    if independent <= expected:
        return nothing
    log_p = float(poisson.logsf(independent - 1, expected))
    return Mode(members, tested[beyond], None, independent, expected, log_p)


def _expected(share: NDArray[np.float64], gap: int) -> float:
    """How many records would lie beyond the gap if there were no second mode.

    The larger of two bounds: records that only thin out fill the mode's span at most as densely as the gap before it; and a tail
    falls off at least exponentially from where it is thickest, on either side of the middle.
    """
    flat = gap * 2 * (1 - _GAP[1]) / (_GAP[1] - _GAP[0])
    ordered = np.sort(share)
    below = ordered[: np.searchsorted(ordered, _GAP[1], side="right")]
    return float(max(flat, _beyond(below, len(share)), _beyond(-ordered[::-1], len(share)), _LEAST_EXPECTED))


def _beyond(score: NDArray[np.float64], n: int) -> float:
    """Records beyond the gap by exponential extrapolation of the tail of the ascending `score`, for `n` records."""
    worst = 0.0
    for q in _TAIL:
        start = float(np.interp(q * (len(score) - 1), np.arange(len(score)), score))
        tail = score[np.searchsorted(score, start, side="right") :]
        if len(tail) and start < _GAP[1]:
            fall = np.exp(-(_GAP[1] - start) / max(float((tail - start).mean()), 1e-9))
            worst = max(worst, (1 - q) * n * float(fall))
    return worst


def _groups(gram: NDArray[np.float64], rng: np.random.Generator, hint: Mask | None = None) -> Masks:
    """Distinct groups of the searched records (n, g) that stand apart along some direction, fitted to themselves."""
    n = len(gram)
    kept = min(_DIRECTIONS, n // 4)
    _, vectors = eigh(gram, subset_by_index=[n - kept, n - 1])
    sphered = np.asarray(vectors * np.sqrt(n))
    scores = sphered @ _pursued(sphered, rng)
    far = np.maximum(2.5 * scores.std(axis=0), np.partition(scores, n - _FEWEST, axis=0)[n - _FEWEST])
    cuts = np.stack([_two_means(scores), far], axis=1)  # a score's two starts after each other
    starts = (scores[:, :, None] >= cuts).reshape(n, -1)
    together = starts if hint is None else np.column_stack([hint, starts])
    moving = np.arange(together.shape[1])
    for _ in range(_ROUNDS):
        moving = moving[_fitting(together[:, moving])]
        again = _shares(gram @ together[:, moving], gram.diagonal(), together[:, moving]) > _CARRIES
        changed = (again != together[:, moving]).any(axis=0)
        together[:, moving] = again
        moving = moving[changed]
    return distinct(together[:, _fitting(together)])


def _fitting(together: Masks) -> Mask:
    """Which of the groups (g,) are neither too small nor too large for a mode."""
    size = together.sum(axis=0)
    return np.asarray((size >= _FEWEST) & (size <= _MOST * len(together)))


def distinct(together: Masks) -> Masks:
    """The groups that are not much the same as an earlier one."""
    weights = together.astype(np.float32)
    shared, size = weights.T @ weights, weights.sum(axis=0)
    return together[:, _first_of_each(shared >= _ONE * (size[:, None] + size - shared))]


def _first_of_each(alike: NDArray[np.bool_]) -> list[int]:
    """Which of g things, `alike` (g, g) pair by pair, are not like an earlier one of these."""
    left = np.ones(len(alike), dtype=bool)
    kept: list[int] = []
    while left.any():
        kept.append(int(left.argmax()))
        left &= ~alike[kept[-1]]
        left[kept[-1]] = False
    return kept


def _waves(phases: NDArray[np.float64]) -> list[tuple[Wave, Mask]]:
    """The sinusoids along which the searched records fall apart into two groups most clearly; `phases` (n, m, 2)."""
    n = len(phases)
    angles = np.arange(_PHASES) * (np.pi / _PHASES)
    sines, cosines = np.ascontiguousarray(phases.transpose(2, 1, 0))
    apart = np.array([_separation(sines * np.cos(angle) + cosines * np.sin(angle)) for angle in angles])
    best = apart.argmax(axis=0)
    found = []
    for pair in np.argsort(-apart.max(axis=0), kind="stable")[:_WAVES].tolist():
        for turn in (0.0, np.pi):
            wave = Wave(pair, float(angles[best[pair]] + turn))
            score = wave.along(phases)
            group = score >= _two_means(score[:, None])
            if _FEWEST <= group.sum() <= _MOST * n:
                found.append((wave, group))
    return found


def _separation(score: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance of the two groups of least variance within, per row of `score` (m, n), in standard deviations within."""
    v = np.sort(score, axis=1)
    n = v.shape[1]
    below = np.arange(1, n)
    total = np.cumsum(v, axis=1)[:, :-1]
    distance = ((v.sum(axis=1)[:, None] - total) / (n - below) - total / below)[:, _FEWEST - 1 : n - _FEWEST]
    between = (below * (n - below) / n**2)[_FEWEST - 1 : n - _FEWEST] * distance**2
    cut = between.argmax(axis=1)
    row = np.arange(len(v))
    within = np.maximum(v.var(axis=1) - between[row, cut], 1e-12)
    return np.asarray(distance[row, cut] / np.sqrt(within))


def _pursued(sphered: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Directions (q, m) along which `sphered` (n, q) is most skewed or most unlike a normal distribution."""
    n = len(sphered)
    start = sphered[rng.choice(n, min(_SEEDS, n), replace=False)].T
    ends = []
    for skewed in (True, False):
        w = start / np.maximum(np.linalg.norm(start, axis=0), 1e-9)  # a record may be the mean itself
        for _ in range(_STEPS):
            score = sphered @ w
            if skewed:
                w = sphered.T @ (score * score)
            else:
                bent = np.tanh(score)
                w = sphered.T @ bent - (1 - bent * bent).sum(axis=0) * w
            w /= np.maximum(np.linalg.norm(w, axis=0), 1e-9)
        ends += [w, -w]
    every = np.concatenate(ends, axis=1)
    return np.asarray(every[:, _first_of_each(every.T @ every >= _SAME)])


def _two_means(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """The cut of each column of `scores` (n, m) into two groups of least variance within (Otsu 1979), (m,)."""
    v = np.sort(scores, axis=0)
    n = len(v)
    below = np.arange(1, n)[:, None]
    total = np.cumsum(v, axis=0)[:-1]
    apart = total / below - (v.sum(axis=0) - total) / (n - below)
    cut = (below * (n - below) * apart**2).argmax(axis=0)
    return np.asarray(v[1 + cut, np.arange(v.shape[1])])
