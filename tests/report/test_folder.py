from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bezoar.errors import BezoarError, InputError, OutputError
from bezoar.report import read_scan, to_sarif, write_scan
from bezoar.scan.result import ScanResult
from report.builders import scan_result, trigger_finding


@pytest.fixture
def result() -> ScanResult:
    return scan_result((trigger_finding(np.arange(0, 30, 3)),))


@pytest.fixture
def folder(tmp_path: Path, result: ScanResult) -> Path:
    write_scan(result, tmp_path / "scan")
    return tmp_path / "scan"


def test_writes_its_files_and_reads_them_back(folder: Path, result: ScanResult) -> None:
    assert sorted(path.name for path in folder.iterdir()) == [
        "report.html",
        "result.json",
        "scan.sarif",
        "scores.parquet",
    ]
    assert json.loads((folder / "scan.sarif").read_bytes()) == to_sarif(result)
    assert pq.read_table(folder / "scores.parquet").equals(result.scores)
    for path in (folder, folder / "result.json"):
        back = read_scan(path)
        assert back.digest == result.digest
        np.testing.assert_array_equal(back.flagged, result.flagged)


def test_never_overwrites(folder: Path, result: ScanResult) -> None:
    with pytest.raises(OutputError, match="exists already"):
        write_scan(result, folder)
    assert len(list(folder.parent.iterdir())) == 1


def _break(folder: Path, how: str) -> None:
    scores, document = folder / "scores.parquet", folder / "result.json"
    table = pq.read_table(scores)
    match how:
        case "no result":
            document.unlink()
        case "no scores":
            scores.unlink()
        case "not JSON":
            document.write_bytes(b"\xff\xfe{")
        case "deep JSON":
            document.write_text("[" * 200_000)
        case "truncated JSON":
            document.write_text(document.read_text()[:-50])
        case "truncated Parquet":
            scores.write_bytes(scores.read_bytes()[:-20])
        case "not Parquet":
            scores.write_bytes(b"PAR1" + bytes(100) + b"PAR1")
        case "fewer rows":
            pq.write_table(table.slice(1), scores)
        case "no flags":
            pq.write_table(table.drop_columns("flagged"), scores)
        case "flags with gaps":
            gaps = pa.array([None] + [False] * (table.num_rows - 1), pa.bool_())
            pq.write_table(table.drop_columns("flagged").append_column("flagged", gaps), scores)
        case "flags as text":
            words = pa.array(["yes"] * table.num_rows)
            pq.write_table(table.drop_columns("flagged").append_column("flagged", words), scores)
        case "flags flipped":
            flipped = pa.array(~table["flagged"].to_numpy())
            pq.write_table(table.drop_columns("flagged").append_column("flagged", flipped), scores)
        case "severity changed":
            changed = json.loads(document.read_text())
            changed["findings"][0]["severity"] = "natural"
            document.write_text(json.dumps(changed))


@pytest.mark.parametrize(
    "how",
    [
        "no result",
        "no scores",
        "not JSON",
        "deep JSON",
        "truncated JSON",
        "truncated Parquet",
        "not Parquet",
        "fewer rows",
        "no flags",
        "flags with gaps",
        "flags as text",
        "flags flipped",
        "severity changed",
    ],
)
def test_what_is_read_back_is_hostile(folder: Path, how: str) -> None:
    _break(folder, how)
    with pytest.raises(InputError) as caught:
        read_scan(folder)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_path_that_is_no_scan(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    for path in (tmp_path, tmp_path / "missing", file):
        with pytest.raises(BezoarError):
            read_scan(path)
