"""docs/acquisition.md says what is: its commands are run, and its reasons are those of a fetch."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bezoar.acquire.reasons import Reason
from cli.acquisition_page import PAGE, masked, run_page


@pytest.mark.slow
def test_every_command_prints_what_the_page_says(tmp_path: Path) -> None:
    """If this fails because an output was changed on purpose: `PYTHONPATH=tests python tests/cli/acquisition_page.py`."""
    page = PAGE.read_text(encoding="utf-8")
    assert page.count("\n$ bezoar") > 10
    assert masked(run_page(page, tmp_path)) == masked(page)


def test_the_page_explains_every_reason() -> None:
    page = PAGE.read_text(encoding="utf-8")
    table = page[page.index("| reason | meaning |") : page.index("## Limits")]
    assert set(re.findall(r"`([a-z_]+)`", "".join(line.split("|")[1] for line in table.splitlines()[2:] if "|" in line))) == {
        reason.value for reason in Reason
    }  # fmt: skip
