from __future__ import annotations

import json
from pathlib import Path

import pytest

import bezoar
from cli.support import Cli


def test_as_text(cli: Cli) -> None:
    outcome = cli("doctor")
    assert outcome.code == 0
    for words in (f"bezoar {bezoar.__version__}", "numpy", "extras", "GFLOP/s", "SHA-256", "cache"):
        assert words in outcome.out


def test_as_json(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEZOAR_DATA", str(tmp_path))
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "features").write_bytes(bytes(1000))
    report = json.loads(cli("doctor", "--format", "json").out)
    assert report["gflops"] > 0
    assert report["sha256_gb_s"] > 0
    assert report["cores"] >= 1
    assert report["cache_bytes"] == 1000
    assert report["data_packs"] == str(tmp_path)
    assert set(report["extras"]) == {"torch", "onnx", "timm", "hf"}


def test_missing_extras_come_with_the_line_that_brings_them(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bezoar.cli.doctor._present", lambda module: module != "timm")
    text = cli("doctor").out
    assert 'pip install "bezoar[timm]"' in text
    assert text.count("pip install") == 1
