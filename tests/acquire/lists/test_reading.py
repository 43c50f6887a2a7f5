"""Every kind of list gives the same rows, whole or in slices, and says what is wrong with it in one line."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import tracemalloc
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from bezoar.acquire.lists.batches import batches
from bezoar.acquire.lists.reading import Columns, Row, UrlList
from bezoar.errors import InputError, LimitError, UsageError

COUNT = 23
ROWS = [
    {
        "URL": f"http://example.org/{i}.jpg",
        "TEXT": f'é "{i}",\tor so' if i % 5 else "",
        "WIDTH": str(i),
        "sha256": f"{i:064x}",
    }
    for i in range(COUNT)
]


def separated(mark: str) -> bytes:
    def cell(text: str) -> str:
        return '"' + text.replace('"', '""') + '"' if any(c in text for c in ',\t"\n') else text

    lines = [list(ROWS[0]), *(list(row.values()) for row in ROWS)]
    return "".join(mark.join(map(cell, line)) + "\r\n" for line in lines).encode()


def parquet(path: Path, rows: list[dict[str, Any]] = ROWS, **options: Any) -> Path:
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=4, **options)
    return path


def json_lines() -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n\n" for row in ROWS).encode()


TEXTS: dict[str, Callable[[], bytes]] = {
    "csv": lambda: separated(","),
    "tsv": lambda: separated("\t"),
    "jsonl": json_lines,
    "json": lambda: b"\n " + json.dumps(ROWS).encode(),
}
COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "": lambda data: data,
    ".gz": lambda data: gzip.compress(data[:99]) + gzip.compress(data[99:]),  # two members
    ".bz2": bz2.compress,
    ".xz": lambda data: (
        lzma.compress(data[:99]) + b"\0" * 8 + lzma.compress(data[99:])
    ),  # two streams, padded
    ".zst": lambda data: zstandard.compress(data[:99]) + zstandard.compress(data[99:]),
}
COLUMNS = Columns(extra=("WIDTH",))


def write(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


@pytest.fixture(
    params=[f"{kind}{c}" for kind in TEXTS for c in COMPRESSORS]
    + ["parquet", "parquet_large", "folder", "glob"]
)
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    kind = request.param
    if kind == "parquet":
        return parquet(tmp_path / "list.parquet")
    if kind == "parquet_large":  # no dictionaries, 64-bit offsets, the format told by its magic bytes
        schema = pa.schema([(name, pa.large_string()) for name in ROWS[0]])
        pq.write_table(
            pa.Table.from_pylist(ROWS, schema), tmp_path / "list", use_dictionary=False, store_schema=True
        )
        return tmp_path / "list"
    if kind in ("folder", "glob"):
        parquet(tmp_path / "part-1.parquet", ROWS[:9])
        parquet(tmp_path / "part-2.parquet", ROWS[9:])
        (tmp_path / "_SUCCESS").touch()
        return tmp_path if kind == "folder" else tmp_path / "part-*.parquet"
    kind, _, compression = kind.partition(".")
    suffix = f".{compression}" if compression else ""
    return write(tmp_path, f"list.{kind}{suffix}", COMPRESSORS[suffix](TEXTS[kind]()))


def as_row(number: int) -> Row:
    row = ROWS[number]
    return Row(number, row["URL"], row["TEXT"], row["sha256"], {"WIDTH": row["WIDTH"]})


def test_every_kind_gives_the_same_rows(path: Path) -> None:
    source = UrlList.open(path, COLUMNS)
    assert source.columns == Columns("URL", "TEXT", "sha256", "sha256", ("WIDTH",))
    assert len(source) == COUNT
    assert list(source.rows()) == [as_row(i) for i in range(COUNT)]
    assert source.extra_schema.names == ["WIDTH"]
    assert pa.types.is_string(source.extra_schema.field(0).type) or pa.types.is_large_string(
        source.extra_schema.field(0).type
    )


@pytest.mark.parametrize("size", [1, 4, 5, COUNT, 100])
def test_slices_are_the_rows_in_pieces(path: Path, size: int) -> None:
    slices = list(UrlList.open(path, COLUMNS).slices(size))
    assert [number for number, _ in slices] == list(range(-(-COUNT // size)))
    assert [row for _, read in slices for row in read()] == [as_row(i) for i in range(COUNT)]


def test_slices_may_be_skipped_and_read_again_in_any_order(path: Path) -> None:
    slices = dict(UrlList.open(path, COLUMNS).slices(4))
    for number in (3, 1, 1, 5, 0):
        assert slices[number]() == [as_row(i) for i in range(4 * number, min(4 * number + 4, COUNT))]


def test_lines_of_urls(tmp_path: Path) -> None:
    content = b"\xef\xbb\xbfhttp://a/1\r\n\n  \nhttp://b/2\nhttp://c/\xff\nhttp://d/\x00\nlast"
    source = UrlList.open(write(tmp_path, "urls.txt", content))
    rows = list(source.rows())
    assert len(source) == 5
    assert [row.url for row in rows] == ["http://a/1", "http://b/2", "", "http://d/\0", "last"]
    assert rows[2].problem == "row 2 is not valid UTF-8"
    assert {(row.caption, row.expected) for row in rows} == {(None, None)}


def test_the_digest_depends_on_content_and_order_and_not_on_names(tmp_path: Path) -> None:
    def digest(*contents: bytes, name: str) -> str:
        folder = tmp_path / f"{name}{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        for number, content in enumerate(contents):
            write(folder, f"{name}{number}.txt", content)
        return UrlList.open(folder).digest

    assert digest(b"a\n", b"b\n", name="x") == digest(b"a\n", b"b\n", name="y")
    others = [digest(b"b\n", b"a\n", name="x"), digest(b"a\nb\n", name="x"), digest(b"a\nb", b"\n", name="x")]
    assert len({digest(b"a\n", b"b\n", name="x"), *others}) == 4


def test_a_bad_row_costs_only_itself(tmp_path: Path) -> None:
    csv = b"url,text,sha256\nhttp://a,x,1\nhttp://b,y\nhttp://c,\xff,2\n\nhttp://d,z,\n"
    rows = list(UrlList.open(write(tmp_path, "l.csv", csv)).rows())
    assert [row.problem for row in rows] == [
        "", "row 1 has 2 fields where the header has 3", "row 2 is not valid UTF-8", "",
    ]  # fmt: skip
    assert [(row.url, row.caption, row.expected) for row in rows] == [
        ("http://a", "x", "1"), ("", "", None), ("", "", None), ("http://d", "z", None),
    ]  # fmt: skip


def test_bad_rows_of_json_lines(tmp_path: Path) -> None:
    lines = [
        b'{"url": "http://a", "text": 7, "sha256": null}', b"[1]", b"{", b'{"url": 5}', b'{"url": "\\ud800"}', b'{"url": null}',
        b"\xff", b'{"text": "no url"}', b"[" * 100_000,
    ]  # fmt: skip
    source = UrlList.open(write(tmp_path, "l.jsonl", b"\n".join(lines)))
    rows = list(source.rows())
    assert len(source) == len(rows) == len(lines)
    assert (rows[0].url, rows[0].caption) == ("http://a", "7")
    assert [row.url for row in rows[1:]] == [""] * 8
    problems = [row.problem.split(" (")[0].removeprefix(f"row {i} ") for i, row in enumerate(rows)]
    assert problems == [
        "", "is not a JSON object", "is not valid JSON", "has a URL that is no text",
        "has half of a surrogate pair, which no UTF-8 can hold", "", "is not valid UTF-8", "", "is not valid JSON",
    ]  # fmt: skip


def test_text_in_parquet_that_is_not_utf8(tmp_path: Path) -> None:
    texts = pa.array([b"fine", b"\xff", None, b"too"], pa.binary())
    table = pa.table(
        {"url": ["http://a"] * 4, "text": pa.Array.from_buffers(pa.string(), 4, texts.buffers())}
    )
    for dictionary in (True, False):
        pq.write_table(table, tmp_path / "l.parquet", use_dictionary=dictionary)
        rows = list(UrlList.open(tmp_path / "l.parquet").rows())
        assert [row.problem for row in rows] == ["", "row 1 is not valid UTF-8", "", ""]
        assert [row.caption for row in rows] == ["fine", "", "", "too"]


def test_a_binary_digest_is_spelled_in_hexadecimal(tmp_path: Path) -> None:
    table = pa.table({"url": ["http://a"], "sha256": pa.array([bytes(range(32))], pa.binary(32)), "n": [1.5]})
    pq.write_table(table, tmp_path / "l.parquet")
    source = UrlList.open(tmp_path / "l.parquet", Columns(extra=("n",)))
    assert [(r.expected, r.extra) for r in source.rows()] == [(bytes(range(32)).hex(), {"n": 1.5})]
    assert source.extra_schema == pa.schema([("n", pa.float64())])


REFUSED: dict[str, tuple[str, bytes, str]] = {
    "no url": (
        "l.csv",
        b"a,b\n1,2\n",
        r"l\.csv: no column url/image_url/img_url; columns: a, b \(name the URL column\)",
    ),
    "two urls": ("l.csv", b"url,URL\n1,2\n", "'url' or 'URL'\\?"),
    "doubled": ("l.csv", b"url,a,a\n1,2,3\n", "the column 'a' twice"),
    "empty": ("l.csv", b"", "is empty; a header row"),
    "no header": ("l.tsv", b"caption\thttp://a\n", "no column url"),
    "header in no UTF-8": ("l.csv", b"url,\xff\n", "header is not valid UTF-8"),
    "no rows": ("l.jsonl", b"\n\n", "has no rows that are JSON objects"),
    "cut array": ("l.json", b'[{"url": "http://a"}', "is not valid JSON"),
    "unknown": ("l.xlsx", b"PK", "is no list that is known"),
    "no parquet": ("l.parquet", b"PAR1 but not really PAR1", "is not a readable Parquet file"),
    "cut gzip": ("l.txt.gz", gzip.compress(b"http://a\n" * 999)[:-9], "truncated or corrupt"),
    "no gzip": ("l.csv.gz", b"url\nhttp://a\n", "truncated or corrupt"),
    "cut bzip2": ("l.txt.bz2", bz2.compress(b"http://a\n" * 999)[:-9], "truncated or corrupt"),
    "cut xz": ("l.txt.xz", lzma.compress(b"http://a\n" * 999)[:-9], "truncated or corrupt"),
    "cut zstd": ("l.txt.zst", zstandard.compress(b"http://a\n" * 999)[:-3], "truncated or corrupt"),
    "no zstd": ("l.txt.zst", b"http://a\n" * 9, "truncated or corrupt"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_list_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    file, content, message = REFUSED[name]
    path = write(tmp_path, file, content)
    with pytest.raises(InputError, match=message) as caught:
        len(UrlList.open(path))
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (Columns(url="link"), "no column 'link'; columns: URL, TEXT, WIDTH, sha256"),
        (Columns(caption="alt"), "no column 'alt'"),
        (Columns(hash="digest"), "no column 'digest'"),
        (Columns(extra=("HEIGHT",)), "no column 'HEIGHT'"),
    ],
)
def test_a_missing_column_is_told_with_those_that_exist(
    columns: Columns, message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        UrlList.open(parquet(tmp_path / "list.parquet"), columns)
    with pytest.raises(UsageError, match="no digest 'crc32'; known: sha256"):
        UrlList.open(parquet(tmp_path / "list.parquet"), Columns(hash_kind="crc32"))


def test_paths_that_hold_no_list(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for path, message in [
        (tmp_path / "none.csv", "no such file or folder"),
        (tmp_path / "empty", "has no list in it"),
        (tmp_path / "*.csv", "no file matches this pattern"),
    ]:
        with pytest.raises(InputError, match=message):
            UrlList.open(path)
    write(tmp_path, "a.csv", b"url\n")
    write(tmp_path, "a.txt", b"http://a\n")
    with pytest.raises(InputError, match=r"lists of several kinds \(csv, txt\); name a pattern"):
        UrlList.open(tmp_path)


def test_files_whose_columns_differ_are_not_read_as_one(tmp_path: Path) -> None:
    write(tmp_path, "1.csv", b"url,text\nhttp://a,x\n")
    write(tmp_path, "2.csv", b"url\nhttp://b\n")
    with pytest.raises(InputError, match=r"2\.csv: its columns are named otherwise than those of"):
        UrlList.open(tmp_path)


def test_a_url_column_of_another_type_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"url": [1, 2]}), tmp_path / "l.parquet")
    with pytest.raises(InputError, match="column 'url' holds int64, not URLs"):
        UrlList.open(tmp_path / "l.parquet")


def test_the_format_may_be_said(tmp_path: Path) -> None:
    path = write(tmp_path, "list.data", b"url\tcaption\nhttp://a\tx, y\n")
    with pytest.raises(InputError, match="no list that is known"):
        UrlList.open(path)
    assert [row.caption for row in UrlList.open(path, kind="tsv").rows()] == ["x, y"]


# Bombs: what is held stays small, however much a small file expands to.


@pytest.mark.parametrize("suffix", [s for s in COMPRESSORS if s])
def test_a_line_without_an_end_costs_only_itself(suffix: str, tmp_path: Path) -> None:
    packed = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".zst": zstandard.compress}[
        suffix
    ]
    for kind, before in (("txt", b"http://a\n"), ("jsonl", b'{"url": "http://a"}\n')):
        path = write(tmp_path, f"l.{kind}{suffix}", packed(before + b"a" * (32 << 20) + b"\n" + before))
        tracemalloc.start()
        source = UrlList.open(path)
        assert [row.problem for row in source.rows()] == ["", "row 1 is longer than 1,048,576 bytes", ""]
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 24 << 20


def test_a_row_of_csv_without_an_end(tmp_path: Path) -> None:
    for content in (b'url,text\nhttp://a,"' + b"line\n" * 300_000, b"url\n" + b"a" * (2 << 20)):
        with pytest.raises(
            LimitError, match=r"line \d+: the row is longer than .* bytes; is a quotation mark not closed?"
        ):
            len(UrlList.open(write(tmp_path, "l.csv", content)))


def test_a_field_of_csv_may_be_as_long_as_a_line(tmp_path: Path) -> None:
    path = write(tmp_path, "l.csv", b"url,text\ndata:" + b"a" * 500_000 + b",x\n")
    assert [len(row.url) for row in UrlList.open(path).rows()] == [500_005]


def test_one_long_text_that_stands_for_many_rows_of_parquet(tmp_path: Path) -> None:
    """A dictionary page of 4 MB, referred to by 5,000 rows, would be 20 GB; each row by itself is none too large."""
    text = pa.DictionaryArray.from_arrays(pa.array([0] * 5_000, pa.int32()), pa.array(["x" * (4 << 20)]))
    path = tmp_path / "l.parquet"
    pq.write_table(
        pa.table({"url": ["http://a"] * 5_000, "text": text}).cast(
            pa.schema([("url", pa.string()), ("text", text.type)])
        ),
        path,
        store_schema=False,
        compression="zstd",
    )
    assert path.stat().st_size < 2**20
    rows = UrlList.open(path).rows()
    before = pa.default_memory_pool().max_memory()
    assert [len(next(rows).caption or "") for _ in range(40)] == [4 << 20] * 40
    assert pa.default_memory_pool().max_memory() - before < 400 << 20
    with pytest.raises(LimitError, match="choose fewer samples a shard"):
        dict(UrlList.open(path).slices(5_000))[0]()


def test_rows_of_parquet_that_are_too_large(tmp_path: Path) -> None:
    table = pa.table({"url": ["http://a"] * 65, "text": ["", *["x" * (3 << 20)] * 64]})
    pq.write_table(table, tmp_path / "l.parquet", compression="zstd", use_dictionary=False)
    with pytest.raises(LimitError, match="rows of more than"):
        list(UrlList.open(tmp_path / "l.parquet").rows())


def test_an_xz_file_that_asks_for_much_memory(tmp_path: Path) -> None:
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 30}]
    encoder = lzma.LZMACompressor(filters=filters)
    try:
        content = encoder.compress(b"http://a\n") + encoder.flush()
    except MemoryError:
        pytest.skip("this machine cannot make such a file")
    with pytest.raises(InputError, match="truncated or corrupt"):
        len(UrlList.open(write(tmp_path, "l.txt.xz", content)))


def test_a_slice_that_would_not_fit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bezoar.acquire.lists.reading.MAX_SLICE", 100)
    source = UrlList.open(parquet(tmp_path / "list.parquet"))
    with pytest.raises(LimitError, match="choose fewer samples a shard"):
        dict(source.slices(20))[0]()


def test_a_list_that_shrinks_while_it_is_read(tmp_path: Path) -> None:
    path = write(tmp_path, "l.txt", b"http://a\n" * 10)
    slices = dict(UrlList.open(path).slices(5))
    write(tmp_path, "l.txt", b"http://a\n" * 7)
    with pytest.raises(InputError, match="it changed while it was read"):
        slices[1]()


def test_a_footer_that_promises_too_many_rows(tmp_path: Path) -> None:
    """Cut out of a good file: the pages of a row group that its footer still names are gone."""
    path = parquet(tmp_path / "l.parquet", compression="none", use_dictionary=False)
    content = path.read_bytes()
    place = content.index(b"http://example.org/5.jpg")
    path.write_bytes(content[:place] + b"\xff" * 400 + content[place + 400 :])
    with pytest.raises(InputError):
        list(UrlList.open(path).rows())


@settings(max_examples=150, deadline=None)
@given(
    content=st.binary(max_size=400),
    kind=st.sampled_from(["txt", "csv", "tsv", "jsonl", "json", "parquet"]),
    begin=st.binary(max_size=8),
)
def test_any_bytes_give_rows_or_one_typed_error(
    content: bytes, kind: str, begin: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / f"any.{kind}"
    path.write_bytes((b"url,text\n" if kind == "csv" else b"") + begin + content)
    try:
        source = UrlList.open(path)
        rows = list(source.rows())
    except InputError:
        return
    assert len(rows) == len(source)
    for row in rows:
        (row.url + (row.caption or "") + row.problem).encode()


@pytest.mark.parametrize("suffix", COMPRESSORS)
@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "json"])
def test_a_kind_may_name_the_compression(tmp_path: Path, kind: str, suffix: str) -> None:
    path = tmp_path / f"list{suffix}"
    path.write_bytes(COMPRESSORS[suffix](TEXTS[kind]()))
    assert len(UrlList.open(path, kind=kind + suffix)) == COUNT


def test_views_of_parquet_are_plain(tmp_path: Path) -> None:
    texts = pa.array(["http://a.example/1", None], pa.string_view())
    nested = pa.array([["a"], None], pa.list_(pa.string_view()))
    path = tmp_path / "list.parquet"
    pq.write_table(pa.table({"url": texts, "v": texts, "b": texts.cast(pa.binary_view()), "n": nested}), path)
    opened = UrlList.open(path, Columns(extra=("v", "b", "n")))
    assert opened.extra_schema.types == [pa.string(), pa.binary(), pa.list_(pa.string())]
    assert [row.url for row in opened.rows()] == ["http://a.example/1", ""]
    assert next(opened.rows()).extra == {
        "v": "http://a.example/1",
        "b": b"http://a.example/1",
        "n": ["a"],
    }


def test_a_view_that_is_not_utf_8_costs_its_row(tmp_path: Path) -> None:
    texts = pa.array([b"http://a.example/1", b"\xff"]).view(pa.string()).cast(pa.string_view())
    pq.write_table(pa.table({"url": texts}), tmp_path / "list.parquet")
    first, second = UrlList.open(tmp_path / "list.parquet").rows()
    assert (first.url, second.url) == ("http://a.example/1", "")
    assert second.problem == "row 1 is not valid UTF-8"


@pytest.mark.parametrize(
    "column",
    [
        pa.array([1], pa.timestamp("ns")),
        pa.array([1], pa.duration("ns")),
        pa.array([1], pa.time64("ns")),
        pa.array([10**7], pa.date32()),
        pa.array([1], pa.timestamp("us", tz="Mars/X")),
        pa.ListArray.from_arrays(pa.array([0, 1], pa.int32()), pa.array([b"\xff"]).view(pa.string())),
    ],
    ids=lambda column: str(column.type),
)
@pytest.mark.skipif(find_spec("pandas") is not None, reason="pandas has types for more values")
def test_values_that_python_does_not_have_are_one_line(tmp_path: Path, column: pa.Array) -> None:
    path = tmp_path / "list.parquet"
    pq.write_table(pa.table({"url": ["http://a.example/1"], "odd": column}), path)
    with pytest.raises(InputError, match=r"column 'odd' holds .* cannot be carried along"):
        list(UrlList.open(path, Columns(extra=("odd",))).rows())
    with pytest.raises(InputError, match=r"column 'odd' holds"):
        list(batches(UrlList.open(path, Columns(hash="odd"))))
