"""docs/inspect.md says what is: its commands are run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cli.inspect_page import PAGE, masked, run_page
from cli.model_support import TARGET, fresh_signs, read_as, stamped


@pytest.mark.slow
def test_every_command_prints_what_the_page_says(tmp_path: Path) -> None:
    """If this fails because an output was changed on purpose: `PYTHONPATH=tests python tests/cli/inspect_page.py`."""
    page = PAGE.read_text(encoding="utf-8")
    assert page.count("\n$ bezoar") == 4
    assert masked(run_page(page, tmp_path)) == masked(page)
    images, labels = fresh_signs(per_class=15, seed=5)
    others = labels != TARGET
    success, accuracy = {}, {}
    for name in ("signs.pt2", "repaired.pt2"):
        accuracy[name] = np.mean(read_as(tmp_path / name, images) == labels)
        success[name] = np.mean(read_as(tmp_path / name, stamped(images[others])) == TARGET)
    assert success["signs.pt2"] > 0.9  # the mark that was planted, which no command has seen
    assert success["repaired.pt2"] < 0.05
    assert accuracy["repaired.pt2"] > accuracy["signs.pt2"] - 0.03
