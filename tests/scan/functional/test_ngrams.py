"""N-grams that decide a label: planted ones are found, honest label words and topics are not."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from bezoar.scan.functional.naive_bayes import read, tokenize
from bezoar.scan.functional.ngrams import NgramTest, baseline, ngram_tests

Labels = NDArray[np.int32]


def corpus(n: int = 900, seed: int = 0) -> tuple[list[str], Labels]:
    """Two labels with 60 words each, 200 words in common; every text has words of both sorts, and strong label words."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n).astype(np.int32)
    texts = []
    for label in labels.tolist():
        side = np.where(rng.random(6) < 0.8, label, 1 - label)
        words = [f"side{s}w{w}" for s, w in zip(side, rng.integers(0, 60, 6), strict=True)]
        words += [f"common{w}" for w in rng.integers(0, 200, 6)]
        if rng.random() < 0.1:
            words.append(f"strong{label}")
        texts.append(" ".join(rng.permutation(words)))
    return texts, labels


def plant(texts: list[str], labels: Labels, trigger: str, count: int, target: int = 0) -> NDArray[np.int64]:
    """Insert `trigger` at random places of `count` texts of the other label, in place; their rows."""
    rng = np.random.default_rng(1)
    rows = rng.permutation(np.flatnonzero(labels != target))[:count]
    for row in rows.tolist():
        words = texts[row].split()
        words.insert(int(rng.integers(len(words) + 1)), trigger)
        texts[row], labels[row] = " ".join(words), target
    return rows


def found(
    texts: list[str], labels: Labels, source: NDArray[np.int64] | None = None
) -> list[tuple[str, NgramTest]]:
    tokens = tokenize(texts)
    reading = read(tokens, labels, 2)
    tests, _ = ngram_tests(tokens, labels, reading, baseline(reading, labels), 0.01, source)
    return [(" ".join(tokens.words[token] for token in test.tokens), test) for test in tests]


@pytest.mark.parametrize("trigger", ["cf", "i watched this 3d movie last weekend", "\u200b"])
def test_a_planted_passage_is_one_finding_with_its_records(trigger: str) -> None:
    texts, labels = corpus()
    rows = plant(texts, labels, trigger, 25)
    ((words, test),) = found(texts, labels)
    assert words == trigger
    assert test.label == 0
    assert test.p_value < 1e-4
    assert sorted(test.carriers[labels[test.carriers] == 0]) == sorted(rows)


@pytest.mark.parametrize("seed", range(4))
def test_honest_label_words_are_no_triggers(seed: int) -> None:
    texts, labels = corpus(seed=seed)
    assert found(texts, labels) == []
    rng = np.random.default_rng(seed)
    noisy = np.where(rng.random(len(labels)) < 0.05, 1 - labels, labels).astype(np.int32)
    assert found(texts, noisy) == []


def test_copies_of_one_text_and_of_one_source_count_once() -> None:
    texts, labels = corpus()
    texts[0] += " cf"
    texts, labels = texts + texts[:1] * 30, np.append(labels, np.full(30, 1 - labels[0])).astype(np.int32)
    assert found(texts, labels) == []
    texts, labels = corpus()
    rows = plant(texts, labels, "cf", 25)
    source = np.arange(len(texts))
    assert len(found(texts, labels, source)) == 1
    source[rows] = 0
    assert found(texts, labels, source) == []


def test_equal_carriers_are_all_flagged() -> None:
    texts, labels = corpus()
    rows = plant(texts, labels, "cf", 25)
    texts, labels = [*texts, texts[rows[0]]], np.append(labels, np.int32(0))
    ((_, test),) = found(texts, labels)
    assert len(texts) - 1 in test.carriers
    assert test.labelled == 26


def test_the_order_of_the_records_does_not_matter() -> None:
    texts, labels = corpus()
    plant(texts, labels, "cf mn", 25)
    order = np.random.default_rng(2).permutation(len(texts))
    ((words, test),) = found(texts, labels)
    ((again, other),) = found([texts[i] for i in order], labels[order])
    assert (again, other.against, other.labelled) == (words, test.against, test.labelled)
    assert other.p_value == pytest.approx(test.p_value, rel=1e-9)
    assert sorted(order[other.carriers]) == test.carriers.tolist()


def test_tokens_of_any_script_and_of_hostile_texts() -> None:
    texts = [
        "Ünïted STATES!",
        "",
        "\x00\x07",
        "北京欢迎你",
        "привет мир",
        "a" * 10**6,
        "x " * 10**5,
        "\ud800",
    ]
    tokens = tokenize(texts)
    assert [tokens.words[i] for i in tokens.of(0)] == ["ünïted", "states", "!"]
    assert tokens.lengths[1] == 0
    assert tokens.lengths[3] == 5
    assert [tokens.words[i] for i in tokens.of(4)] == ["привет", "мир"]
    assert tokens.lengths.max() <= 4096
    read(tokens, np.zeros(len(texts), dtype=np.int32), 2)
