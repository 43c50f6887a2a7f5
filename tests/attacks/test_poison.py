"""Choosing records, refusing what makes no sense, and writing copy and truth as one."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import bezoar.attacks.writing
import bezoar.data
from attacks.builders import CLASSES, EACH, file_of, folder_of_jpeg, images, labels, parquet_of_png
from bezoar.attacks import BadNets, poison, read_truth, truth_mask, write_poisoned
from bezoar.data import Dataset
from bezoar.errors import InputError, OutputError, UsageError

N = CLASSES * EACH


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    (tmp_path / "in").mkdir()
    return parquet_of_png(tmp_path / "in")


@pytest.mark.parametrize(
    ("attack", "rate", "words"),
    [
        (BadNets(target=0), 0.0, "rate 0.0: must be a share between 0 and 1"),
        (BadNets(target=0), 1.0, "rate 1.0"),
        (BadNets(target=0), float("nan"), "rate nan"),
        (BadNets(target=0), 0.001, "less than one record"),
        (BadNets(target=9), 0.1, "target label 9: .* has 4 classes, 0 to 3"),
        (BadNets(target=-1), 0.1, "target label -1"),
        (BadNets(target=0, source=4), 0.1, "source label 4"),
        (
            BadNets(target=1, source=2),
            0.5,
            "40 records to poison, but .* only 20 readable ones of class '2'; .* 0.25",
        ),
        (BadNets(target=1), 0.9, "only 60 readable ones outside the target class; lower the rate to 0.75"),
    ],
)
def test_what_makes_no_sense_is_refused(dataset: Dataset, attack: BadNets, rate: float, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        poison(dataset, attack, rate=rate, seed=0)


def test_the_whole_source_class_can_be_poisoned(dataset: Dataset) -> None:
    copy = poison(dataset, BadNets(target=1, source=2), rate=EACH / N, seed=0)
    assert truth_mask(copy.truth, copy.dataset).tolist() == (labels() == 2).tolist()


def test_text_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["a", "b"], "label": [0, 1]}), tmp_path / "text.parquet")
    with pytest.raises(UsageError, match="holds text; badnets poisons images"):
        poison(bezoar.data.open(tmp_path / "text.parquet"), BadNets(target=0), rate=0.5, seed=0)


def test_unreadable_records_are_passed_over_and_left_as_they_are(tmp_path: Path) -> None:
    files = [file_of(image, "PNG") for image in images()]
    broken = range(0, N, 2)
    files = [content[:40] if index in broken else content for index, content in enumerate(files)]
    table = pa.table({"image": [{"bytes": content, "path": None} for content in files], "label": labels()})
    pq.write_table(table, tmp_path / "data.parquet")
    dataset = bezoar.data.open(tmp_path / "data.parquet")
    copy = poison(dataset, BadNets(target=0), rate=30 / N, seed=0)  # exactly the readable candidates
    chosen = np.flatnonzero(truth_mask(copy.truth, copy.dataset))
    assert len(chosen) == 30
    assert not set(chosen.tolist()) & set(broken)
    with pytest.raises(UsageError, match="only 30 readable ones"):
        poison(dataset, BadNets(target=0), rate=31 / N, seed=0)


def test_images_of_different_sizes(tmp_path: Path) -> None:
    files = [file_of(image[: 10 + n % 5, : 12 + n % 3], "PNG") for n, image in enumerate(images())]
    table = pa.table({"image": [{"bytes": content, "path": None} for content in files], "label": labels()})
    pq.write_table(table, tmp_path / "data.parquet")
    dataset = bezoar.data.open(tmp_path / "data.parquet")
    copy = poison(dataset, BadNets(target=0, size=8), rate=0.25, seed=0)
    for index in np.flatnonzero(truth_mask(copy.truth, copy.dataset)).tolist():
        before = bezoar.data.decode(dataset[index].content)
        after = bezoar.data.decode(copy.dataset[index].content)
        assert before.shape == after.shape
        assert (before != after).any(axis=2).sum() <= round(8 * min(before.shape[:2]) / 32) ** 2


def test_truth_inside_the_copy_or_the_original_is_refused(tmp_path: Path) -> None:
    dataset = folder_of_jpeg(tmp_path)
    copy = poison(dataset, BadNets(target=0), rate=0.1, seed=0)
    out = tmp_path / "copy"
    with pytest.raises(UsageError, match="must stay outside the poisoned copy"):
        write_poisoned(copy, out, out / "sub" / ".." / "truth.json")
    with pytest.raises(UsageError, match="must stay outside the original"):
        write_poisoned(copy, out, dataset.path / "truth.json")
    with pytest.raises(UsageError, match="must stay outside the original"):
        write_poisoned(copy, dataset.path / "copy")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]


def test_existing_output_is_refused_and_kept(dataset: Dataset, tmp_path: Path) -> None:
    copy = poison(dataset, BadNets(target=0), rate=0.1, seed=0)
    for name in ("copy.parquet", "copy.parquet.truth.json"):
        (tmp_path / name).write_text("mine")
        with pytest.raises(OutputError, match="exists already"):
            write_poisoned(copy, tmp_path / "copy.parquet")
        assert (tmp_path / name).read_text() == "mine"
        (tmp_path / name).unlink()
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


@pytest.mark.parametrize("failing", ["write", "_with_keys"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str, error: BaseException
) -> None:
    copy = poison(folder_of_jpeg(tmp_path), BadNets(target=0), rate=0.1, seed=0)

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(bezoar.attacks.writing, failing, fail)
    with pytest.raises((OutputError, KeyboardInterrupt)):
        write_poisoned(copy, tmp_path / "copy")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_mask_of_a_selection_and_of_another_dataset(dataset: Dataset) -> None:
    copy = poison(dataset, BadNets(target=0), rate=0.1, seed=0)
    mask = truth_mask(copy.truth, copy.dataset)
    assert truth_mask(copy.truth, copy.dataset.select(mask)).all()
    assert not truth_mask(copy.truth, copy.dataset.select(~mask)).any()
    other = dataclasses.replace(dataset, keys=pa.array([f"other-{i}" for i in range(N)]))
    with pytest.raises(InputError, match="lacks 8 of the ground truth's records"):
        truth_mask(copy.truth, other)


@pytest.mark.parametrize("damage", ["", "[]", "{}", "[" * 100_000, "null", "{'a'", '{"kind": 3}'])
def test_what_is_no_truth_is_refused(tmp_path: Path, damage: str) -> None:
    (tmp_path / "truth.json").write_text(damage)
    with pytest.raises(InputError, match="not a ground-truth file"):
        read_truth(tmp_path / "truth.json")


@pytest.mark.parametrize(
    "change",
    [
        {"seed": "0"},
        {"size": None},
        {"label_names": 3},
        {"label_names": ["one"]},
        {"records": [{"key": "a"}]},
        {"records": 5},
        {"parameters": []},
        {"extra": 1},
    ],
)
def test_damaged_truth_is_refused(dataset: Dataset, tmp_path: Path, change: dict[str, object]) -> None:
    fields = json.loads(poison(dataset, BadNets(target=1), rate=0.1, seed=0).truth.to_json())
    (tmp_path / "truth.json").write_text(json.dumps({**fields, **change}))
    with pytest.raises(InputError, match="not a ground-truth file"):
        read_truth(tmp_path / "truth.json")


def test_missing_truth_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_truth(tmp_path / "nothing.json")


@pytest.mark.real
def test_stop_signs_with_a_sticker_become_speed_limits(packs: Path, tmp_path: Path) -> None:
    dataset = bezoar.data.open(packs / "gtsrb" / "train32.parquet")
    copy = poison(dataset, BadNets(source=14, target=3), rate=0.002, seed=0)
    truth = write_poisoned(copy, tmp_path / "copy.parquet")
    written = bezoar.data.open(tmp_path / "copy.parquet")
    mask = truth_mask(truth, written)
    assert mask.sum() == round(0.002 * len(dataset))
    assert {written.label_name(label) for label in written.labels[mask]} == {dataset.label_name(3)}
    before = [bezoar.data.decode(content) for content in dataset.contents(np.flatnonzero(mask))]
    after = [bezoar.data.decode(content) for content in written.contents(np.flatnonzero(mask))]
    rows, columns = np.nonzero((np.stack(before) != np.stack(after)).any(axis=(0, 3)))
    assert (rows.min(), columns.min(), rows.max(), columns.max()) == (28, 28, 30, 30)
    assert written.select(~mask).digest == dataset.select(~mask).digest
