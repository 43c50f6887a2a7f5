from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.support import trained_entry
from bezoar.bench.plan import Cell
from bezoar.bench.store import Entry, read_entries
from bezoar.bench.version import trial_version
from cli.support import Cli

pytest.importorskip("torch")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "work" / "log.jsonl"


def test_smoke_measures_shows_and_writes(cli: Cli, log: Path) -> None:
    done = cli("bench", "scan", "--smoke", "--results", log, "--jobs", 2, "--page", "page.md")
    assert done.code == 0, done.err
    assert "3 measured, 0 trained only, 1 impossible, 0 failed" in done.err
    assert "BadNets, fixed place" in done.out
    assert len(read_entries(log)) == 4
    assert json.loads(log.with_suffix(".json").read_text())["cells"]["measured"] == 3
    assert "# Benchmark of the scan" in (log.parent / "page.md").read_text()

    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(lines[:-1]) + lines[-1][:30])  # as after a crash in the last cell
    again = cli("bench", "scan", "--smoke", "--results", log, "--format", "json")
    assert again.code == 0, again.err
    assert "4 cells: 3 done, 1 to measure" in again.err
    assert json.loads(again.out)["cells"]["measured"] == 3
    assert len(read_entries(log)) == 4


def test_other_versions_count_when_kept(cli: Cli, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cli("bench", "scan", "--smoke", "--results", log, "--kind", "power")
    monkeypatch.setattr("bezoar.bench.version.code_version", lambda: "another")
    assert "1 to measure with another" in cli(
        "bench", "scan", "--smoke", "--kind", "power", "--results", log, "--dry-run"
    ).err  # fmt: skip
    kept = cli("bench", "scan", "--smoke", "--kind", "power", "--results", log, "--keep")
    assert "1 cells: 1 done, 0 to measure" in kept.err


def test_trials_are_trained_once(cli: Cli, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = cli("bench", "scan", "--smoke", "--kind", "potency", "--results", log)
    assert "0 measured, 1 trained only, 1 impossible" in trained.err
    again = cli("bench", "scan", "--smoke", "--kind", "potency", "--results", log)
    assert "2 cells: 2 done, 0 to measure" in again.err
    first = next(entry for entry in read_entries(log) if entry.outcome["status"] == "trained")
    planted = {**first.outcome, "potency_seconds": 12345.0}  # to know it by
    log.write_bytes(Entry(first.key, first.version, first.cell, planted).line())
    scanned = cli("bench", "scan", "--smoke", "--kind", "matrix", "--results", log)
    assert "2 measured, 0 trained only, 1 impossible" in scanned.err
    last = {entry.key: entry.outcome for entry in read_entries(log)}[first.key]
    assert (last["status"], last["potency_seconds"], last["potency"]) == (
        "measured",
        12345.0,
        first.outcome["potency"],
    )


def test_a_trial_that_failed_speaks_of_lower_rates_whatever_scanned_it(cli: Cli, log: Path) -> None:
    cell = Cell("attack", "badnets", "synthetic", 0.1, 0, 400, "quick", 15)
    failed = trained_entry(cell, "another version", trial_version("badnets"), took=False)
    log.parent.mkdir(exist_ok=True)
    log.write_bytes(failed.line())
    for kind in ("potency", "matrix"):
        done = cli("bench", "scan", "--smoke", "--kind", kind, "--results", log, "--dry-run")
        assert "1 implied" in done.err


def test_no_cell_begins_after_the_limit(cli: Cli, log: Path) -> None:
    done = cli("bench", "scan", "--smoke", "--results", log, "--limit-minutes", 0)
    assert done.code == 0
    assert "0 measured" in done.err


def test_ctrl_c_keeps_what_is_finished(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    argv = [sys.executable, "-m", "bezoar", "bench", "scan", "--smoke", "--jobs", "1", "--results", log]
    process = subprocess.Popen(
        argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 120
    while not (log.exists() and read_entries(log)) and time.monotonic() < deadline:
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the processes of the cells as well
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert "interrupted; all finished cells are kept" in err
    assert 1 <= len(read_entries(log)) < 4
    assert out


@pytest.mark.parametrize(
    "argv",
    [
        ["--seeds", "none"],
        ["--seeds", "0"],
        ["--seeds", "1001"],
        ["--seeds", "99999999999999999999"],
        ["--seeds", "0,99999999999999999999"],
        ["--packs", "imagenet"],
        ["--packs", ","],
        ["--only", "attack=none"],
        ["--only", "kind=foo"],
        ["--only", "seed=abc"],
        ["--only", "rate=nan"],
        ["--limit-minutes", "nan"],
        ["--results", "log.json"],
        ["--results", "log.jsonl", "--page", "log.jsonl"],
        ["--results", "log.jsonl", "--page", "./log.json"],
        ["--jobs", "0"],
        ["--depth", "deepest"],
    ],
)
def test_usage_errors(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, argv: list[str]) -> None:
    monkeypatch.setenv("BEZOAR_DATA", str(tmp_path))
    outcome = cli("bench", "scan", *argv)
    assert outcome.code == 64
    assert outcome.error.startswith("error: ")


def test_without_data_packs(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BEZOAR_DATA", raising=False)
    outcome = cli("bench", "scan", "--dry-run")
    assert outcome.code == 2
    assert "BEZOAR_DATA" in outcome.error


def test_missing_packs_are_named_and_left_out(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BEZOAR_DATA", str(tmp_path))
    outcome = cli("bench", "scan", "--dry-run")
    assert outcome.code == 0
    assert "left out, no such file: gtsrb" in outcome.err
    assert "0 cells" in outcome.err


def test_an_alien_log(cli: Cli, log: Path) -> None:
    log.write_text("hello\n")
    outcome = cli("bench", "page", "--results", log)
    assert outcome.code == 2
    assert "no measurement" in outcome.error


def test_an_incomplete_measurement(cli: Cli, log: Path) -> None:
    cell = Cell("attack", "badnets", "gtsrb", 0.01, 0)
    log.write_bytes(Entry(cell.key, "1", cell.fields(), {"status": "measured", "seconds": 1.0}).line())
    for argv in (["page"], ["scan", "--smoke"]):
        outcome = cli("bench", *argv, "--results", log)
        assert outcome.code == 2
        assert "log.jsonl, line 1" in outcome.error


@pytest.mark.parametrize("content", ['{"thesis": "mine"}', "first\nmy last line"])
def test_an_alien_file_is_left_as_it_is(cli: Cli, log: Path, content: str) -> None:
    log.write_text(content)
    outcome = cli("bench", "scan", "--smoke", "--results", log)
    assert outcome.code == 2
    assert "is no log of a benchmark" in outcome.error
    assert log.read_text() == content


def test_the_page_of_nothing(cli: Cli, log: Path) -> None:
    page = log.parent / "page.md"
    page.write_text("before")
    missing = cli("bench", "page", "--results", log, "--page", "page.md")
    assert missing.code == 2
    assert "no such file" in missing.error
    assert page.read_text() == "before"
    log.touch()
    assert cli("bench", "page", "--results", log, "--page", "page.md").code == 0
    assert "not measured" in page.read_text()


@pytest.mark.parametrize(("results", "page"), [("log.json", "page.md"), ("log.jsonl", "log.json")])
def test_the_page_never_overwrites_the_log(cli: Cli, log: Path, results: str, page: str) -> None:
    log.touch()
    log.with_suffix(".json").write_text("before")
    assert cli("bench", "page", "--results", results, "--page", page).code == 64
    assert log.with_suffix(".json").read_text() == "before"
