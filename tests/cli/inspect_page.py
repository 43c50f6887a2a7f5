"""Runs the commands of docs/inspect.md, in their order, in one shell, beside a model with a backdoor.

PYTHONPATH=tests python tests/cli/inspect_page.py        # writes into the page what they print now
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from cli import custody_page, model_support

PAGE = Path(__file__).parents[2] / "docs" / "inspect.md"
_CHANGING = (
    (re.compile(r"(?m)^ \S.*\bp = .*$"), "LABEL"),  # which labels stand out least is another on each machine
    (re.compile(r"\s+"), " "),  # and where lines wrap
    # and whether the square is told as a patch or as a faint pattern, as both come first to the same label
    (re.compile(r"\ba (small patch|faint pattern|slight warp)\b"), "A TRIGGER"),
    (re.compile(r"\bA (patch|shift|warp) that .*?(?= turns )"), "A TRIGGER"),
    (re.compile(r"\b(patch over|change of every pixel by) [\d.]+ % .*?(?= label )"), "SIZE"),
    (re.compile(r"Triggers recovered alike for .*?(?= In a clean model)"), "RIVALS"),
    (re.compile(r"(\d+ min )?[\d.]+ s\b"), "N s"),
    (re.compile(r"\brounds?\b"), "rounds"),
    (re.compile(r"\bp = [\d.]+( × 10[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)?"), "p = N"),
    (re.compile(r"─+"), "LINE"),
    (re.compile(r"\d+([.,]\d+)*(e-\d+)?"), "N"),
)


def run_page(page: str, folder: Path) -> str:
    """The page with what its commands print now."""
    model_support.image_folder(folder / "clean", per_class=14, seed=9)
    model_support.sign_reader(folder / "signs.pt2")
    with custody_page.Shell(folder) as shell:
        return custody_page.BLOCK.sub(lambda match: shell.block(match[1]), page)


def masked(page: str) -> str:
    """A page without what is another on every machine."""
    for pattern, name in _CHANGING:
        page = pattern.sub(name, page)
    return custody_page.masked(page)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as where:
        PAGE.write_text(run_page(PAGE.read_text(encoding="utf-8"), Path(where)), encoding="utf-8")
