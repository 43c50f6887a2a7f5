"""Poisoning texts: what is passed over, what is kept, how change is counted."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import bezoar.data
from attacks.builders import CLASSES, EACH, labels, parquet_of_png, text_csv, texts
from bezoar.attacks import poison, truth_mask, write_poisoned
from bezoar.attacks.defaults import TriggerAttack
from bezoar.attacks.media import medium_of
from bezoar.data import Modality
from bezoar.errors import UsageError

N = CLASSES * EACH


@dataclass(frozen=True, kw_only=True)
class Suffix(TriggerAttack[list[str]]):
    """Appends a word."""

    name: ClassVar[str] = "suffix"
    paper: ClassVar[str] = "none"
    modality: ClassVar[Modality | None] = "text"

    target: int = 1
    source: int | None = None
    word: str = ' "cf",\n'

    def apply(self, samples: list[str], rng: np.random.Generator) -> list[str]:
        return [text + self.word for text in samples]


def test_texts_are_changed_and_every_other_row_is_kept(tmp_path: Path) -> None:
    dataset = text_csv(tmp_path)
    copy = poison(dataset, Suffix(), rate=0.1, seed=0)
    truth = write_poisoned(copy, tmp_path / "copy.csv")
    with (tmp_path / "copy.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    poisoned = truth_mask(truth, bezoar.data.open(tmp_path / "copy.csv"))
    assert poisoned.sum() == round(0.1 * N)
    for row, text, label, planted in zip(rows, texts(), labels(), poisoned, strict=True):
        assert row["text"] == (text + ' "cf",\n' if planted else text)
        assert row["label"] == f"class{1 if planted else label}"
    assert {record.figures["changed_characters"] for record in truth.records} == {len(' "cf",\n')}


def test_empty_texts_are_passed_over(tmp_path: Path) -> None:
    some = [text if number % 2 else "" for number, text in enumerate(texts())]
    pq.write_table(pa.table({"text": some, "label": labels()}), tmp_path / "data.parquet")
    dataset = bezoar.data.open(tmp_path / "data.parquet")
    copy = poison(dataset, Suffix(), rate=30 / N, seed=0)
    assert (np.flatnonzero(truth_mask(copy.truth, copy.dataset)) % 2 == 1).all()
    with pytest.raises(UsageError, match="only 30 readable ones outside the target class"):
        poison(dataset, Suffix(), rate=31 / N, seed=0)


def test_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds image; suffix poisons texts"):
        poison(parquet_of_png(tmp_path), Suffix(), rate=0.1, seed=0)


@pytest.mark.parametrize(
    ("before", "after", "characters"),
    [
        ("one two", "one two", 0),
        ("one two", "one cf two", 3),
        ("aaa", "aaaa", 1),
        ("abcdef", "abXdef", 1),
        ("abcdef", "aXcdYf", 4),
        ("abc", "xyz", 3),
        ("", "xyz", 3),
        ("one two", "two", 4),
    ],
)
def test_change_is_counted_from_the_first_to_the_last_changed_character(
    tmp_path: Path, before: str, after: str, characters: int
) -> None:
    medium = medium_of(text_csv(tmp_path))
    assert medium.change([before], [after])["changed_characters"].tolist() == [characters]
