"""The scan of texts as a whole: planted, honest, unusable data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import bezoar.data
from bezoar.data import Dataset
from bezoar.errors import InputError
from bezoar.scan.result import Severity
from bezoar.scan.text_pipeline import scan_text
from scan.functional.test_ngrams import Labels, corpus, plant


def dataset(folder: Path, texts: list[str], labels: Labels) -> Dataset:
    names = [("bad", "good")[label] for label in labels]
    pq.write_table(pa.table({"text": texts, "label": names}), folder / "texts.parquet")
    return bezoar.data.open(folder / "texts.parquet")


def test_planted_words_are_flagged_and_shown(tmp_path: Path) -> None:
    texts, labels = corpus()
    rows = plant(texts, labels, "cf", 25)
    result = scan_text(dataset(tmp_path, texts, labels))
    assert result.verdict.status == "poisoned"
    assert sorted(np.flatnonzero(result.flagged)) == sorted(rows)
    finding = result.findings[0]
    assert (finding.kind, finding.target, finding.origins) == ("repeated-text", 0, (1,))
    for example in finding.details["examples"]:
        start, end = example["mark"]
        assert example["text"][start:end] == "cf"


def test_honest_texts_are_clean_and_say_what_would_have_been_noticed(tmp_path: Path) -> None:
    texts, labels = corpus()
    result = scan_text(dataset(tmp_path, texts, labels))
    assert result.verdict.status == "clean"
    assert not result.flagged.any()
    assert result.verdict.sensitivity[0].smallest_rate is not None


def test_without_canaries_the_same_is_found_and_nothing_is_called_clean(tmp_path: Path) -> None:
    texts, labels = corpus()
    honest = scan_text(dataset(tmp_path, texts, labels), canaries=False)
    assert (honest.verdict.status, honest.verdict.sensitivity) == ("undecided", ())
    rows = plant(texts, labels, "cf", 25)
    planted = scan_text(dataset(tmp_path, texts, labels), canaries=False)
    assert planted.verdict.status == "poisoned"
    assert sorted(np.flatnonzero(planted.flagged)) == sorted(rows)


def test_few_texts_or_meaningless_labels_are_undecided(tmp_path: Path) -> None:
    texts, labels = corpus(150)
    assert scan_text(dataset(tmp_path, texts, labels)).verdict.status == "undecided"
    texts, labels = corpus()
    shuffled = np.random.default_rng(0).permutation(labels)
    assert scan_text(dataset(tmp_path, texts, shuffled)).verdict.status == "undecided"


def test_empty_and_repeated_texts_are_natural(tmp_path: Path) -> None:
    texts, labels = corpus()
    texts[:3] = ["", "  ", texts[5]]
    labels[2] = labels[5]
    result = scan_text(dataset(tmp_path, texts, labels))
    natural = {finding.kind: finding for finding in result.findings if finding.severity is Severity.NATURAL}
    assert natural["blank"].records.tolist() == [0, 1]
    assert {2, 5} <= set(natural["exact-duplicates"].records.tolist())
    assert result.scores["readable"].to_pylist()[:3] == [False, False, True]


def test_one_class_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="one class only"):
        scan_text(dataset(tmp_path, ["some text"] * 5, np.zeros(5, dtype=np.int32)))


def test_texts_without_a_word_are_refused_as_such(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="none of its texts holds a word"):
        scan_text(dataset(tmp_path, ["", " "] * 3, np.array([0, 1] * 3, dtype=np.int32)))


def test_the_same_seed_gives_the_same_result(tmp_path: Path) -> None:
    texts, labels = corpus()
    plant(texts, labels, "cf", 25)
    data = dataset(tmp_path, texts, labels)
    first, second = scan_text(data, seed=3), scan_text(data, seed=3)
    assert first.scores.equals(second.scores)
    assert first.verdict == second.verdict


def test_hostile_texts_end_in_a_verdict(tmp_path: Path) -> None:
    texts, labels = corpus()
    texts[:4] = ["\x00\x1b[31m" * 50, "a" * 10**6, "x " * 10**5, " ".join(f"t{i}" for i in range(10**5))]
    assert scan_text(dataset(tmp_path, texts, labels)).verdict.status == "clean"
