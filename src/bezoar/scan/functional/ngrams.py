"""Token n-grams that decide a label against the rest of their text: what a planted word or sentence does.

Honest data is full of words that go with one label ("terrible", "free"), so concentration says nothing. Given the label,
though, the rest of a text hardly depends on one of its words: reviews called negative with "terrible" in them are otherwise
as negative as other negative reviews. Texts that were relabelled when a trigger was inserted are not: without the trigger
they read like another label. Two counts must both be too large for an n-gram to stand out:

- among its carriers labelled y, those that read otherwise without it, against the share of all records labelled y that do
  (this clears honest label words), and
- among its carriers that read otherwise, those labelled y, against the calibrated chance of that label at their margins
  (this clears topics that two labels share: "oil" in world news reads like business, and mostly is).

How a text reads comes from naive Bayes weights that are fitted without the text's own fold (multinomial, as in
McCallum and Nigam 1998): they add up over tokens, so taking an n-gram out is a subtraction.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bezoar.scan.functional.naive_bayes import Reading, Tokens, margins

LONGEST = 4  # tokens in an n-gram that is looked for; what is found is extended
MIN_CARRIERS = 4
_PURE = 0.75  # share of an n-gram's carriers that its label must hold
_AGREE = 0.9  # share of the carriers that must continue alike for the n-gram to be extended
_MAX_SPAN = 64
_MOSTLY = 0.5  # share of an n-gram's labelled carriers that must read otherwise
_DEEP = (0.1, 0.05, 0.02)  # shares of a label's records that lie below the further cuts
_TOPIC_ODDS = 2.0
_TEMPLATE_ODDS = 4.0  # of passages: honest ones are one source's template, and a source has topics of its own
_BINS = 12
_THINNED = 400  # carriers among which near-duplicates are looked for
_ALIKE = 0.6  # Jaccard similarity of what is left, from which two carriers are one observation


@dataclass(frozen=True, slots=True)
class NgramTest:
    """One n-gram and the label that it may decide.

    Attributes:
        tokens: ids of the n-gram, as far as its carriers agree on it.
        label: the label of most carriers.
        carriers: int64 rows that hold it, whatever their label.
        begins: int64, where in its text each carrier holds it.
        labelled: carriers of that label.
        against: those of them that read otherwise without the n-gram.
        expected: the larger of what the two comparisons lead to expect of `against`.
        p_value: family-wise over all n-grams.

    """

    tokens: tuple[int, ...]
    label: int
    carriers: NDArray[np.int64]
    begins: NDArray[np.int64]
    labelled: int
    against: int
    expected: float
    p_value: float


@dataclass(frozen=True, slots=True)
class Baseline:
    """What is usual in this dataset.

    Attributes:
        cuts: float64 (K, cuts), margins below which a record counts as reading otherwise than its label: 0, and where few
            of the label's records lie.
        usual: float64 (K, cuts), share of the label's records below each cut.
        edges: float64 (K, bins - 1), margins against each label that part its readers into equal bins.
        chance: float64 (K, bins), share of the records at those (negative) margins that carry the label.

    """

    cuts: NDArray[np.float64]
    usual: NDArray[np.float64]
    edges: NDArray[np.float64]
    chance: NDArray[np.float64]


def baseline(reading: Reading, labels: NDArray[np.int32]) -> Baseline:
    """The usual shares of records that read otherwise, and of labels at every margin."""
    n_labels = reading.scores.shape[1]
    cuts = np.zeros((n_labels, 1 + len(_DEEP)))
    usual = np.ones_like(cuts)
    edges = np.zeros((n_labels, _BINS - 1))
    chance = np.ones((n_labels, _BINS))
    for label in range(n_labels):
        margin = margins(reading.scores, np.full(len(labels), label, dtype=np.int32))
        mine, against = labels == label, margin < 0
        if mine.any():
            cuts[label, 1:] = np.minimum(0.0, np.quantile(margin[mine], _DEEP))
        usual[label] = ((margin[mine, None] < cuts[label]).sum(axis=0) + 1) / (mine.sum() + 2)
        if against.any():
            edges[label] = np.quantile(margin[against], np.arange(1, _BINS) / _BINS)
            bins = np.searchsorted(edges[label], margin[against])
            hits = np.bincount(bins, weights=mine[against], minlength=_BINS)
            chance[label] = (hits + 1) / (np.bincount(bins, minlength=_BINS) + 2)
    return Baseline(cuts, usual, edges, chance)


def surprise(
    base: Baseline,
    label: int,
    margin: NDArray[np.float64],
    labelled: NDArray[np.bool_],
    length: int,
) -> tuple[float, float, int]:
    """p-value of some carriers, expected and observed number of records that are labelled so and read otherwise.

    `margin` (n,) are the carriers' margins for `label` without the n-gram of `length` tokens, `labelled` (n,) which carry it. The
    p-value is the larger of two binomial tails (see above), at the best of the cuts (Bonferroni); with unequal chances the
    binomial bounds the tail (Hoeffding 1956). The odds may be `_TOPIC_ODDS` times the usual, as of a topic within a label, or
    `_TEMPLATE_ODDS` times for a passage.
    1 where most of the labelled carriers read as labelled.
    """
    from scipy.special import bdtrc

    n_label, against = int(labelled.sum()), int((labelled & (margin < 0)).sum())
    if against <= _MOSTLY * n_label:
        return 1.0, float(n_label * base.usual[label, 0]), against
    odds = _TOPIC_ODDS if length == 1 else _TEMPLATE_ODDS
    chances = base.chance[label, np.searchsorted(base.edges[label], margin)]
    best = 1.0
    for cut, usual in zip(base.cuts[label], base.usual[label], strict=True):
        below = margin < cut
        count, n_below = int((below & labelled).sum()), int(below.sum())
        if count:
            within_label = bdtrc(count - 1, n_label, _more_likely(float(usual), odds))
            within_reading = bdtrc(count - 1, n_below, _more_likely(float(chances[below].mean()), odds))
            best = min(best, float(max(within_label, within_reading)))
    return min(1.0, best * len(base.cuts[label])), float(n_label * base.usual[label, 0]), against


def _more_likely(chance: float, odds: float) -> float:
    return odds * chance / (1 + (odds - 1) * chance)


def canary_p(reading: Reading, labels: NDArray[np.int32], label: int, hosts: NDArray[np.int64]) -> float:
    """p-value (one test) of a rare n-gram inserted into the texts `hosts`, which are relabelled to `label`."""
    changed = labels.copy()
    changed[hosts] = label
    margin = margins(reading.scores[hosts], changed[hosts])
    p, _, _ = surprise(baseline(reading, changed), label, margin, np.ones(len(hosts), dtype=bool), 1)
    return p


@dataclass(frozen=True, slots=True)
class _Group:
    """Where one n-gram occurs first in each of its carriers."""

    rows: NDArray[np.int64]
    positions: NDArray[np.int64]
    length: int


@dataclass(frozen=True, slots=True)
class _Candidate:
    """An n-gram that goes with a label: its margins for that label without it, float64 (n,)."""

    group: _Group
    span: tuple[int, ...]
    label: int
    margin: NDArray[np.float64]
    p_value: float


def ngram_tests(
    tokens: Tokens,
    labels: NDArray[np.int32],
    reading: Reading,
    base: Baseline,
    level: float,
    source: NDArray[np.int64] | None = None,
) -> tuple[list[NgramTest], int]:
    """The n-grams with a family-wise p-value of at most `level`, most significant first, and the number of tests.

    Equal texts under one label count once, carriers whose remaining text is nearly the same count once, and so do
    carriers of one `source` (N,). An n-gram whose carriers a more significant one explains is left out.
    """
    first = _first_of_equals(tokens, labels)
    candidates, tests = _candidates(tokens, labels, reading, base, level, first == np.arange(len(first)))
    explained = np.zeros(len(labels), dtype=bool)
    found: list[NgramTest] = []
    for candidate in candidates:
        if (test := _confirmed(candidate, tokens, labels, base, level / tests, source, explained)) is None:
            continue
        group, (p, expected, against) = candidate.group, test
        copies = np.isin(first, group.rows)
        rows = np.flatnonzero(copies)
        begins = (group.positions - tokens.starts[group.rows])[np.searchsorted(group.rows, first[rows])]
        labelled = labels[rows] == candidate.label
        explained[rows[labelled]] = True
        found.append(
            NgramTest(
                candidate.span,
                candidate.label,
                rows,
                begins,
                int(labelled.sum()),
                against,
                expected,
                min(1.0, p * tests),
            )
        )
    return sorted(found, key=lambda test: (test.p_value, -len(test.tokens), test.tokens)), tests


def _candidates(
    tokens: Tokens,
    labels: NDArray[np.int32],
    reading: Reading,
    base: Baseline,
    level: float,
    once: NDArray[np.bool_],
) -> tuple[list[_Candidate], int]:
    """What is significant before near-duplicates are counted once, most significant first; the number of tests."""
    tested, found = 0, []
    seen: set[tuple[int, ...]] = set()
    for group in _groups(tokens, once):
        tested += 1
        counts = np.bincount(labels[group.rows])
        label = int(counts.argmax())
        if counts[label] < max(MIN_CARRIERS, _PURE * len(group.rows)):
            continue
        wide = _extended(tokens, group)
        start = int(wide.positions[0])
        span = tuple(tokens.ids[start : start + wide.length].tolist())
        if (key := (*span, -len(wide.rows))) in seen:
            continue
        seen.add(key)
        margin = _without(tokens, reading, wide, label)
        p, _, _ = surprise(base, label, margin, labels[wide.rows] == label, wide.length)
        if p <= level:
            found.append(_Candidate(wide, span, label, margin, p))
    tests = max(1, tested * reading.scores.shape[1])
    found = [candidate for candidate in found if candidate.p_value * tests <= level]
    return sorted(
        found, key=lambda candidate: (candidate.p_value, -len(candidate.span), candidate.span)
    ), tests


def _confirmed(
    candidate: _Candidate,
    tokens: Tokens,
    labels: NDArray[np.int32],
    base: Baseline,
    level: float,
    source: NDArray[np.int64] | None,
    explained: NDArray[np.bool_],
) -> tuple[float, float, int] | None:
    """What `surprise` says of the independent carriers, if it is significant, also without those explained already."""
    group = candidate.group
    alone = _independent(tokens, group, source)
    mine = labels[group.rows] == candidate.label
    fresh = alone[~explained[group.rows[alone]]]
    for rows in (fresh, alone):
        result = surprise(base, candidate.label, candidate.margin[rows], mine[rows], len(candidate.span))
        if result[0] > level:
            return None
    return result


def _first_of_equals(tokens: Tokens, labels: NDArray[np.int32]) -> NDArray[np.int64]:
    """For each text the first one with the same tokens and label, int64 (N,)."""
    seen: dict[tuple[bytes, int], int] = {}
    return np.array(
        [
            seen.setdefault((tokens.of(row).tobytes(), label), row)
            for row, label in enumerate(labels.tolist())
        ],
        dtype=np.int64,
    )


def _groups(tokens: Tokens, once: NDArray[np.bool_]) -> Iterator[_Group]:
    """Every n-gram of 1 to `LONGEST` tokens in at least `MIN_CARRIERS` of the texts that count, once per set of carriers."""
    of_text = np.repeat(np.arange(len(once)), tokens.lengths)
    room = tokens.starts[1:][of_text] - np.arange(len(of_text))  # tokens from here to the text's end
    code = tokens.ids.astype(np.int64)
    usable = once[of_text]
    for length in range(1, LONGEST + 1):
        if length > 1:
            following = np.append(tokens.ids[length - 1 :], np.zeros(length - 1, dtype=np.int32))
            usable = usable & (room >= length)
            code = code * max(1, len(tokens.words)) + following
        at = np.flatnonzero(usable)
        _, code_here = np.unique(code[at], return_inverse=True)
        code[at] = code_here  # dense again, so that no code overflows
        order = np.lexsort((at, code_here))
        at, grams = at[order], code_here[order]
        first = np.ones(len(at), dtype=bool)
        first[1:] = (grams[1:] != grams[:-1]) | (of_text[at[1:]] != of_text[at[:-1]])
        at_first, grams = at[first], grams[first]
        carriers = np.bincount(grams) if len(grams) else np.zeros(0, dtype=np.int64)
        frequent = carriers[grams] >= MIN_CARRIERS
        enough = np.zeros(len(code), dtype=bool)
        often = carriers >= MIN_CARRIERS
        enough[at] = often[code[at]]
        usable = usable & enough  # a longer n-gram is no more frequent than its beginning
        at_first, grams = at_first[frequent], grams[frequent]
        ends = np.flatnonzero(np.append(grams[1:] != grams[:-1], len(grams) > 0)) + 1
        for start, end in zip(np.append(0, ends[:-1]).tolist(), ends.tolist(), strict=False):
            positions = at_first[start:end]
            yield _Group(of_text[positions], positions, length)


def _extended(tokens: Tokens, group: _Group) -> _Group:
    """The same carriers with the longest n-gram around it on which nearly all agree; the few that do not are left out."""
    rows, positions, length = group.rows, group.positions, group.length
    for step in (-1, 1):
        while length < _MAX_SPAN:
            place = positions - 1 if step < 0 else positions + length
            inside = (place >= tokens.starts[rows]) & (place < tokens.starts[rows + 1])
            if inside.sum() < _AGREE * len(rows):
                break
            following = tokens.ids[place[inside]]
            values, counts = np.unique(following, return_counts=True)
            if counts.max() < _AGREE * len(rows):
                break
            same = inside.copy()
            same[inside] = following == values[counts.argmax()]
            rows, positions = rows[same], positions[same]
            positions = positions - 1 if step < 0 else positions
            length += 1
    return _Group(rows, positions, length)


def _without(tokens: Tokens, reading: Reading, group: _Group, label: int) -> NDArray[np.float64]:
    """Margins of the carriers for `label` when the n-gram is taken out, (n,)."""
    places = group.positions[:, None] + np.arange(group.length)
    columns = reading.column[tokens.ids[places]]
    removed = reading.weights[reading.fold[group.rows][:, None], columns].sum(axis=1, dtype=np.float64)
    left = reading.scores[group.rows] - removed
    return margins(left, np.full(len(left), label, dtype=np.int32))


def _independent(tokens: Tokens, group: _Group, source: NDArray[np.int64] | None) -> NDArray[np.int64]:
    """Which carriers (places in the group) are observations of their own: one per source, one of near-duplicates."""
    rests = []
    for row, at in zip(group.rows.tolist(), group.positions.tolist(), strict=True):
        start, end = int(tokens.starts[row]), int(tokens.starts[row + 1])
        rests.append([*tokens.ids[start:at].tolist(), *tokens.ids[at + group.length : end].tolist()])
    kept: list[int] = []
    sets: list[set[int]] = []
    sources: set[int] = set()
    for i in sorted(range(len(rests)), key=rests.__getitem__)[:_THINNED]:
        origin = -1 - i if source is None else int(source[group.rows[i]])
        rest = set(rests[i])
        if origin in sources or any(len(rest & other) >= _ALIKE * len(rest | other) for other in sets):
            continue
        kept.append(i)
        sets.append(rest)
        sources.add(origin)
    return np.array(sorted(kept), dtype=np.int64)
