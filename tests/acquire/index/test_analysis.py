"""Exact counts for what was planted, and none for an ordinary list."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from acquire.index.lists import good, sha256, url, write
from bezoar.acquire.lists import batches, concentration, parquet_files, partitions
from bezoar.acquire.lists.analysis import IndexAnalysis, analyze
from bezoar.acquire.lists.domains import Suffixes, suffix_list
from bezoar.acquire.lists.hashes import HashFault
from bezoar.acquire.lists.prices import Offer
from bezoar.acquire.lists.reading import Columns, UrlList
from bezoar.acquire.lists.sites import Oddity

DAY = date(2026, 11, 25)
CASES = {
    "ftp://a.com/x": Oddity.BAD_SCHEME,
    "file:///etc/passwd": Oddity.BAD_SCHEME,
    "data:image/png;base64,AAAA": Oddity.BAD_SCHEME,
    "javascript:alert(1)": Oddity.BAD_SCHEME,
    "HTTP://user:pw@a.com/": Oddity.USERINFO,
    "http://a.com@b.com/": Oddity.USERINFO,
    "http://93.184.216.34/x": Oddity.IP_HOST,
    "http://[2606:2800:220:1::1]/x": Oddity.IP_HOST,
    "http://127.0.0.1/": Oddity.LOCAL_HOST,
    "http://169.254.169.254/latest/": Oddity.LOCAL_HOST,
    "http://[::1]/": Oddity.LOCAL_HOST,
    "http://localhost/": Oddity.LOCAL_HOST,
    "http://printer/": Oddity.LOCAL_HOST,
    "http://a.internal/": Oddity.LOCAL_HOST,
    "http://2130706433/": Oddity.BAD_URL,
    "http://0x7f.1/": Oddity.BAD_URL,
    "http:///x": Oddity.BAD_URL,
    "a.com/x": Oddity.BAD_URL,
    "http://a.com\\@b.com/": Oddity.USERINFO,
    "http://a.com\\b.com/": Oddity.BAD_URL,
    "http://a..com/": Oddity.BAD_URL,
    "http://a.com/\x1b[2J": Oddity.BAD_URL,
    "http://" + "a" * 9000 + ".com/": Oddity.BAD_URL,
    "http://" + "a." * 200 + "com/": Oddity.BAD_URL,
    "https://a.com:8443/x": Oddity.ODD_PORT,
    "https://a.com:80/x": Oddity.ODD_PORT,
    "http://a.nosuchsuffix/x": Oddity.UNKNOWN_SUFFIX,
    "https://a.com/photo\u202egnp.exe": Oddity.HIDDEN_CHARACTERS,
    "https://a.com/\u200bx": Oddity.HIDDEN_CHARACTERS,
}


def of(path: Path, **options: Any) -> IndexAnalysis:
    options.setdefault("day", DAY)
    return analyze(UrlList.open(path, options.pop("columns", Columns())), suffix_list(), **options)


def found(analysis: IndexAnalysis) -> dict[Oddity, tuple[int, list[int]]]:
    return {each.oddity: (each.rows, [row.row for row in each.listed]) for each in analysis.findings}


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_a_clean_list(tmp_path: Path, suffix: str) -> None:
    analysis = of(good(tmp_path / f"list{suffix}", 700))
    assert not analysis.suspicious
    assert found(analysis) == {}
    assert (analysis.rows, analysis.https, analysis.http) == (700, 700, 0)
    assert (analysis.hashes.well_formed, analysis.hashes.missing, analysis.hashes.malformed) == (700, 0, {})
    assert (analysis.repeats.urls, analysis.repeats.rows, analysis.shared.digests) == (0, 0, 0)
    assert analysis.concentration.domains == 7
    assert analysis.concentration.herfindahl == pytest.approx(1 / 7)
    assert [(each.domain, each.rows, each.https) for each in analysis.concentration.top] == [
        (f"site{n}.com", 100, 100) for n in range(7)
    ]
    assert analysis.purchase is None


def test_what_is_ordinary_on_the_web(tmp_path: Path) -> None:
    """Spaces and letters beyond ASCII, international names, explicit default ports, upper case, queries with `@`."""
    urls = [
        "https://a.com/my photo.jpg", "https://a.com/käse.jpg", "https://bücher.de/x", "https://xn--bcher-kva.de/y",
        "HTTPS://A.COM:443/x", "http://a.com:80/x", "https://a.com/?to=x@y.com", "https://a.com", "https://a.com?x",
        "https://a.com/" + "x" * 3000, "https://my_host.a.com/x", "https://a.com./x", "http://user.blogspot.com/x",
        "https://\u4f8b\u3048.jp/x", "https://a.com/\U0001f600\ufe0f.png",
    ]  # fmt: skip
    analysis = of(write(tmp_path / "list.parquet", urls, [sha256(n) for n in range(len(urls))]))
    assert found(analysis) == {}
    assert {each.domain: each.rows for each in analysis.concentration.top} == {
        "a.com": 11, "xn--bcher-kva.de": 2, "blogspot.com": 1, "xn--r8jz45g.jp": 1,
    }  # fmt: skip
    assert (analysis.https, analysis.http, analysis.private, analysis.punycode) == (13, 2, 1, 3)


@pytest.mark.parametrize(("text", "oddity"), CASES.items(), ids=range(len(CASES)))
def test_one_odd_row(tmp_path: Path, text: str, oddity: Oddity) -> None:
    urls = [*(url(n) for n in range(20)), text, *(url(n) for n in range(20, 30))]
    analysis = of(write(tmp_path / "list.parquet", urls, [sha256(n) for n in range(31)]))
    assert analysis.suspicious
    assert found(analysis) == {oddity: (1, [20])}
    assert analysis.findings[0].listed[0].url == text[:300]
    assert analysis.findings[0].listed[0].reason


def test_all_odd_rows_together(tmp_path: Path) -> None:
    """Counts are exact, and the first rows are listed in order, whatever stands beside them and wherever batches end."""
    urls = [text for n, odd in enumerate(CASES) for text in (url(n), odd, odd + "y")]
    expected: dict[Oddity, list[int]] = {}
    for place, oddity in enumerate(CASES.values()):
        expected.setdefault(oddity, []).extend([3 * place + 1, 3 * place + 2])
    analysis = of(write(tmp_path / "list.parquet", urls), listed=3)
    assert found(analysis) == {
        oddity: (len(rows), rows[:3])
        for oddity, rows in sorted(expected.items(), key=lambda each: list(Oddity).index(each[0]))
    }


def test_no_url(tmp_path: Path) -> None:
    analysis = of(write(tmp_path / "list.parquet", [url(0), None, "", url(1)]))
    assert found(analysis) == {Oddity.BAD_URL: (2, [1, 2])}
    assert analysis.concentration.rows == 2


def test_hashes(tmp_path: Path) -> None:
    digests = [
        sha256(0), sha256(1).upper(), None, "", sha256(4)[:32], "0x" + sha256(5), "sha256:" + sha256(6), " " + sha256(7),
        sha256(8) + "\n", "n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg=", "12345678901", "-", "x" * 64, sha256(13)[:-1] + "g",
    ]  # fmt: skip
    analysis = of(write(tmp_path / "list.parquet", [url(n) for n in range(len(digests))], digests))
    hashes = analysis.hashes
    assert (hashes.column, hashes.well_formed, hashes.missing) == ("sha256", 2, 2)
    assert dict(hashes.malformed) == {
        HashFault.OTHER_LENGTH: 2, HashFault.PREFIX: 2, HashFault.SPACE: 2, HashFault.BASE64: 3, HashFault.OTHER: 1,
    }  # fmt: skip
    assert found(analysis) == {Oddity.HASH_MALFORMED: (10, list(range(4, 14)))}


def test_missing_hashes_are_counted_and_not_suspicious(tmp_path: Path) -> None:
    analysis = of(write(tmp_path / "list.txt", [url(n) for n in range(9)]))
    assert (analysis.hashes.column, analysis.hashes.missing, analysis.hashes.well_formed) == (None, 9, 0)
    assert not analysis.suspicious


@pytest.mark.parametrize("kind", ["md5", "sha1", "sha512"])
def test_other_kinds(tmp_path: Path, kind: str) -> None:
    import hashlib

    digests = [hashlib.new(kind, bytes([n]), usedforsecurity=False).hexdigest() for n in range(5)]
    path = write(
        tmp_path / "list.parquet", [url(n) for n in range(6)], None, **{kind: [*digests, digests[0] + "0"]}
    )
    analysis = of(path, columns=Columns(hash_kind=kind))
    assert (analysis.hashes.well_formed, sum(analysis.hashes.malformed.values())) == (5, 1)


@pytest.fixture(params=["memory", "files"])
def spilled(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything in memory, or nearly everything in files."""
    if request.param == "files":
        monkeypatch.setattr(partitions, "_HELD", 40)
        monkeypatch.setattr(concentration, "_HELD", 3)


@pytest.mark.usefixtures("spilled")
@pytest.mark.parametrize("rows", [64, 1 << 16])
def test_repeats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    monkeypatch.setattr(batches, "ROWS", rows)
    monkeypatch.setattr(parquet_files, "_ROWS", min(rows, 1024))
    urls: list[str | None] = [url(n) for n in range(500)]
    digests: list[str | None] = [sha256(n) for n in range(500)]
    urls[100], digests[100] = url(3), sha256(3).upper()  # the same twice
    urls[200], digests[200] = url(4), sha256("other")  # another digest
    urls[300], digests[300] = url(4), sha256(4)
    urls[301], digests[301] = url(5), None  # says nothing against it
    urls[400] = url(6)  # another digest again
    for n in range(12):  # one digest on twelve domains, one of them twice
        urls[450 + n], digests[450 + n] = f"https://placeholder{n}.org/x", sha256("placeholder")
    urls[462], digests[462] = "https://placeholder0.org/y", sha256("placeholder")
    for n in range(9):  # and one on nine, which is few
        urls[470 + n], digests[470 + n] = f"https://few{n}.org/x", sha256("few")
    path = write(tmp_path / "list.parquet", urls, digests)
    analysis = of(path)
    assert (analysis.repeats.urls, analysis.repeats.rows) == (4, 5)
    assert (analysis.repeats.contradicted, analysis.repeats.contradicting) == (2, 5)
    assert analysis.repeats.examples == ((4, 200), (6, 400))
    assert (analysis.shared.digests, analysis.shared.rows, analysis.shared.examples) == (
        1,
        13,
        ((450, 12, 13),),
    )
    assert found(analysis) == {Oddity.TWO_HASHES: (5, [200, 400]), Oddity.SHARED_HASH: (13, [450])}
    assert [row.url for finding in analysis.findings for row in finding.listed] == [
        url(4),
        url(6),
        "https://placeholder0.org/x",
    ]
    assert analysis.concentration.rows == 500
    assert analysis.concentration.domains == 7 + 12 + 9


@pytest.mark.usefixtures("spilled")
def test_concentration(tmp_path: Path) -> None:
    """One domain with half of the rows, one with a quarter, and so on."""
    sizes = [512, 256, 128, 64, 32, 16, 8, 4, 2, 1, 1]
    urls = [
        f"{'http' if i % 2 else 'https'}://d{n:02}.com/{i}"
        for n, size in enumerate(sizes)
        for i in range(size)
    ]
    analysis = of(write(tmp_path / "list.txt", urls))
    spread = analysis.concentration
    assert (spread.rows, spread.domains) == (1024, 11)
    assert spread.herfindahl == pytest.approx(sum((size / 1024) ** 2 for size in sizes))
    assert spread.control == ((100, 1), (1_000, 1), (10_000, 1))
    assert spread.largest == ((1, 512), (10, 1023))
    assert [(each.domain, each.rows, each.https) for each in spread.top[:2]] == [
        ("d00.com", 512, 256),
        ("d01.com", 256, 128),
    ]
    assert spread.curve[0] == (1, 512)
    assert spread.curve[-1] == (11, 1024)


def test_control_of_a_flat_list(tmp_path: Path) -> None:
    urls = [f"https://d{n}.com/" for n in range(1000)]
    analysis = of(write(tmp_path / "list.txt", urls))
    assert analysis.concentration.control == ((100, 1), (1_000, 1), (10_000, 10))
    assert analysis.concentration.largest == ((1, 1), (10, 10), (100, 100), (1000, 1000))


def test_private_suffixes(tmp_path: Path) -> None:
    urls = ["https://a.blogspot.com/", "https://b.blogspot.com/", "https://c.co.uk/", "https://d.c.co.uk/"]
    source = UrlList.open(write(tmp_path / "list.txt", urls))
    names = {
        suffixes: {each.domain for each in analyze(source, suffix_list(suffixes), day=DAY).concentration.top}
        for suffixes in Suffixes
    }
    assert names[Suffixes.ICANN] == {"blogspot.com", "c.co.uk"}
    assert names[Suffixes.ALL] == {"a.blogspot.com", "b.blogspot.com", "c.co.uk"}


def test_an_empty_list(tmp_path: Path) -> None:
    analysis = of(write(tmp_path / "list.csv", [], []))
    assert (analysis.rows, analysis.concentration.domains, analysis.suspicious) == (0, 0, False)
    assert of(write(tmp_path / "list2.csv", [], []), offers={"a.com": Offer(None, 5)}).purchase is not None


def test_same_as_row_by_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the batches say of a list is what its rows say: broken rows have no URL in both."""

    monkeypatch.setattr(batches, "ROWS", 3)
    monkeypatch.setattr(parquet_files, "_ROWS", 2)

    def both(path: Path) -> Sequence[tuple[str | None, str | None]]:
        source = UrlList.open(path)
        columns = [
            row
            for batch in batches.batches(source)
            for row in zip(*(c.to_pylist() for c in batch.columns), strict=True)
        ]
        assert columns == [(row.url or None, row.expected or None) for row in source.rows()]
        return columns

    broken = pa.array([b"https://a.com/", b"\xff\xfe", None, b"", b"https://b.com/"], pa.binary()).view(
        pa.string()
    )
    digests = pa.array([sha256(0), sha256(1), "", None, sha256(4)])
    pq.write_table(pa.table({"url": broken, "sha256": digests}), tmp_path / "a.parquet")
    assert both(tmp_path / "a.parquet") == [
        ("https://a.com/", sha256(0)), (None, None), (None, None), (None, None), ("https://b.com/", sha256(4))
    ]  # fmt: skip
    pq.write_table(pa.table({"url": digests, "sha256": broken}), tmp_path / "b.parquet")
    both(tmp_path / "b.parquet")
    binary = pa.array([bytes(32), None, b"x", bytes.fromhex(sha256(0)), b""], pa.binary())
    pq.write_table(
        pa.table({"url": pa.array(list("abcde"), pa.large_string()), "sha256": binary}),
        tmp_path / "c.parquet",
    )
    both(tmp_path / "c.parquet")
    pq.write_table(pa.table({"url": ["a", "b"], "sha256": [1, None]}), tmp_path / "d.parquet")
    both(tmp_path / "d.parquet")
    (tmp_path / "e.csv").write_bytes(b'url,sha256\nhttps://a.com,\xff\nx\n"",y\n')
    both(tmp_path / "e.csv")


def test_a_row_group_is_not_held(tmp_path: Path) -> None:
    """300,000 rows in one row group, 45 MB of texts, go through less."""
    rows = 300_000
    pq.write_table(
        pa.table(
            {"url": [url(n) + "x" * 80 for n in range(rows)], "sha256": [sha256(n) for n in range(rows)]}
        ),
        tmp_path / "list.parquet",
        row_group_size=rows,
    )
    source = UrlList.open(tmp_path / "list.parquet")
    before = pa.total_allocated_bytes()
    held = []
    for batch in batches.batches(source):
        held.append(pa.total_allocated_bytes() - before)
        del batch
    assert len(held) >= 3
    assert max(held) < 40 << 20
