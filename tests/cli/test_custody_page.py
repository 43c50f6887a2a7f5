"""docs/custody.md says what is: its commands are run, and the script that needs no Bezoar checks a proof."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from cli.custody_page import PAGE, masked, run_page
from cli.seal_support import note_signer, sealed
from cli.support import Cli, image_folder


@pytest.mark.slow
def test_every_command_prints_what_the_page_says(tmp_path: Path) -> None:
    """If this fails because an output was changed on purpose: `PYTHONPATH=tests python tests/cli/custody_page.py`."""
    page = PAGE.read_text(encoding="utf-8")
    assert page.count("\n$ bezoar") > 30
    assert masked(run_page(page, tmp_path)) == masked(page)


def test_the_script_that_needs_no_bezoar(cli: Cli) -> None:
    (script,) = re.findall(
        r"```python\n(# check_record.py.*?)```\n", PAGE.read_text(encoding="utf-8"), re.DOTALL
    )
    folder = image_folder(Path("signs"))
    sealed(folder, noted=note_signer())
    assert cli("prove", folder, "Stop/002.png", "--out", "proof").code == 0

    def run(record: str, key: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-I", "-c", script, "proof", record, key], capture_output=True, text=True
        )

    good = run("signs/Stop/002.png", note_signer().key.text)
    assert good.stdout == "proved: Stop/002.png label Stop record 2 of 8\n", good.stderr
    assert run("signs/Stop/001.png", note_signer().key.text).returncode != 0
    assert run("signs/Stop/002.png", note_signer(2).key.text).returncode != 0
    proof = Path("proof").read_text()
    for old, new in (("index 2", "index 3"), ("\n8\n", "\n9\n")):
        Path("proof").write_text(proof.replace(old, new))
        assert run("signs/Stop/002.png", note_signer().key.text).returncode != 0
