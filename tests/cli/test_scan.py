from __future__ import annotations

import json
from pathlib import Path

import pytest

import bezoar.scan
from bezoar.scan.result import Status
from cli.support import Cli, fake_scan, image_folder


@pytest.mark.usefixtures("poisoned")
def test_findings_exit_with_1_in_every_form(cli: Cli, dataset: Path) -> None:
    text = cli("scan", dataset)
    assert text.code == 1
    assert text.out.replace("\n", "").startswith(f"POISONED  {dataset}")  # a long path may be wrapped
    assert not text.err
    document = cli("scan", dataset, "--format", "json", "--seed", 7, "--alpha", 0.05)
    assert document.code == 1
    parsed = json.loads(document.out)
    assert parsed["flagged"] == 2
    assert parsed["settings"] == {"encoder": "default", "seed": 7, "alpha": 0.05}


@pytest.mark.usefixtures("clean")
def test_clean_exits_with_0(cli: Cli, dataset: Path) -> None:
    assert cli("scan", dataset).code == 0
    assert cli("scan", dataset, "--strict").code == 0


def test_undecided_exits_with_3_only_under_strict(
    cli: Cli, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(vars(bezoar.scan), "scan", fake_scan(status=Status.UNDECIDED))
    assert cli("scan", dataset).code == 0
    assert cli("scan", dataset, "--strict").code == 3
    assert cli("scan", dataset, "--strict", "--format", "json").code == 3


@pytest.mark.usefixtures("poisoned")
def test_writes_the_folder_and_says_where(cli: Cli, dataset: Path) -> None:
    outcome = cli("scan", dataset, "-o", "result")
    assert outcome.code == 1
    assert "Report: result/report.html" in outcome.out
    assert sorted(path.name for path in Path("result").iterdir()) == [
        "report.html",
        "result.json",
        "scores.parquet",
    ]
    other = cli("scan", dataset, "--out", "other", "--format", "json")
    assert json.loads(other.out)["flagged"] == 2
    assert other.err == "report: other/report.html\n"


def test_looks_at_the_output_path_before_it_scans(
    cli: Cli, dataset: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(vars(bezoar.scan), "scan", None)
    Path("there").mkdir()
    assert "exists already" in cli("scan", dataset, "-o", "there").error
    assert "no such folder" in cli("scan", dataset, "-o", "missing/there").error
    folder = image_folder(tmp_path / "images")
    inside = cli("scan", folder, "-o", folder / "result")
    assert inside.code == 64
    assert "inside the dataset" in inside.error
