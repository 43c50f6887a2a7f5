from __future__ import annotations

from pathlib import Path

import pytest

import bezoar.scan
from bezoar.cli import main
from cli.support import Cli, Outcome, fake_scan, parquet


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cli:
    """`cli("scan", path, ...)`: one command, in an empty folder with a cache of its own."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("BEZOAR_CACHE", str(tmp_path / "cache"))

    def run(*argv: object) -> Outcome:
        capsys.readouterr()
        code = main([str(part) for part in argv])
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return run


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Eight records in two classes."""
    return parquet(tmp_path / "signs.parquet")


@pytest.fixture
def poisoned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scans flag records 1 and 5, and want record 2 reviewed."""
    monkeypatch.setitem(vars(bezoar.scan), "scan", fake_scan((1, 5), (2,)))


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scans find nothing."""
    monkeypatch.setitem(vars(bezoar.scan), "scan", fake_scan())
