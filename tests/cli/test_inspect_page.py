"""docs/inspect.md says what is: its commands are run."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.inspect_page import PAGE, masked, run_page


@pytest.mark.slow
def test_every_command_prints_what_the_page_says(tmp_path: Path) -> None:
    """If this fails because an output was changed on purpose: `PYTHONPATH=tests python tests/cli/inspect_page.py`."""
    page = PAGE.read_text(encoding="utf-8")
    assert page.count("\n$ bezoar") == 4
    assert masked(run_page(page, tmp_path)) == masked(page)
