"""A fuzz target per parser of what the network, a list or an output gives; see tests/custody/fuzzing.py."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from acquire.images.pictures import ALLOWED
from bezoar.acquire.archives.extracting import entries
from bezoar.acquire.archives.limits import ArchiveLimits
from bezoar.acquire.http.answers import problem_of, read_head
from bezoar.acquire.http.exchange import Policy
from bezoar.acquire.http.urls import check_url, follow
from bezoar.acquire.hub.tree import read_tree
from bezoar.acquire.images.checking import check
from bezoar.acquire.lists.domains import suffix_list
from bezoar.acquire.lists.prices import read_prices
from bezoar.acquire.lists.reading import Columns, UrlList
from bezoar.acquire.quarantine.held import Held, Settled, parse_line
from bezoar.acquire.reasons import Reason
from bezoar.errors import InputError
from custody.fuzzing import fuzz

LIMITS = ArchiveLimits(entries=100, file_bytes=1 << 20, total_bytes=1 << 22)
SHA256 = "ab" * 32


def text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def test_fuzz_images() -> None:
    fuzz(check, [content for content, _ in ALLOWED.values()])


def test_fuzz_urls() -> None:
    urls = [b"https://a.example:8443/p?q=1#f", "http://bücher.example/ü".encode(), b"http://[2001:db8::1]/x"]
    start = check_url("https://a.example/b/c")
    fuzz(lambda data: check_url(text(data)), urls)
    fuzz(lambda data: follow(start, text(data)), [urls[0], b"/b/../c", b"?d"])


def test_fuzz_heads() -> None:
    heads = [
        b"HTTP/1.1 301 x\r\nLocation: /b\r\n\r\n"
        b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nX-Robots-Tag: bot: noai, noindex\r\n\r\n",
        b'HTTP/2 206\r\nContent-Range: bytes 0-9/10\r\nETag: W/"a"\r\n'
        b"Retry-After: Wed, 21 Oct 2015 07:28:00 GMT\r\n\r\n",
    ]

    def read(data: bytes) -> None:
        lines = [b"HTTP/1.1 503 x\r\n", *data.split(b"\r\n")[1:]]  # libcurl lets no other status line through
        answer = read_head([line + b"\r\n" for line in lines if not line.startswith(b"HTTP/")])
        problem_of(answer, "bytes=0-9", 100, Policy())
        answer.retry_after_s()

    fuzz(read, heads)


def archives() -> list[bytes]:
    plain, packed = io.BytesIO(), io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("d/ä.txt")
        info.size = 5
        archive.addfile(info, io.BytesIO(b"hello"))
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as folder:
        folder.writestr("d/a.txt", b"hello" * 99)
    return [
        plain.getvalue()[:4096] + bytes(1024),
        gzip.compress(plain.getvalue(), mtime=0),
        packed.getvalue(),
    ]


def test_fuzz_archives() -> None:
    def read(data: bytes) -> int:
        found = entries(io.BytesIO(data), "a", LIMITS)
        return sum(len(piece) for entry in found for piece in entry.pieces or ())

    result = fuzz(read, archives())
    assert 0 < result.accepted < result.tried


def test_fuzz_trees() -> None:
    tree = [
        {"type": "directory", "path": "d", "oid": "1" * 40, "size": 0},
        {"type": "file", "path": "d/a", "oid": "2" * 40, "size": 3, "lfs": {"oid": SHA256, "size": 3, "pointerSize": 130}},
    ]  # fmt: skip

    def read(data: bytes) -> Any:
        try:
            page = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise InputError("as the client does") from error
        return read_tree([page], "hub", 100)

    fuzz(read, [json.dumps(tree).encode()])


def test_fuzz_quarantine() -> None:
    held = Held("0001", "http://a/", Reason.HASH_MISMATCH, sha256=SHA256, size=3, fetched=1.0, extra={"a": 1})
    settled = Settled("0001", SHA256, "released", "asked", datetime(2026, 1, 1, tzinfo=UTC).timestamp())
    fuzz(lambda data: parse_line(data, "q"), [held.to_line(), settled.to_line()])


def parquet() -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table({"url": ["http://a/1", "http://a/2"], "sha256": [SHA256, None]}), out)
    return out.getvalue()


LISTS = {
    "txt": b"http://a/1\nhttp://a/2\n",
    "csv": b'url,caption,sha256\nhttp://a/1,"a ""b"",c",' + SHA256.encode() + b"\n",
    "tsv": b"url\tcaption\nhttp://a/1\tx\n",
    "jsonl": b'{"url": "http://a/1", "sha256": "' + SHA256.encode() + b'"}\n{"url": null}\n',
    "json": b'[{"url": "http://a/1", "caption": "\\u00e4"}]',
    "csv.gz": gzip.compress(b"url\nhttp://a/1\n", mtime=0),
    "parquet": parquet(),
}


@pytest.mark.parametrize("kind", LISTS)
def test_fuzz_lists(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"list.{kind}"

    def read(data: bytes) -> None:
        path.write_bytes(data)
        source = UrlList.open(path, Columns())
        assert sum(1 for _ in source.rows()) == len(source)

    fuzz(read, [LISTS[kind]])


def test_fuzz_prices(tmp_path: Path) -> None:
    path, suffixes = tmp_path / "prices.csv", suffix_list()

    def read(data: bytes) -> None:
        path.write_bytes(data)
        read_prices(path, suffixes)

    fuzz(read, [b"domain,expires,price\na.example,2027-01-31,12.50\nb.co.uk,,\n"])
