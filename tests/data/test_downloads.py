"""What img2dataset wrote opens whole: captions and no labels, tables of provenance beside the shards, rows that failed.

The layouts are those of img2dataset 1.47.0; `tests/interop` opens what the program itself writes.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bezoar import data
from bezoar.errors import InputError

from .builders import add, png

KEYS = [f"{shard:05d}{i}" for shard in range(2) for i in range(5)]
FAILED = {"000003", "000012"}
STORED = [key for key in KEYS if key not in FAILED]


def meta(key: str) -> dict[str, Any]:
    fine = key not in FAILED
    return {
        "caption": f"picture {key}", "url": f"http://example.org/{key}", "key": key,
        "status": "success" if fine else "failed_to_download", "error_message": None if fine else "HTTP Error 404",
        "width": 8 if fine else None, "sha256": "ab" * 32 if fine else None,
    }  # fmt: skip


def content(key: str) -> bytes:
    return png(int(key))


def tables(folder: Path, *, images: bool) -> None:
    kinds = {"width": pa.int32()}
    for shard in range(2):
        keys = KEYS[5 * shard : 5 * shard + 5]
        rows = [meta(key) for key in reversed(keys)]  # in order of arrival
        schema = pa.schema([(name, kinds.get(name, pa.string())) for name in rows[0]])
        if images:
            schema = schema.append(pa.field("jpg", pa.binary()))
            rows = [{**row, "jpg": None if row["key"] in FAILED else content(row["key"])} for row in rows]
        pq.write_table(pa.Table.from_pylist(rows, schema), folder / f"{shard:05d}.parquet")
        (folder / f"{shard:05d}_stats.json").write_text('{"count": 5}')


def webdataset(folder: Path, *, described: bool = True) -> None:
    for shard in range(2):
        with tarfile.open(folder / f"{shard:05d}.tar", "w") as archive:
            for key in KEYS[5 * shard : 5 * shard + 5]:
                if key not in FAILED:
                    add(archive, f"{key}.jpg", content(key))
                    if described:
                        add(archive, f"{key}.json", json.dumps(meta(key), indent=4).encode())
                    add(archive, f"{key}.txt", meta(key)["caption"].encode())


def as_webdataset(folder: Path) -> None:
    webdataset(folder)
    tables(folder, images=False)


def as_parquet(folder: Path) -> None:
    tables(folder, images=True)


def as_files(folder: Path) -> None:
    for key in STORED:
        (folder / key[:5]).mkdir(exist_ok=True)
        (folder / key[:5] / f"{key}.jpg").write_bytes(content(key))
        (folder / key[:5] / f"{key}.json").write_text(json.dumps(meta(key), indent=4))
        (folder / key[:5] / f"{key}.txt").write_text(meta(key)["caption"])
    tables(folder, images=False)


LAYOUTS: dict[str, tuple[Callable[[Path], None], str]] = {
    "webdataset": (as_webdataset, "webdataset"),
    "parquet": (as_parquet, "parquet"),
    "files": (as_files, "folder"),
}

IMAGES = ("folder", "parquet", "webdataset", "arrow")  # formats that hold them with their columns


@pytest.fixture(params=list(LAYOUTS))
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / str(request.param)
    path.mkdir()
    LAYOUTS[str(request.param)][0](path)
    return path


def by_key(dataset: data.Dataset) -> dict[str, data.Record]:
    return {record.key.removeprefix(f"{record.key[:5]}/").removesuffix(".jpg"): record for record in dataset}


def test_every_stored_record_opens_with_its_caption_and_without_a_label(folder: Path) -> None:
    dataset = data.open(folder)
    assert dataset.format == LAYOUTS[folder.name][1]
    assert dataset.modality == "image"
    assert dataset.label_names == ()
    found = by_key(dataset)
    assert sorted(found) == STORED
    for key, record in found.items():
        assert record.content == content(key)
        assert record.label is None
        assert {name: record.source[name] for name in meta(key)} == meta(key)


def test_what_is_chosen_and_changed_is_written_in_the_same_layout(folder: Path, tmp_path: Path) -> None:
    dataset = data.open(folder)
    chosen = dataset.select(np.array([5, 0, 2])).with_changes({1: png(77)})
    keys = data.write(chosen, tmp_path / "out")
    again = data.open(tmp_path / "out")
    assert again.format == dataset.format
    assert keys == chosen.keys.to_pylist()
    assert sorted(again.keys.to_pylist()) == sorted(keys)
    now = {record.key: record for record in again}
    for record in chosen:
        assert (now[record.key].content, now[record.key].source) == (record.content, record.source)


CROSSINGS = [
    (layout, target)
    for layout, (_, own) in LAYOUTS.items()
    for target in data.FORMATS
    if target in IMAGES and target != own
]


@pytest.mark.parametrize(("layout", "target"), CROSSINGS)
def test_downloads_cross_into_other_formats(layout: str, target: str, tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    LAYOUTS[layout][0](source)
    dataset = data.open(source)
    keys = data.write(dataset, tmp_path / "out", target)
    if target == "folder":  # without classes, without captions
        assert len(list((tmp_path / "out").rglob("*.*"))) == len(STORED)
        return
    again = {record.key: record for record in data.open(tmp_path / "out")}
    for key, record in zip(keys, dataset, strict=True):
        assert (again[key].content, again[key].label, again[key].source["caption"]) == (
            record.content,
            None,
            record.source["caption"],
        )


def test_texts_alone_are_captions(tmp_path: Path) -> None:
    webdataset(tmp_path, described=False)
    dataset = data.open(tmp_path)
    assert dataset.columns.column_names == ["caption"]
    assert [record.source["caption"] for record in dataset] == [meta(key)["caption"] for key in STORED]


def test_a_label_in_the_description_is_still_a_label(folder: Path) -> None:
    dataset = data.open(folder, label_column="url")
    assert len(dataset.label_names) == len(STORED)
    assert "url" not in dataset.columns.column_names
    with pytest.raises(InputError, match="no label column 'colour'"):
        data.open(folder, label_column="colour")


def test_columns_that_describe_no_download_still_want_a_label(tmp_path: Path) -> None:
    pq.write_table(pa.table({"image": [png(0)], "category": ["cat"]}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match="no label column label/labels"):
        data.open(tmp_path / "a.parquet")


def test_a_shard_in_which_all_failed(tmp_path: Path) -> None:
    as_webdataset(tmp_path)
    with tarfile.open(tmp_path / "00002.tar", "w"):
        pass
    assert len(data.open(tmp_path)) == len(STORED)


def test_a_table_in_which_all_failed(tmp_path: Path) -> None:
    rows = [{**meta(key), "jpg": None} for key in sorted(FAILED)]
    schema = pa.schema([(name, pa.string()) for name in meta("000003")]).append(pa.field("jpg", pa.binary()))
    pq.write_table(
        pa.Table.from_pylist([{**row, "width": None} for row in rows], schema), tmp_path / "a.parquet"
    )
    with pytest.raises(InputError, match="holds no records, all downloads failed"):
        data.open(tmp_path / "a.parquet")


@pytest.mark.parametrize("keys", [["../x", "b"], ["a", "a"], ["a", None], ["a", ""]])
def test_keys_that_cannot_be_keys_are_numbered(keys: list[str | None], tmp_path: Path) -> None:
    table = {"key": keys, "url": ["u", "v"], "status": ["success"] * 2, "jpg": [png(0), png(1)]}
    pq.write_table(pa.table(table), tmp_path / "a.parquet")
    assert data.open(tmp_path / "a.parquet").keys.to_pylist() == ["a.parquet#000000", "a.parquet#000001"]


def test_a_description_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    as_files(tmp_path / "out")
    (tmp_path / "secret").write_text('{"caption": "secret"}')
    victim = tmp_path / "out" / "00000" / "000001.json"
    victim.unlink()
    victim.symlink_to(tmp_path / "secret")
    with pytest.raises(InputError, match="is a link to another place"):
        data.open(tmp_path / "out")


@pytest.mark.parametrize("bad", [b"[]", b"{", b"\xff", b"[" * 100_000])
def test_a_malformed_description_is_refused_in_one_line(bad: bytes, tmp_path: Path) -> None:
    as_files(tmp_path)
    (tmp_path / "00000" / "000001.json").write_bytes(bad)
    with pytest.raises(InputError, match=r"000001\.json:? is not") as caught:
        data.open(tmp_path)
    assert "\n" not in str(caught.value)


def test_digits_alone_make_no_shards(tmp_path: Path) -> None:
    """Classes may be called 0 and 1, and 00000 too, where no descriptions lie beside the images."""
    for name in ("00000", "00001"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.png").write_bytes(png(0))
    assert data.open(tmp_path).label_names == ("00000", "00001")
