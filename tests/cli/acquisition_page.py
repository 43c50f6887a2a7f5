"""Runs the commands of docs/acquisition.md, in their order, in one shell, beside a server that stands for the web.

PYTHONPATH=tests python tests/cli/acquisition_page.py        # writes into the page what they print now
"""

from __future__ import annotations

import csv
import io
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from acquire.servers import Asked, page, page_404, serve
from bezoar.demo.signs import render
from cli import custody_page

PAGE = Path(__file__).parents[2] / "docs" / "acquisition.md"
_PORT = "8471"
_ROWS = 12
_CHANGING = (
    (re.compile(r"\b[0-9a-f]{16}\b"), "ID"),
    (re.compile(r"[\d.]+ k?B? ?(bytes )?in [\d.]+ s(, [\d,]+ rows a second)?"), "SPEED"),
    (re.compile(r"[\d.,]+ (kB|bytes)"), "SIZE"),
    (re.compile(r"(?m)^  0000[0-3]0  .*$"), "DUMP"),
    (re.compile(r":\d{4,5}\b"), ":PORT"),
    (re.compile(r"\(\d+ bits\)"), "(N bits)"),
)


def run_page(text: str, folder: Path) -> str:
    """The page with what its commands print now."""
    with _site(folder) as port, custody_page.Shell(folder) as shell:
        done = custody_page.BLOCK.sub(lambda match: shell.block(match[1]), text)
    return done.replace(f":{port}", f":{_PORT}")


def masked(text: str) -> str:
    """A page without what is another at every run."""
    for pattern, name in _CHANGING:
        text = pattern.sub(name, text)
    return custody_page.masked(text)


@contextmanager
def _site(folder: Path) -> Iterator[int]:
    """`site/` is served, `bought/` is what three pages will serve, `list.csv` names the pages."""
    for name in ("site", "bought"):
        (folder / name).mkdir()
    for number in range(_ROWS):
        _sign(number).save(folder / "site" / f"{number}.jpg", quality=95)
    _sign(3).save(folder / "bought" / "3.jpg", quality=35)
    _sign(99).save(folder / "bought" / "7.jpg", quality=95)
    (folder / "bought" / "9.jpg").write_text("<!DOCTYPE html><title>this domain is for sale</title>\n")

    def answer(asked: Asked) -> bytes:
        path = folder / "site" / asked.path.strip("/")
        return page(path.read_bytes(), content_type="image/jpeg") if path.is_file() else page_404(asked)

    with serve(answer) as server:
        rows = io.StringIO()
        table = csv.writer(rows, lineterminator="\n")
        table.writerow(["url", "caption"])
        table.writerows([f"{server.url}/{number}.jpg", f"traffic sign {number}"] for number in range(_ROWS))
        (folder / "list.csv").write_text(rows.getvalue())
        yield server.port


def _sign(seed: int) -> Image.Image:
    rng = np.random.default_rng(seed)
    return Image.fromarray(render(seed % 8, rng, 64))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as where:
        PAGE.write_text(run_page(PAGE.read_text(encoding="utf-8"), Path(where)), encoding="utf-8")
