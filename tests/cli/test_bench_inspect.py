from __future__ import annotations

import json
from pathlib import Path

import pytest

from bezoar.bench.zoo.recipes import SMOKE
from cli.support import Cli

pytest.importorskip("torch")


@pytest.mark.slow
def test_smoke_builds_inspects_calibrates_and_writes(cli: Cli, tmp_path: Path) -> None:
    log, zoo, page = tmp_path / "log.jsonl", tmp_path / "zoo", tmp_path / "page.md"
    given = ("bench", "inspect", "--smoke", "--zoo", zoo, "--results", log, "--jobs", 1)
    done = cli(*given, "--page", page, "--format", "json")
    assert done.code == 0, done.err
    summary = json.loads(done.out)
    assert summary["measured"] == 4
    assert summary["modes"]["data"]["backdoored"] == 1
    assert "# Benchmark of the inspection" in page.read_text()
    assert [recipe.role for recipe in SMOKE if f"{recipe.name}: " in done.err] == ["test", "test"]

    again = cli(*given)
    assert again.code == 0, again.err
    assert "4 measurements: 4 done, 0 to make" in again.err
    fitted = tmp_path / "calibration.json"
    assert cli(*given, "--calibrate", fitted).code == 0
    assert json.loads(fitted.read_text())["models"] == 1


def test_a_log_is_never_written_over(cli: Cli, tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    outcome = cli("bench", "inspect", "--smoke", "--results", log, "--page", log)
    assert outcome.code == 64
    assert "is where the measurements" in outcome.err
    assert cli("bench", "inspect", "--smoke", "--results", tmp_path / "log.json").code == 64


def test_a_zoo_that_is_a_file_is_refused_before_anything_is_trained(cli: Cli, tmp_path: Path) -> None:
    zoo = tmp_path / "zoo"
    zoo.write_bytes(b"")
    outcome = cli("bench", "inspect", "--smoke", "--zoo", zoo)
    assert outcome.code == 2
    assert "cannot hold a zoo" in outcome.err
    assert "synthetic" not in outcome.err
