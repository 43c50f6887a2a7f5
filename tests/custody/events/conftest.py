from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Each test remembers checkpoints in a folder of its own."""
    folder = tmp_path / "state"
    monkeypatch.setenv("BEZOAR_STATE", str(folder))
    return folder
