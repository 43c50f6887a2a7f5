"""The manifest's form, its bounds, and what a damaged or hostile one does; the leaves of the snapshot."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from bezoar.custody.seal import manifest as manifest_module
from bezoar.custody.seal.manifest import GROUP_ROWS, Manifest, ManifestWriter, Row, digests, schema
from bezoar.custody.seal.snapshot import leaf, leaf_hashes, leaves
from bezoar.custody.tlog.merkle import leaf_hash
from bezoar.errors import InputError, LimitError, UsageError
from custody.fuzzing import fuzz

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@settings(max_examples=300, deadline=None)
@given(
    TEXT,
    st.none() | TEXT,
    st.binary(min_size=32, max_size=32),
    st.integers(0, 2**53 - 1),
    st.dictionaries(TEXT, TEXT),
)
def test_a_leaf_is_canonical_json(
    key: str, label: str | None, sha256: bytes, size: int, source: dict[str, str]
) -> None:
    value = {"key": key, "label": label, "sha256": sha256.hex(), "size": size, "source": source}
    assert leaf(key, label, sha256, size, source) == rfc8785.dumps(value)


def test_a_leaf_has_no_lone_surrogates() -> None:
    for key, label, source in (("\ud800", None, {}), ("k", "\udfff", {}), ("k", None, {"a": "\ud800"})):
        with pytest.raises(InputError, match="not valid Unicode"):
            leaf(key, label, bytes(32), 1, source)


def written(rows: list[Row], sources: list[str]) -> bytes:
    out = io.BytesIO()
    with ManifestWriter(out, sources, {"format": "test"}) as writer:
        writer.write(
            [
                pa.array([row.key for row in rows], pa.string()),
                digests(np.frombuffer(b"".join(row.sha256 for row in rows), np.uint8).reshape(-1, 32)),
                pa.array([row.size for row in rows], pa.int64()),
                pa.array([row.media_type for row in rows], pa.string()),
                pa.array([row.label for row in rows], pa.string()),
                *(pa.array([row.source.get(name) for row in rows], pa.string()) for name in sources),
            ]
        )
    return out.getvalue()


@settings(max_examples=50, deadline=None)
@given(
    st.dictionaries(
        TEXT, st.tuples(st.none() | TEXT, st.none() | TEXT, st.none() | TEXT), min_size=1, max_size=20
    )
)
def test_rows_come_back(made: dict[str, tuple[str | None, str | None, str | None]]) -> None:
    names = [
        "url",
        "\ue000 \U0001f600",
    ]  # of which UTF-16 and code points disagree about the order of the second kind
    rows = [
        Row(
            key,
            bytes([i] * 32),
            i,
            "x/y",
            label,
            {n: v for n, v in zip(names, (one, two), strict=True) if v is not None},
        )
        for i, (key, (label, one, two)) in enumerate(sorted(made.items()))
    ]
    found = Manifest.open(io.BytesIO(written(rows, names)), "here")
    assert list(found.rows()) == rows
    for batch in found.batches():
        assert leaves(batch) == [row.leaf() for row in rows]
        assert leaf_hashes(batch) == [leaf_hash(row.leaf()) for row in rows]
    for place, row in enumerate(rows):
        assert found.find(row.key) == place
        assert found.row(place) == row
    assert found.find("\U0010ffff" * 31) is None
    assert found.place("\U0010ffff" * 31) == len(rows)


def _many(count: int) -> tuple[bytes, list[Row]]:
    rows = [Row(f"{2 * n:08d}", bytes(32), n, "x/y", None, {}) for n in range(count)]
    return written(rows, []), rows


def test_many_row_groups() -> None:
    data, rows = _many(2 * GROUP_ROWS + 5)
    found = Manifest.open(io.BytesIO(data), "here")
    assert pq.ParquetFile(io.BytesIO(data)).metadata.num_row_groups == 3
    assert len(found) == len(rows)
    for start, end in (
        (0, 3),
        (GROUP_ROWS - 1, GROUP_ROWS + 1),
        (2 * GROUP_ROWS, len(rows)),
        (5, 5),
        (10, 2 * GROUP_ROWS + 1),
    ):
        assert list(found.rows(start, end)) == rows[start:end]
    for place in (0, 1, GROUP_ROWS - 1, GROUP_ROWS, 2 * GROUP_ROWS, len(rows) - 1):
        assert found.find(rows[place].key) == place
        assert found.find(f"{2 * place + 1:08d}") is None
        assert found.place(f"{2 * place + 1:08d}") == place + 1
    assert found.place("") == 0
    for bad in (-1, len(rows)):
        with pytest.raises(UsageError):
            found.row(bad)
    with pytest.raises(UsageError):
        list(found.rows(3, 2))


def test_the_same_rows_give_the_same_bytes() -> None:
    assert _many(10)[0] == _many(10)[0]


def _table(**changes: object) -> pa.Table:
    columns = {
        "key": pa.array(["a", "b", "c"]),
        "sha256": pa.array([bytes(32)] * 3, pa.binary(32)),
        "size": pa.array([1, 2, 3], pa.int64()),
        "media_type": pa.array(["x/y"] * 3),
        "label": pa.array(["l", None, "l"]),
        **changes,
    }
    metadata = schema([], {}).metadata
    fields = [pa.field(name, value.type, schema([], {}).field(name).nullable if name in schema([], {}).names else True)
              for name, value in columns.items()]  # fmt: skip
    return pa.Table.from_arrays(list(columns.values()), schema=pa.schema(fields, metadata))


def _open(table: pa.Table, **options: object) -> Manifest:
    out = io.BytesIO()
    pq.write_table(table, out, **options)
    return Manifest.open(out, "here")


def test_the_table_of_these_tests_is_a_manifest() -> None:
    assert [row.key for row in _open(_table()).rows()] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"key": pa.array(["a", "c", "b"])}, "not in ascending order"),
        ({"key": pa.array(["a", "b", "b"])}, "not in ascending order"),
        ({"size": pa.array([1, -2, 3], pa.int64())}, "a size is out of range"),
        ({"size": pa.array([1, 2**53, 3], pa.int64())}, "a size is out of range"),
        (
            {"key": pa.StringArray.from_buffers(3, pa.py_buffer(np.array([0, 1, 2, 3], np.int32)), pa.py_buffer(b"a\xff\xfe"))},
            "truncated or corrupt",
        ),
        ({"sha256": pa.array([bytes(31)] * 3, pa.binary(31))}, "columns are not those of a manifest"),
        ({"size": pa.array([1, 2, 3], pa.int32())}, "columns are not those of a manifest"),
        ({"extra": pa.array(["x"] * 3)}, "columns are not those of a manifest"),
        ({"source.n": pa.array([1, 2, 3])}, "columns are not those of a manifest"),
    ],
)  # fmt: skip
def test_malformed_rows(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        list(_open(_table(**changes)).rows())


def test_order_is_checked_across_row_groups() -> None:
    table = _table(key=pa.array(["b", "c", "a"]))
    with pytest.raises(InputError, match="not in ascending order"):
        list(_open(table, row_group_size=2).rows())


def test_other_parquet_files_are_no_manifests() -> None:
    with pytest.raises(InputError, match="columns are not those of a manifest"):
        _open(pa.table({"a": [1]}))
    with pytest.raises(InputError, match="no manifest of version 1"):
        _open(_table().replace_schema_metadata({}))
    with pytest.raises(InputError, match="no manifest of version 1"):
        _open(_table().replace_schema_metadata({"bezoar.manifest": "2"}))
    with pytest.raises(InputError, match="no such file"):
        Manifest.open(Path("/nowhere/manifest.parquet"))


def test_caps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest_module, "MAX_GROUP_ROWS", 2)
    with pytest.raises(LimitError, match="row group 0 claims 3 rows"):
        _open(_table())
    monkeypatch.undo()
    monkeypatch.setattr(manifest_module, "MAX_GROUP_BYTES", 10)
    with pytest.raises(LimitError, match="row group 0 claims 3 rows in"):
        _open(_table())
    monkeypatch.undo()
    monkeypatch.setattr(manifest_module, "MAX_SOURCES", 1)
    with pytest.raises(LimitError, match="2 source columns"):
        _open(_table(**{"source.a": pa.array(["x"] * 3), "source.b": pa.array(["x"] * 3)}))


def test_one_long_text_for_all_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten kilobytes of Parquet that would take gigabytes once the texts are written out."""
    count, buffer = 1000, io.BytesIO()
    labels = pa.DictionaryArray.from_arrays(np.zeros(count, np.int32), pa.array(["x" * 10_000]))
    columns = [
        pa.array([f"{n:04d}" for n in range(count)]),
        pa.array([bytes(32)] * count, pa.binary(32)),
        pa.array(np.ones(count, np.int64)),
        pa.array(["image/png"] * count),
        labels,
    ]
    made = pa.table(columns, schema([], {}).set(4, pa.field("label", labels.type)))
    with pq.ParquetWriter(buffer, made.schema, compression="zstd", store_schema=False) as out:
        out.write_table(made)
        out.add_key_value_metadata({"bezoar.manifest": "1"})
    opened = Manifest.open(io.BytesIO(buffer.getvalue()))
    assert next(opened.rows()).label == "x" * 10_000
    monkeypatch.setattr(manifest_module, "MAX_GROUP_BYTES", 1 << 20)
    with pytest.raises(LimitError, match=r"1,000 rows with 10,013,000 bytes of text; at most 1,048,576"):
        next(Manifest.open(io.BytesIO(buffer.getvalue())).rows())


def test_fuzz() -> None:
    def parse(data: bytes) -> list[Row]:
        return list(Manifest.open(io.BytesIO(data), "here").rows())

    fuzz(
        parse,
        [written([Row("a", bytes(32), 1, "x/y", "l", {"u": "v"}), Row("b", bytes(32), 1, "x/y")], ["u"])],
    )
