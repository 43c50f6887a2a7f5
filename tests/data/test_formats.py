"""The battery that every format passes: open, select, change, write, open again."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from bezoar import data
from bezoar.data import Dataset
from bezoar.errors import InputError, OutputError, UsageError

from .builders import CASES, COUNT, LABELS, Case, encoded, pixels

KEYED_BY_ROW = {"parquet_binary", "parquet_text", "idx", "idx_gz", "npz", "npz_compressed", "csv", "jsonl"}


@pytest.fixture(params=list(CASES))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def case(name: str) -> Case:
    return CASES[name]


@pytest.fixture
def opened(case: Case, tmp_path: Path) -> Dataset:
    return data.open(case.build(tmp_path))


def number(case: Case, content: bytes) -> int:
    """Which of the twelve records this content belongs to."""
    return next(i for i in range(COUNT) if case.content(i) == content)


def test_opening_gives_every_record_with_its_label_and_columns(case: Case, opened: Dataset) -> None:
    assert opened.format == case.format
    assert opened.label_names == case.names
    assert tuple(opened.columns.column_names) == case.columns
    assert len(opened) == len(opened.labels) == len(opened.keys) == COUNT
    assert all(len(column) == COUNT for column in opened.columns.columns)
    found = [number(case, record.content) for record in opened]
    assert sorted(found) == list(range(COUNT))
    assert [record.label for record in opened] == [LABELS[i] for i in found]


def test_keys_are_unique_and_stable(case: Case, opened: Dataset) -> None:
    keys = opened.keys.to_pylist()
    assert len(set(keys)) == COUNT
    assert all(keys)
    assert data.open(opened.path).keys.to_pylist() == keys


def test_content_is_read_in_any_order(opened: Dataset) -> None:
    everything = list(opened.contents())
    order = np.random.default_rng(0).integers(0, COUNT, 40)
    assert list(opened.contents(order)) == [everything[i] for i in order]
    assert opened[-1].content == everything[-1]


def test_round_trip_of_a_selection(name: str, case: Case, opened: Dataset, tmp_path: Path) -> None:
    chosen = opened.select(np.array([0, 3, 4, 7, 10, 11]))
    keys = data.write(chosen, tmp_path / "new" if case.output == "out" else _fresh(tmp_path, case.output))
    again = data.open(_written(tmp_path, case))
    assert again.keys.to_pylist() == keys
    if name not in KEYED_BY_ROW:
        assert keys == chosen.keys.to_pylist()
    assert [r.content for r in again] == [r.content for r in chosen]
    assert [again.label_name(y) for y in again.labels] == [chosen.label_name(y) for y in chosen.labels]
    assert [r.source for r in again] == [r.source for r in chosen]
    assert again.raw_shape == chosen.raw_shape


def test_only_changed_records_change(case: Case, opened: Dataset, tmp_path: Path) -> None:
    content = _other_content(opened)
    label = (int(opened.labels[5]) + 1) % 3
    changed = opened.with_changes({2: content}, {5: label})
    keys = data.write(changed, tmp_path / "new" if case.output == "out" else _fresh(tmp_path, case.output))
    again = data.open(_written(tmp_path, case))
    place = {key: i for i, key in enumerate(again.keys.to_pylist())}
    assert len(again) == COUNT
    for i, (key, record) in enumerate(zip(keys, opened, strict=True)):
        now = again[place[key]]
        assert now.content == (content if i == 2 else record.content)
        assert now.label == (label if i == 5 else record.label)
        assert now.source == record.source


def test_records_in_another_order(case: Case, opened: Dataset, tmp_path: Path) -> None:
    """The keys come back in dataset order, whatever order the files are in."""
    shuffled = opened.select(np.random.default_rng(1).permutation(COUNT))
    keys = data.write(shuffled, tmp_path / "new" if case.output == "out" else _fresh(tmp_path, case.output))
    again = data.open(_written(tmp_path, case))
    place = {key: i for i, key in enumerate(again.keys.to_pylist())}
    assert [again[place[key]].content for key in keys] == [r.content for r in shuffled]


def test_an_existing_path_is_not_overwritten(case: Case, opened: Dataset, tmp_path: Path) -> None:
    target = _fresh(tmp_path, case.output)
    target.write_text("mine")
    with pytest.raises(OutputError, match="exists already"):
        data.write(opened, target)
    assert target.read_text() == "mine"


class _Interrupted:
    """A reader during which somebody presses Ctrl-C, or takes the disk away."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def read(self, rows: NDArray[np.int64]) -> Iterator[bytes]:
        yield b"\0" * 192
        raise self._error


@pytest.mark.parametrize("fmt", list(data.FORMATS))
@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(5, "Input/output error")])
def test_an_interrupted_write_leaves_nothing(fmt: str, error: BaseException, tmp_path: Path) -> None:
    kind = next(name for name, case in CASES.items() if case.format == fmt)
    dataset = replace(data.open(CASES[kind].build(tmp_path)), reader=_Interrupted(error))
    folder = _fresh(tmp_path, CASES[kind].output).parent
    expected = KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else InputError
    with pytest.raises(expected):
        data.write(dataset, folder / CASES[kind].output)
    assert list(folder.iterdir()) == []


def test_a_full_disk_leaves_nothing(
    case: Case, opened: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    target = _fresh(tmp_path, case.output)
    with pytest.raises(OutputError, match="disk is full"):
        data.write(opened, target)
    assert list(target.parent.iterdir()) == []


IMAGE_CASES = [
    name for name, case in CASES.items() if case.format not in ("csv", "jsonl") and name != "parquet_text"
]


@pytest.mark.parametrize("source", IMAGE_CASES)
@pytest.mark.parametrize("target", ["folder", "parquet", "webdataset", "arrow"])
def test_images_cross_into_other_formats(source: str, target: str, tmp_path: Path) -> None:
    dataset = data.open(CASES[source].build(tmp_path))
    out = tmp_path / "crossed"
    keys = data.write(dataset, out, target)
    again = data.open(out)
    assert again.format == target
    assert again.label_names == dataset.label_names
    place = {key: i for i, key in enumerate(again.keys.to_pylist())}
    for key, record in zip(keys, dataset, strict=True):
        now = again[place[key]]
        assert np.array_equal(
            data.decode(now.content, again.raw_shape), data.decode(record.content, dataset.raw_shape)
        )
        assert now.label == record.label


@pytest.mark.parametrize("source", ["parquet_text", "csv", "jsonl"])
@pytest.mark.parametrize("target", ["text.csv", "text.jsonl", "text.parquet"])
def test_text_crosses_into_other_formats(source: str, target: str, tmp_path: Path) -> None:
    dataset = data.open(CASES[source].build(tmp_path))
    out = _fresh(tmp_path, target)
    data.write(dataset, out, out.suffix[1:])
    again = data.open(out)
    assert again.modality == "text"
    assert [r.content for r in again] == [r.content for r in dataset]
    assert [again.label_name(y) for y in again.labels] == [dataset.label_name(y) for y in dataset.labels]


@pytest.mark.parametrize("target", ["csv", "idx", "npz"])
def test_a_format_that_cannot_hold_the_records_says_so(target: str, tmp_path: Path) -> None:
    dataset = data.open(CASES["folder"].build(tmp_path))
    with pytest.raises(OutputError):
        data.write(dataset, tmp_path / f"out.{target}", target)
    assert not (tmp_path / f"out.{target}").exists()


def test_an_unknown_format_name(tmp_path: Path) -> None:
    dataset = data.open(CASES["folder"].build(tmp_path))
    with pytest.raises(UsageError, match="unknown format"):
        data.write(dataset, tmp_path / "out", "zip")


def _other_content(dataset: Dataset) -> bytes:
    if dataset.modality == "text":
        return b'another text, "quoted"\nwith lines'
    new = pixels(99)
    return data.encode(new, dataset[2].content, dataset.raw_shape) if dataset.raw_shape else encoded(new)


def _fresh(root: Path, name: str) -> Path:
    (root / "new").mkdir(exist_ok=True)
    return root / "new" / name


def _written(root: Path, case: Case) -> Path:
    return root / "new" if case.output == "out" else root / "new" / case.output
