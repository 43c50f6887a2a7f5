"""Scans of honest, damaged and unusable data: nothing is called poison, nothing is dropped in silence."""

from __future__ import annotations

import socket
from pathlib import Path

import numpy as np
import pytest

import bezoar
from bezoar.cli import main
from bezoar.data import Dataset
from bezoar.errors import InputError
from bezoar.scan.result import ScanResult, Severity
from scan.builders import STOP, YIELD, Mosaic, backgrounds, dataset, parquet, png, signs


@pytest.mark.parametrize("seed", range(5))
def test_clean_signs_are_not_called_poisoned(seed: int) -> None:
    result = bezoar.scan(
        dataset(*signs(60, 100 + seed)),
        seed=seed,
        encoder="default" if seed < 2 else Mosaic(),
        canaries=False,
    )
    assert result.verdict.status != "poisoned"
    assert not result.flagged.any()
    assert all(finding.severity is not Severity.POISON for finding in result.findings)


BLANK, UNREADABLE, COPIES, TORN = (3, 4), (7, 70), (10, 11, 12), (20, 21)


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, ScanResult]:
    """What scraped data holds: blanks, files that are cut off, copies, copies under two labels."""
    images, labels = signs(50, 30)
    contents = [png(image) for image in images]
    for index in BLANK:
        contents[index] = png(np.full((32, 32, 3), 40 * index, np.uint8))
    contents[UNREADABLE[0]], contents[UNREADABLE[1]] = b"", contents[UNREADABLE[1]][:100]
    for index in COPIES:
        contents[index], labels[index] = contents[COPIES[0]], YIELD
    contents[TORN[1]] = contents[TORN[0]]
    labels[list(TORN)] = STOP, YIELD
    data = parquet(tmp_path_factory.mktemp("damaged") / "signs.parquet", contents, labels)
    return data, bezoar.scan(data, encoder=Mosaic())


@pytest.mark.parametrize(
    ("kind", "severity", "records"),
    [
        ("blank", "natural", BLANK),
        ("exact-duplicates", "natural", COPIES),
        ("conflicting-duplicates", "review", TORN),
    ],
)
def test_anomalies_are_named_and_not_flagged(
    damaged: tuple[Dataset, ScanResult], kind: str, severity: str, records: tuple[int, ...]
) -> None:
    data, result = damaged
    [finding] = [found for found in result.findings if found.kind == kind]
    assert finding.severity == severity
    assert finding.p_value is None
    assert sorted(data.key(int(index)) for index in finding.records) == sorted(data.key(i) for i in records)
    assert finding.examples
    assert not result.flagged.any()


def test_unreadable_records_are_counted_and_listed(damaged: tuple[Dataset, ScanResult]) -> None:
    data, result = damaged
    assert tuple(record.index for record in result.unreadable) == UNREADABLE
    assert all(record.reason for record in result.unreadable)
    readable = result.scores["readable"].to_numpy(zero_copy_only=False)
    assert tuple(np.flatnonzero(~readable)) == UNREADABLE
    assert result.scores["mahalanobis"].null_count == len(UNREADABLE)
    assert result.n_records == len(data)


def test_the_verdict_on_too_little_data_is_undecided() -> None:
    few = bezoar.scan(dataset(*signs(10, 31)), encoder=Mosaic())
    assert few.verdict.status == "undecided"
    assert "60 of 60" in few.verdict.summary


def test_the_verdict_on_mostly_unreadable_data_is_undecided(tmp_path: Path) -> None:
    images, labels = signs(75, 32)
    contents = [png(image) if index % 2 else b"" for index, image in enumerate(images)]
    contents[1] = b""
    result = bezoar.scan(parquet(tmp_path / "signs.parquet", contents, labels), encoder=Mosaic())
    assert result.verdict.status == "undecided"
    assert len(result.unreadable) == 226


@pytest.mark.parametrize("side", [8, 16, 48])
def test_small_and_larger_images(side: int) -> None:
    images = backgrounds(240, side)
    labels = (np.arange(240) % 3).astype(np.int32)
    result = bezoar.scan(dataset(images, labels, ("a", "b", "c")), encoder=Mosaic())
    assert not result.flagged.any()


def _one_class(folder: Path) -> Dataset:
    images, labels = signs(10)
    return dataset(images[labels == STOP], labels[labels == STOP])


def _no_labels(folder: Path) -> Dataset:
    images, labels = signs(2)
    return dataset(images, labels).with_changes(labels=dict.fromkeys(range(len(labels)), -1))


def _nothing(folder: Path) -> Dataset:
    return dataset(*signs(2)).select([])


def _nothing_readable(folder: Path) -> Dataset:
    _, labels = signs(2)
    return parquet(folder / "signs.parquet", [b"not an image"] * len(labels), labels)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (_one_class, "one class only \\('stop'\\)"),
        (_no_labels, "no labels"),
        (_nothing, "no records"),
        (_nothing_readable, "none of the 12 records"),
    ],
)
def test_what_cannot_be_scanned_is_refused_in_one_line(make: object, words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=words) as caught:
        bezoar.scan(make(tmp_path), encoder=Mosaic())  # type: ignore[operator]
    assert "\n" not in str(caught.value)


def test_a_scan_opens_no_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the scan used the network")

    for name in ("create_connection", "getaddrinfo", "gethostbyname"):
        monkeypatch.setattr(socket, name, refuse)
    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    with pytest.raises(AssertionError, match="network"):
        socket.create_connection(("localhost", 9))
    monkeypatch.setenv("BEZOAR_CACHE", str(tmp_path / "cache"))
    images, labels = signs(40, 33)
    parquet(tmp_path / "signs.parquet", [png(image) for image in images], labels)
    code = main(["scan", str(tmp_path / "signs.parquet"), "-o", str(tmp_path / "result")])
    assert code == 0, capsys.readouterr().err
    assert (tmp_path / "result" / "report.html").is_file()


def test_images_of_low_contrast_are_scanned() -> None:
    images = np.random.default_rng(0).integers(100, 116, (240, 16, 16, 3)).astype(np.uint8)
    result = bezoar.scan(dataset(images, np.arange(240, dtype=np.int32) % 3))
    assert not any(finding.severity == "poison" for finding in result.findings)
