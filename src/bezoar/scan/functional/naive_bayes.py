"""How texts read: their tokens, and the label that naive Bayes gives them without their own fold.

Weights are multinomial (McCallum and Nigam 1998, A comparison of event models for naive Bayes text classification): they add up
over tokens, so taking an n-gram out of a text is a subtraction.
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_FOLDS = 5
_VOCABULARY = 50_000  # tokens that have weights; the rarest beyond it have none
_MAX_CHARACTERS = 10_000  # at either end of a text
_ALL_TOKENS = 20_000_000
_FEWEST, _MOST = 64, 4096  # tokens kept of one text, half from either end
_IDEOGRAPHS = "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_TOKEN = re.compile(rf"[{_IDEOGRAPHS}]|[^\W{_IDEOGRAPHS}]+|[^\w\s]")


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens of N texts.

    Attributes:
        ids: int32 (T,), one text after another.
        starts: int64 (N + 1,), where each text begins.
        words: the token of each id.

    """

    ids: NDArray[np.int32]
    starts: NDArray[np.int64]
    words: tuple[str, ...]

    def of(self, row: int) -> NDArray[np.int32]:
        """Token ids of one text."""
        return self.ids[self.starts[row] : self.starts[row + 1]]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each text, int64 (N,)."""
        return np.diff(self.starts)


@dataclass(frozen=True, slots=True)
class Reading:
    """How each text reads to naive Bayes weights that never saw it.

    Attributes:
        scores: float64 (N, K), log joint of text and label.
        fold: int64 (N,).
        weights: float32 (folds, V + 1, K), what one token adds; the last row (no weight) is 0.
        column: int64 (words,), row of each token in `weights`.

    """

    scores: NDArray[np.float64]
    fold: NDArray[np.int64]
    weights: NDArray[np.float32]
    column: NDArray[np.int64]


def tokenize(texts: list[str]) -> Tokens:
    """Words, ideographs and signs of each text, in lower case and Unicode's compatibility form (NFKC).

    Of a very long text only both ends count; invisible characters are tokens of their own.
    """
    keep = int(np.clip(_ALL_TOKENS // max(1, len(texts)), _FEWEST, _MOST)) // 2
    known: dict[str, int] = {}
    ids: list[NDArray[np.int32]] = []
    for text in texts:
        if len(text) > 2 * _MAX_CHARACTERS:
            text = f"{text[:_MAX_CHARACTERS]} {text[-_MAX_CHARACTERS:]}"
        found = _TOKEN.findall(unicodedata.normalize("NFKC", text).lower())
        if len(found) > 2 * keep:
            found = found[:keep] + found[-keep:]
        ids.append(np.array([known.setdefault(token, len(known)) for token in found], dtype=np.int32))
    starts = np.concatenate([[0], np.cumsum([len(part) for part in ids])]).astype(np.int64)
    flat = np.concatenate(ids) if ids else np.zeros(0, dtype=np.int32)
    words = sorted(known)  # ids must not depend on the order of the records
    rank = np.empty(len(words), dtype=np.int32)
    rank[[known[word] for word in words]] = np.arange(len(words))
    return Tokens(rank[flat] if len(words) else flat, starts, tuple(words))


def read(tokens: Tokens, labels: NDArray[np.int32], n_labels: int) -> Reading:
    """How each of the N texts reads, by weights from the other folds.

    A text's fold depends on its words only: equal texts share it, and the records' order does not matter.
    """
    n, n_words = len(labels), max(1, len(tokens.words))
    fold = _folds(tokens)
    total = np.bincount(tokens.ids, minlength=n_words)
    order = np.argsort(-total[: len(tokens.words)], kind="stable")[:_VOCABULARY]
    column = np.full(n_words, len(order), dtype=np.int64)
    column[order] = np.arange(len(order))
    of_text = np.repeat(np.arange(n), tokens.lengths)
    place = column[tokens.ids]
    width = len(order) + 1
    scores = np.zeros((n, n_labels))
    weights = np.zeros((_FOLDS, width, n_labels), dtype=np.float32)
    for number in range(_FOLDS):
        others = fold[of_text] != number
        cells = place[others] * n_labels + labels[of_text[others]]
        counts = np.bincount(cells, minlength=width * n_labels).reshape(width, n_labels)[:-1] + 1.0
        weights[number, :-1] = np.log(counts / counts.sum(axis=0))
        prior = np.log(np.bincount(labels[fold != number], minlength=n_labels) + 1.0)
        mine = np.flatnonzero(~others)
        for label in range(n_labels):
            added = weights[number, place[mine], label].astype(np.float64)
            scores[:, label] += np.bincount(of_text[mine], weights=added, minlength=n)
        scores[fold == number] += prior
    return Reading(scores, fold, weights, column)


def _folds(tokens: Tokens) -> NDArray[np.int64]:
    crcs = np.array([zlib.crc32(word.encode("utf-8", "surrogatepass")) for word in tokens.words], np.int64)
    total = np.zeros(len(tokens.starts) - 1, dtype=np.int64)
    of_text = np.repeat(np.arange(len(total)), tokens.lengths)
    if len(crcs):
        np.add.at(total, of_text, crcs[tokens.ids] >> 4)
    return np.asarray(total % _FOLDS)


def margins(scores: NDArray[np.float64], labels: NDArray[np.int32]) -> NDArray[np.float64]:
    """Score of each row's label minus the best of the others, (M,): negative where it reads otherwise."""
    rows = np.arange(len(scores))
    others = scores.copy()
    others[rows, labels] = -np.inf
    return np.asarray(scores[rows, labels] - others.max(axis=1))
