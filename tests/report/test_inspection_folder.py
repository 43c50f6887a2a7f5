from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bezoar.errors import OutputError
from bezoar.inspect.saved import load
from bezoar.report.inspection_folder import write_inspection
from report.inspection_builders import backdoor, inspection, shortcut


def test_writes_four_files_and_reads_back(tmp_path: Path) -> None:
    result = inspection((backdoor(), shortcut()))
    report = write_inspection(result, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "inspection.json",
        "inspection.sarif",
        "report.html",
        "triggers.npz",
    ]
    assert str(tmp_path / "out") in report.read_text(encoding="utf-8")  # in the command that repairs
    assert json.loads((tmp_path / "out" / "inspection.sarif").read_text())["version"] == "2.1.0"
    back = load(tmp_path / "out")
    assert back.verdict == result.verdict
    mine, theirs = result.findings[0].trigger, back.findings[0].trigger
    assert mine is not None
    assert theirs is not None
    np.testing.assert_array_equal(theirs.pattern, mine.pattern)


def test_never_overwrites(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(OutputError, match="exists already"):
        write_inspection(inspection(), tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())
