"""Every format is sealed, verified, proved and read under verification in the same way."""

from __future__ import annotations

import hashlib
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import bezoar
from bezoar.custody.seal.further import is_digest, value_json
from bezoar.custody.seal.records import Layout, canonical_text
from bezoar.custody.seal.snapshot import leaf
from bezoar.custody.tlog.merkle import MemoryTree, leaf_hash, verify_inclusion
from bezoar.errors import InputError, LimitError
from cli.support import png, tar
from custody.seal.support import (
    DATASETS,
    FORMATS,
    VERIFIER,
    checked,
    folder_with_metadata,
    make,
    parquet,
    sealed,
)


@pytest.mark.parametrize("name", FORMATS)
def test_what_was_sealed_verifies(name: str, tmp_path: Path) -> None:
    path = make(name, tmp_path)
    seal = sealed(path)
    assert seal.location == str(path.with_name(f"{path.name}.seal"))
    result = checked(path)
    assert result.valid
    assert (result.signer, result.name, result.checked) == ("maker", path.name, len(seal.manifest))
    assert not bezoar.verify(path, None).valid
    assert bezoar.verify(path, None).matches


@pytest.mark.parametrize("name", DATASETS)
def test_the_manifest_lists_the_records(name: str, tmp_path: Path) -> None:
    path = make(name, tmp_path)
    rows = list(sealed(path).manifest.rows())
    records = sorted(bezoar.open(path), key=lambda record: record.key)
    names = bezoar.open(path).label_names
    assert [row.key for row in rows] == [record.key for record in records]
    for row, record in zip(rows, records, strict=True):
        assert row.sha256 == hashlib.sha256(record.content).digest()
        assert row.size == len(record.content)
        assert row.label == (None if record.label is None else names[record.label])
        told = {name for name in row.source if not is_digest(name) and name != "shape"}
        assert told == {column for column, value in record.source.items() if value is not None}


@pytest.mark.parametrize("name", FORMATS)
def test_the_tree_is_that_of_the_leaves(name: str, tmp_path: Path) -> None:
    seal = sealed(make(name, tmp_path))
    tree = MemoryTree()
    for row in seal.manifest.rows():
        tree.append(leaf_hash(leaf(row.key, row.label, row.sha256, row.size, row.source)))
    assert seal.tree.root() == tree.root() == seal.root
    last = len(seal.manifest) - 1
    data = seal.manifest.row(last).leaf()
    verify_inclusion(leaf_hash(data), last, last + 1, seal.tree.inclusion(last), seal.root)


@pytest.mark.parametrize("name", DATASETS)
def test_the_same_data_give_the_same_snapshot(name: str, tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
    one, two = (sealed(make(name, tmp_path / folder)) for folder in ("one", "two"))
    assert one.root == two.root
    assert [row.leaf() for row in one.manifest.rows()] == [row.leaf() for row in two.manifest.rows()]


@pytest.mark.parametrize("name", DATASETS)
def test_reading_under_verification_gives_the_same_records(name: str, tmp_path: Path) -> None:
    path = make(name, tmp_path)
    sealed(path)
    plain, verified = bezoar.open(path), bezoar.open(path, verify=VERIFIER)
    assert verified.digest == plain.digest
    assert list(verified.contents([3, 1])) == list(plain.contents([3, 1]))


def test_media_types_are_told_by_content_or_name(tmp_path: Path) -> None:
    kinds = {
        name: {row.media_type for row in sealed(make(name, _sub(tmp_path, name))).manifest.rows()}
        for name in ("image folder", "parquet", "npz", "jsonl", "plain folder")
    }
    assert kinds == {
        "image folder": {"image/png"},
        "parquet": {"image/png"},
        "npz": {"application/octet-stream"},
        "jsonl": {"text/plain"},
        "plain folder": {"application/octet-stream", "text/plain"},
    }


def test_sources_are_canonical_texts() -> None:
    def texts(values: list[object], kind: pa.DataType) -> list[str | None]:
        return canonical_text(pa.chunked_array([pa.array(values, kind)]), "x").to_pylist()  # type: ignore[no-any-return]

    assert texts([1.0, 0.1, 1e21, None, float("nan"), float("inf"), -float("inf")], pa.float64()) == [
        "1", "0.1", "1e+21", None, "NaN", "Infinity", "-Infinity",
    ]  # fmt: skip
    assert texts([0.5], pa.float32()) == ["0.5"]
    assert texts([-7, 2**63 - 1], pa.int64()) == ["-7", "9223372036854775807"]
    assert texts([True, False, None], pa.bool_()) == ["true", "false", None]
    assert texts(["é", None], pa.large_string()) == ["é", None]
    assert texts([date(2026, 11, 25)], pa.date32()) == ["2026-11-25"]
    assert texts([5], pa.duration("s")) == ["5"]
    assert canonical_text(pa.chunked_array([pa.array(["a", "b"]).dictionary_encode()]), "x").to_pylist() == [
        "a",
        "b",
    ]


def test_what_is_further_is_told_by_its_digest(tmp_path: Path) -> None:
    row = sealed(make("samples", tmp_path)).manifest.row(1)
    told = {".cls": b"1", ".txt": b"a sign 1", ".mask.png": png(51), ".json": None}
    assert {name.removeprefix("sha256:") for name in row.source if is_digest(name)} == {*told}
    for name, content in told.items():
        if content is not None:
            assert row.source[f"sha256:{name}"] == hashlib.sha256(content).hexdigest()
    row = sealed(make("masks", _sub(tmp_path, "masks"))).manifest.row(1)
    digest = {name: hashlib.sha256(data).hexdigest() for name, data in {
        "sha256:mask": png(51),
        "sha256-json:boxes": b'[{"label":"sign","x":0.5}]',
        "sha256-json:when": b'[{"$text":"1970-01-02"}]',
        "sha256-json:image.path": b'"same.png"',
    }.items()}  # fmt: skip
    assert row.source == digest


def test_nested_values_have_one_json() -> None:
    value = {"b": [1, 2.5, None, True], "a": (2**60, float("nan"), b"x"), "c": date(2026, 11, 25)}
    digest = hashlib.sha256(b"x").hexdigest()
    assert value_json(value, "x").decode() == (
        f'{{"a":[{{"$number":"{2**60}"}},{{"$number":"nan"}},{{"$sha256":"{digest}"}}],'
        '"b":[1,2.5,null,true],"c":{"$text":"2026-11-25"}}'
    )
    with pytest.raises(InputError, match=r"x: has a field '\$sha256'"):
        value_json({"$sha256": digest}, "x")
    column = pa.chunked_array([pa.array([[1, 2], None])])
    assert canonical_text(column, "x").to_pylist() == ["[1,2]", None]


def test_more_names_than_a_manifest_has_columns_for_are_refused(tmp_path: Path) -> None:
    path = tar(tmp_path / "a.tar", {"a.png": png(0), "a.cls": b"1", **{f"a.x{n}": b"" for n in range(1000)}})
    with pytest.raises(LimitError, match="more than 1,000 names"):
        sealed(path)


def test_no_column_passes_for_a_digest(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"image": [png(0)], "label": ["a"], "sha256:mask": ["00"]}), path)
    with pytest.raises(InputError, match=r"column 'sha256:mask': .*rename it"):
        sealed(path)


def test_the_columns_that_were_chosen_are_remembered(tmp_path: Path) -> None:
    path = folder_with_metadata(tmp_path / "signs")
    seal = sealed(path, layout=Layout(label_column="source"))
    assert {row.label for row in seal.manifest.rows()} == {"site0", "site1", "site2"}
    assert {*seal.manifest.row(0).source} == {"label"}
    assert checked(path).valid
    assert bezoar.open(path, verify=VERIFIER).label_names == ("site0", "site1", "site2")


def test_by_file_takes_every_file_for_a_record(tmp_path: Path) -> None:
    path = make("parquet shards", tmp_path)
    seal = sealed(path, layout=Layout(by_file=True))
    assert [row.key for row in seal.manifest.rows()] == ["part-0.parquet", "part-1.parquet"]
    assert checked(path).valid
    with pytest.raises(InputError, match="sealed file by file"):
        bezoar.open(path, verify=VERIFIER)


def test_a_wrong_column_is_no_reason_to_seal_file_by_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no label column"):
        sealed(parquet(tmp_path / "signs.parquet"), layout=Layout(label_column="nix"))
    assert not (tmp_path / "signs.parquet.seal").exists()


def _sub(folder: Path, name: str) -> Path:
    (folder / name).mkdir()
    return folder / name
