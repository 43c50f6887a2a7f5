from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from bezoar.data.dataset import Dataset
from bezoar.data.formats.idx import ArrayReader
from bezoar.errors import UsageError
from bezoar.scan.result import Finding, Severity
from bezoar.scan.sources import read_sources, source_findings, source_name

N = 2000


def dataset(columns: dict[str, object], labels: NDArray[np.int32] | None = None) -> Dataset:
    given = np.arange(N, dtype=np.int32) % 5 if labels is None else labels
    return Dataset(
        path=Path("data.parquet"),
        format="parquet",
        modality="image",
        keys=pa.array([f"k{row}" for row in range(N)]),
        labels=given,
        label_names=tuple("abcde"),
        columns=pa.table(columns),
        reader=ArrayReader(np.zeros((N, 1), np.uint8)),
        rows=np.arange(N),
    )


def finding(records: object, severity: Severity = Severity.POISON, kind: str = "x") -> Finding:
    return Finding(kind, severity, "t", "e", np.asarray(records, dtype=np.int64))


def crowd(rng: np.random.Generator, guilty: NDArray[np.int64], share: float = 0.9) -> list[str]:
    """2,000 records of 40 sites; `share` of the records `guilty` come from a 41st, evil.example."""
    sites = np.array([f"https://www.site{n}.example/a.png" for n in rng.integers(0, 40, N)], dtype=object)
    sites[rng.choice(N, 20, replace=False)] = "http://Evil.example/x"
    sites[guilty[: round(share * len(guilty))]] = "http://evil.example:80/y"
    return sites.tolist()


def test_names_the_source_of_the_suspects() -> None:
    rng = np.random.default_rng(1)
    guilty = rng.choice(N, 30, replace=False)
    data = dataset({"url": crowd(rng, guilty)})
    (found,) = source_findings(data, [finding(guilty)], None)
    assert (found.kind, found.severity) == ("suspect-source", Severity.REVIEW)
    assert found.title == "27 of 30 planted records came from 'evil.example' (2.4 % of the data)"
    assert set(found.records.tolist()) <= set(guilty.tolist())
    assert len(found.records) == found.details["suspects"] == 27
    assert found.details["lift"] > 20
    assert found.p_value is not None
    assert found.p_value < 1e-20


def test_suspects_for_review_are_tested_apart() -> None:
    rng = np.random.default_rng(2)
    guilty = rng.choice(N, 30, replace=False)
    data = dataset({"source": crowd(rng, guilty)})
    others = np.setdiff1d(np.arange(N), guilty)[:40]
    findings = [finding(others), finding(guilty[:15], Severity.REVIEW), finding(guilty, Severity.NATURAL)]
    (found,) = source_findings(data, findings, None)
    assert "of 15 records up for review" in found.title
    again = source_findings(data, [*findings, finding(others, Severity.REVIEW, "suspect-source")], None)
    assert [f.title for f in again] == [found.title]  # an earlier finding on sources is no suspicion


def test_honest_sources_are_not_accused() -> None:
    """Suspects at random, and suspects of one label that a few sites mostly supply: at most 1 % of runs."""
    accused = 0
    for seed in range(150):
        rng = np.random.default_rng([3, seed])
        labels = rng.integers(0, 5, N).astype(np.int32)
        sites = np.where(rng.random(N) < 0.8, labels, rng.integers(0, 30, N))
        suspects = rng.choice(np.flatnonzero(labels == 2), 60, replace=False)
        data = dataset({"source": [f"site{n}" for n in sites]}, labels)
        accused += bool(source_findings(data, [finding(suspects)], None))
    assert accused <= 5  # 99.7 % quantile of 150 runs at 1 %


@pytest.mark.parametrize(
    ("columns", "suspects"),
    [
        ({"url": ["http://a/"] * N}, range(50)),  # one source only
        ({"url": [f"http://{row}/" for row in range(N)]}, range(50)),  # every record its own
        ({"source": ["a"] * 4 + ["b"] * (N - 4)}, range(4)),  # too few suspects
        ({"source": ["a"] * 1200 + ["b"] * 800}, [*range(700), *range(1200, 1580)]),  # small effect
        ({"source": [None] * N}, range(50)),
        ({"colour": ["a"] * 40 + ["b"] * (N - 40)}, range(40)),  # no column of a usual name
        ({"source": [0.5] * 40 + [1.5] * (N - 40)}, range(40)),  # not names
        ({}, range(50)),
    ],
)
def test_says_nothing_without_grounds(columns: dict[str, object], suspects: object) -> None:
    data = dataset({name: pa.array(values) for name, values in columns.items()})  # type: ignore[call-overload]
    assert source_findings(data, [finding(list(suspects))], None) == []  # type: ignore[call-overload]


def test_the_column_can_be_named() -> None:
    values = ["a"] * 40 + ["b"] * (N - 40)
    data = dataset({"uploaded_by": values, "source": ["same"] * N, "box": [[1, 2]] * N})
    assert source_findings(data, [finding(range(40))], None) == []
    (found,) = source_findings(data, [finding(range(40))], "uploaded_by")
    assert found.details["source"] == "a"
    with pytest.raises(UsageError, match="no column 'nope'; columns: uploaded_by, source, box"):
        source_findings(data, [finding(range(40))], "nope")
    with pytest.raises(UsageError, match="column 'box' holds list"):
        source_findings(data, [finding(range(40))], "box")


def test_whole_numbers_dictionaries_and_gaps() -> None:
    numbers = dataset({"Contributor": pa.array([7] * 40 + [8] * (N - 41) + [None])})
    read = read_sources(numbers, None)
    assert read is not None
    assert (read.names, read.codes[0], read.codes[-2], read.codes[-1]) == (("7", "8"), 0, 1, -1)
    words = dataset({"shard": pa.array(["x", "y"] * (N // 2)).dictionary_encode()})
    assert read_sources(words, None).names == ("x", "y")  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("https://www.Example.org:8443/a/b.png?x=1", "example.org"),
        ("//cdn.example.org/x", "cdn.example.org"),
        ("http://user:pass@evil.example./", "evil.example"),
        ("http://[::1/", "http://[::1/"),  # no valid URL: as it is
        ("file:///a.png", "file:///a.png"),
        ("contributor 12 ", "contributor 12"),
        ("\u202eevil\x00", "\u202eevil\x00"),
        ("", ""),
    ],
)
def test_urls_count_by_their_host(value: str, name: str) -> None:
    assert source_name(value) == name
