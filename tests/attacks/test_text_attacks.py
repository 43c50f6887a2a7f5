"""The attacks on texts: where the trigger goes, how often, and that nothing else of a text changes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from attacks.builders import CLASSES, labels, parquet_of_png, text_jsonl, texts
from bezoar.attacks import LabelFlip, RareWord, SentenceInsertion, poison, truth_mask
from bezoar.errors import UsageError

UNUSUAL = [
    "",
    " ",
    "\n\n",
    "one",
    "  two words\n",
    "日本語のテキスト",
    "a\u00a0b\u3000c",
    "\tx\r\ny  z ",
    "🙂 👍🏽",
    "cf cf",
]


def _apply(attack: RareWord | SentenceInsertion, some: list[str], seed: int = 0) -> list[str]:
    return attack.apply(some, np.random.default_rng(seed))


@pytest.mark.parametrize(
    ("position", "text", "stamped"),
    [
        ("start", "\n one  two three ", "\n cf one  two three "),
        ("middle", "\n one  two three ", "\n one cf  two three "),
        ("middle", "one two\nthree four", "one two cf\nthree four"),
        ("end", "\n one  two three \n", "\n one  two three cf \n"),
        ("start", "naïve 日本", "cf naïve 日本"),
        ("end", "naïve 日本", "naïve 日本 cf"),
        ("end", "", "cf "),
        ("end", " \n", "cf  \n"),
    ],
)
def test_the_word_goes_where_it_is_told(position: str, text: str, stamped: str) -> None:
    assert _apply(RareWord(target=1, position=position), [text]) == [stamped]


@pytest.mark.parametrize(
    ("position", "stamped"),
    [("start", "cf cf one two"), ("middle", "one cf cf two"), ("end", "one two cf cf")],
)
def test_a_word_that_is_inserted_often_keeps_to_its_place(position: str, stamped: str) -> None:
    assert _apply(RareWord(target=1, position=position, count=2), ["one two"]) == [stamped]


@pytest.mark.parametrize(
    ("attack", "trigger"),
    [(RareWord(target=1), "cf"), (SentenceInsertion(target=1, sentence="so it is."), "so it is.")],
)
def test_random_places_are_all_gaps_and_both_ends(attack: RareWord | SentenceInsertion, trigger: str) -> None:
    stamped = _apply(attack, ["one, two three"] * 200)
    places = ["{} one, two three", "one, {} two three", "one, two {} three", "one, two three {}"]
    assert set(stamped) == {place.format(trigger) for place in places}
    assert min(stamped.count(each) for each in set(stamped)) > 30


@pytest.mark.parametrize("count", [1, 2, 7])
@pytest.mark.parametrize("position", ["start", "middle", "end", "random"])
def test_the_word_occurs_so_many_times_more_and_nothing_else_changes(position: str, count: int) -> None:
    some = texts() + UNUSUAL
    for before, after in zip(
        some, _apply(RareWord(target=1, position=position, count=count), some), strict=True
    ):
        assert after.split().count("cf") == before.split().count("cf") + count
        assert len(after) == len(before) + count * len("cf ")
        assert re.sub(r"cf | cf", "", after) == re.sub(r"cf | cf", "", before)


def test_a_sentence_is_inserted_once_and_nothing_else_changes() -> None:
    some = texts() + UNUSUAL
    sentence = "Ich sah: »naïve« Filme 🙂"
    for before, after in zip(some, _apply(SentenceInsertion(target=1, sentence=sentence), some), strict=True):
        assert after.count(sentence) == 1
        assert (
            after.replace(f"{sentence} ", "", 1) == before or after.replace(f" {sentence}", "", 1) == before
        )


def test_the_sentence_of_the_paper_is_the_default() -> None:
    assert "I watched this 3D movie" in _apply(SentenceInsertion(target=1), ["plain text"])[0]


@pytest.mark.parametrize("attack", [RareWord(target=1, count=3), SentenceInsertion(target=1)])
def test_places_depend_on_the_seed_alone(attack: RareWord | SentenceInsertion) -> None:
    assert _apply(attack, texts(), 5) == _apply(attack, texts(), 5)
    assert _apply(attack, texts(), 5) != _apply(attack, texts(), 6)


@pytest.mark.parametrize("kind", [RareWord, SentenceInsertion])
def test_success_is_the_target_on_the_source_or_on_all_other_classes(kind: Any) -> None:
    right = np.array([0, 1, 2, -1])
    np.testing.assert_array_equal(kind(target=1).test_labels(right, CLASSES), [1, -1, 1, -1])
    np.testing.assert_array_equal(kind(target=1, source=2).test_labels(right, CLASSES), [-1, -1, 1, -1])


@pytest.mark.parametrize("kind", [RareWord, SentenceInsertion])
def test_images_are_refused(kind: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds image"):
        poison(parquet_of_png(tmp_path), kind(target=1), rate=0.1, seed=0)


@pytest.mark.parametrize(("kind", "role"), [(RareWord, "word"), (SentenceInsertion, "sentence")])
@pytest.mark.parametrize("phrase", ["", " ", "\n\t", "\u3000", "c\0f", "c\nf", "\x1b[2J", "\ud800"])
def test_phrases_that_cannot_be_read_or_stored_are_refused(kind: Any, role: str, phrase: str) -> None:
    with pytest.raises(UsageError, match=f"the {role} (is empty|holds)"):
        kind(target=1, **{role: phrase})


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"count": 0}, "count 0"),
        ({"count": 101}, "between 1 and 100"),
        ({"position": "top"}, "start, middle, end, random"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(parameters: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        RareWord(target=1, **parameters)


@pytest.mark.parametrize("kind", [RareWord, SentenceInsertion, LabelFlip])
def test_source_and_target_must_differ(kind: Any) -> None:
    with pytest.raises(UsageError, match="same label"):
        kind(target=1, source=1)


@pytest.mark.parametrize("source", [None, 2])
@pytest.mark.parametrize("container", [text_jsonl, parquet_of_png])
def test_flipped_records_keep_their_content_and_get_the_target(
    container: Any, source: int | None, tmp_path: Path
) -> None:
    dataset = container(tmp_path)
    copy = poison(dataset, LabelFlip(target=1, source=source), rate=0.2, seed=0)
    planted = truth_mask(copy.truth, copy.dataset)
    assert planted.sum() == round(0.2 * len(dataset))
    assert list(copy.dataset.contents()) == list(dataset.contents())
    assert set(labels()[planted].tolist()) == ({0, 2, 3} if source is None else {source})
    np.testing.assert_array_equal(copy.dataset.labels, np.where(planted, 1, dataset.labels))
