from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import bezoar.scan
from bezoar.data.dataset import Dataset
from bezoar.scan.result import ScanResult, Status
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
    assert {name: parsed["settings"][name] for name in ("encoder", "seed", "alpha")} == {
        "encoder": "default",
        "seed": 7,
        "alpha": 0.05,
    }
    log = cli("scan", dataset, "--format", "sarif")
    assert log.code == 1
    assert not log.err
    assert [row["level"] for row in json.loads(log.out)["runs"][0]["results"]] == ["error", "warning"]


@pytest.mark.parametrize("form", ["text", "json", "sarif"])
@pytest.mark.parametrize(
    ("scan", "code", "strict"),
    [
        (fake_scan(), 0, 0),
        (fake_scan((), (2,)), 0, 0),
        (fake_scan((1, 5), (2,)), 1, 1),
        (fake_scan(status=Status.UNDECIDED), 0, 3),
    ],
    ids=["clean", "review only", "poisoned", "undecided"],
)
def test_exit_codes_do_not_depend_on_the_form(
    cli: Cli,
    dataset: Path,
    monkeypatch: pytest.MonkeyPatch,
    form: str,
    scan: Callable[..., ScanResult],
    code: int,
    strict: int,
) -> None:
    monkeypatch.setitem(vars(bezoar.scan), "scan", scan)
    assert cli("scan", dataset, "--format", form).code == code
    assert cli("scan", dataset, "--format", form, "--strict").code == strict


def test_options_reach_the_scan(cli: Cli, dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, object] = {}

    def scan(dataset: Dataset, **options: object) -> ScanResult:
        seen.update(options)
        return fake_scan()(dataset, **options)

    monkeypatch.setitem(vars(bezoar.scan), "scan", scan)
    assert cli("scan", dataset).code == 0
    assert (seen["depth"], seen["trusted"], seen.get("source")) == ("standard", None, None)
    assert cli("scan", dataset, "--depth", "deep", "--trusted", dataset, "--source-column", "url").code == 0
    assert (seen["depth"], seen["source"]) == ("deep", "url")
    assert isinstance(seen["trusted"], Dataset)
    assert len(seen["trusted"]) == 8


def test_bad_options_are_refused_before_the_scan(
    cli: Cli, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(vars(bezoar.scan), "scan", None)
    for argv, code, words in (
        ([dataset, "--depth", "abyss"], 64, "'abyss' is not one of 'quick', 'standard', 'deep'"),
        ([dataset, "--trusted", "missing"], 2, "missing: no such file or folder"),
        ([dataset, "--trusted", ""], 64, "the path is empty"),
        ([""], 64, "the path is empty"),
        ([dataset, "--out", ""], 64, "the path is empty"),
    ):
        outcome = cli("scan", *argv)
        assert outcome.code == code, argv
        assert words in outcome.error
    assert cli("clean", dataset, "", "--scan", "x").code == 64


@pytest.mark.usefixtures("poisoned")
def test_writes_the_folder_and_says_where(cli: Cli, dataset: Path) -> None:
    outcome = cli("scan", dataset, "-o", "result")
    assert outcome.code == 1
    assert "Report: result/report.html" in outcome.out
    assert sorted(path.name for path in Path("result").iterdir()) == [
        "report.html",
        "result.json",
        "scan.sarif",
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
