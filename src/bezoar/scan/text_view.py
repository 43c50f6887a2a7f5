"""What a scan of texts looks at: n-grams that decide a label against the rest of their text, and labels that look wrong."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bezoar.data import Dataset
from bezoar.scan.functional.disagreement import FIRM, KS, vote
from bezoar.scan.functional.naive_bayes import Reading, Tokens, margins
from bezoar.scan.functional.neighbours import nearest
from bezoar.scan.functional.ngrams import MIN_CARRIERS, Baseline, NgramTest, canary_p, ngram_tests
from bezoar.scan.result import Finding, Sensitivity, Severity
from bezoar.scan.scene import Evidence
from bezoar.scan.sensitivity import RATES
from bezoar.seeds import generator

_TRIALS, _NEEDED = 100, 95  # a stated rate promises 90 %, whatever the luck of these trials
_SHOWN = 12
_AROUND, _LONGEST = 100, 300  # characters shown beside a mark; of a whole excerpt
_TITLE = 80
_FOLDS = 5


@dataclass(frozen=True, slots=True)
class TextScene:
    """The M labelled texts of a dataset that hold a token.

    Attributes:
        dataset: where they come from.
        records: int64 (M,), record of each row.
        labels: int32 (M,).
        tokens: of each row.
        reading: how each row reads.
        base: what is usual.
        features: float32 (M, D), an encoder's, rows of unit length.
        source: int64 (M,), rows of one source count once; None where every text is an observation.
        seed: of every random choice.

    """

    dataset: Dataset
    records: NDArray[np.int64]
    labels: NDArray[np.int32]
    tokens: Tokens
    reading: Reading
    base: Baseline
    features: NDArray[np.float32]
    source: NDArray[np.int64] | None
    seed: int


def triggers(scene: TextScene, alpha: float) -> Evidence:
    """Words, phrases and sentences whose texts read like another label without them."""
    tests, n_tests = ngram_tests(scene.tokens, scene.labels, scene.reading, scene.base, alpha, scene.source)
    p_values = np.ones(len(scene.dataset.label_names))
    score = np.zeros(len(scene.records))
    for test in tests:
        p_values[test.label] = min(p_values[test.label], test.p_value)
        mine = test.carriers[scene.labels[test.carriers] == test.label]
        score[mine] = np.maximum(score[mine], -np.log10(max(test.p_value, 1e-300)))
    return Evidence(
        "n-grams",
        p_values,
        tuple(_planted(test, scene) for test in tests),
        {"trigger": score},
        (partial(_sensitivity, scene, alpha / n_tests),),
    )


def label_errors(scene: TextScene, alpha: float) -> Evidence:
    """Texts that both an out-of-fold classifier and their neighbours put under another label, for a person to look at.

    Confident learning (Northcutt, Jiang and Chuang 2021, arXiv 1911.00068) on the encoder's features: the other label's
    probability reaches what its own texts get on average. Tests nothing, so it never calls data poisoned.
    """
    labels, n_labels = scene.labels, len(scene.dataset.label_names)
    k = min(max(KS), len(labels) - 1)
    votes = vote(nearest(scene.features, k).indices, labels, n_labels)
    reads = margins(scene.reading.scores, labels)
    chances = _out_of_fold(scene.features, labels, scene.reading.fold, n_labels)
    own = chances[np.arange(len(labels)), labels]
    usual = np.array(
        [own[labels == label].mean() if (labels == label).any() else 1.0 for label in range(n_labels)]
    )
    rest = chances.copy()
    rest[np.arange(len(labels)), labels] = -1.0
    other = rest.argmax(axis=1)
    confident = rest[np.arange(len(labels)), other] >= usual[other]
    rows = np.flatnonzero(confident & (votes.margin >= FIRM) & (reads < 0))
    rows = rows[np.argsort(-votes.margin[rows], kind="stable")]
    findings = () if not len(rows) else (_mislabelled(scene, rows, other),)
    columns = {"label_disagreement": votes.margin.astype(np.float64), "reads_otherwise": -reads}
    return Evidence("label errors", np.ones(n_labels), findings, columns)


def excerpt(scene: TextScene, row: int, words: tuple[str, ...] = ()) -> dict[str, Any]:
    """One text as evidence: the part around the first occurrence of `words`, and where that lies in it."""
    record = int(scene.records[row])
    content = next(scene.dataset.contents([record]))
    return {
        "key": scene.dataset.key(record),
        "label": scene.dataset.label_name(int(scene.labels[row])),
        **_part(content.decode("utf-8", "replace"), words),
    }


def _part(text: str, words: tuple[str, ...]) -> dict[str, Any]:
    text = unicodedata.normalize("NFKC", text)
    found = _pattern(words).search(text) if words else None
    if found is None:
        return {"text": text[:_LONGEST], "mark": None}
    begin, end = max(0, found.start() - _AROUND), min(found.end(), found.start() + _LONGEST)
    return {"text": text[begin : end + _AROUND], "mark": [found.start() - begin, end - begin]}


def _pattern(words: tuple[str, ...]) -> re.Pattern[str]:
    """The words with any space between them, not inside longer words."""
    before = r"(?<!\w)" if re.match(r"[a-z0-9]", words[0]) else ""
    after = r"(?!\w)" if re.search(r"[a-z0-9]$", words[-1]) else ""
    return re.compile(before + r"\s*".join(map(re.escape, words)) + after, re.IGNORECASE)


def _planted(test: NgramTest, scene: TextScene) -> Finding:
    labelled = scene.labels[test.carriers] == test.label
    rows = test.carriers[labelled]
    scores = scene.reading.scores[rows].copy()
    words = tuple(scene.tokens.words[token] for token in test.tokens)
    place = scene.reading.column[np.array(test.tokens)]
    scores -= scene.reading.weights[scene.reading.fold[rows]][:, place].sum(axis=1)
    margin = margins(scores, scene.labels[rows])
    reads_as = np.bincount(scores.argmax(axis=1)[margin < 0], minlength=len(scene.dataset.label_names))
    rows = rows[np.argsort(margin, kind="stable")]
    name, phrase = scene.dataset.label_name(test.label), _shown(words)
    what = "word" if len(words) == 1 else "passage"
    return Finding(
        kind="repeated-text",
        severity=Severity.POISON,
        title=f"{len(rows)} texts labelled {name!r} share the {what} {phrase!r} and read otherwise without it",
        explanation=(
            f"The {what} occurs in {len(test.carriers)} texts, {test.labelled} of them labelled {name!r}. Without it, "
            f"{test.against} of those that are no near-duplicates read like another label; about {test.expected:.0f} would be "
            f"usual. A model trained on them learns to answer {name!r} wherever the {what} stands. Boilerplate of one source "
            "can look like this too: look at the examples."
        ),
        records=scene.records[rows],
        p_value=test.p_value,
        target=test.label,
        origins=tuple(np.flatnonzero(reads_as).tolist()),
        details={
            "tokens": [_shown((word,)) for word in words],
            "carriers": len(test.carriers),
            "labelled": test.labelled,
            "against": test.against,
            "expected": test.expected,
            "examples": [excerpt(scene, int(row), words) for row in rows[:_SHOWN]],
        },
    )


def _shown(words: tuple[str, ...]) -> str:
    """The n-gram in one line; what cannot be seen is written as its code point."""
    text = " ".join("".join(c if c.isprintable() else f"<U+{ord(c):04X}>" for c in word) for word in words)
    return text if len(text) <= _TITLE else text[: _TITLE - 1] + "…"


def _mislabelled(scene: TextScene, rows: NDArray[np.int64], other: NDArray[np.int64]) -> Finding:
    count = "1 text" if len(rows) == 1 else f"{len(rows)} texts"
    return Finding(
        kind="label-errors",
        severity=Severity.REVIEW,
        title=f"{count} that a classifier, a word model and the neighbours put under another label",
        explanation=(
            "Predicted without having been seen, and confidently so, each of them belongs elsewhere. Honest label mistakes and "
            "flipped labels both look like this; no test tells them apart."
        ),
        records=scene.records[rows],
        origins=tuple(np.unique(other[rows]).tolist()),
        details={"examples": [excerpt(scene, int(row)) for row in rows[:_SHOWN]]},
    )


def _out_of_fold(
    features: NDArray[np.float32], labels: NDArray[np.int32], fold: NDArray[np.int64], n_labels: int
) -> NDArray[np.float64]:
    """Probabilities (M, K) from logistic regressions that never saw the row's fold."""
    from sklearn.linear_model import LogisticRegression

    chances = np.full((len(labels), n_labels), 1.0 / n_labels)
    for number in range(_FOLDS):
        held = fold == number
        if held.any() and len(np.unique(labels[~held])) > 1:
            model = LogisticRegression(C=10.0, max_iter=200, tol=1e-3).fit(features[~held], labels[~held])
            chances[held] = 0.0
            chances[np.ix_(held, model.classes_)] = model.predict_proba(features[held])
    return chances


def _sensitivity(scene: TextScene, level: float) -> Sensitivity:
    """The smallest of `RATES` at which a rare word in random texts of other labels is found in 95 of 100 trials."""
    poison = "a rare word inserted into texts of other labels, relabelled"
    smallest = None
    for rate in RATES:
        size = round(rate * len(scene.dataset))
        if size < MIN_CARRIERS or not _often_found(scene, size, level):
            break
        smallest = rate
    return Sensitivity(
        poison,
        smallest,
        f"found in at least {_NEEDED} of {_TRIALS} trials with labels and texts drawn at random",
    )


def _often_found(scene: TextScene, size: int, level: float) -> bool:
    rng = generator(scene.seed, "canaries", "rare word", size)
    missed = 0
    present = np.unique(scene.labels)
    for _ in range(_TRIALS):
        label = int(rng.choice(present))
        hosts = np.flatnonzero(scene.labels != label)
        if len(hosts) < size:
            return False
        chosen = rng.permutation(hosts)[:size]
        missed += canary_p(scene.reading, scene.labels, label, chosen) > level
        if missed > _TRIALS - _NEEDED:
            return False
    return True
