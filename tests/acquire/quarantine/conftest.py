from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Each test remembers checkpoints and hashes in folders of its own."""
    monkeypatch.setenv("BEZOAR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("BEZOAR_STATE", str(tmp_path / "state"))
    return tmp_path / "state"
