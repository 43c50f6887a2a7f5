"""The contact sheets of the docs."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from bezoar.demo.sheet import main
from bezoar.errors import UsageError


@pytest.mark.parametrize("name", ["signs", "creatures"])
def test_writes_a_small_picture(name: str, tmp_path: Path) -> None:
    path = tmp_path / "sheet.png"
    main([name, str(path)])
    assert path.stat().st_size < 400_000
    with Image.open(path) as sheet:
        assert sheet.width > 800


def test_unknown_sheet_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="usage"):
        main(["newts", str(tmp_path / "sheet.png")])
