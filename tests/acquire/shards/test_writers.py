"""What the writers write: members, columns and files in img2dataset's layout, the same bytes for the same records."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from bezoar.acquire.shards import (
    PROVENANCE_SCHEMA,
    WRITERS,
    is_complete,
    key_of,
    provenance_files,
    read_stats,
    writer_of,
)
from bezoar.errors import OutputError, UsageError

from .support import kept, provenance

DATA = [name for name in WRITERS if name != "dummy"]
STATS = {
    "count": 7, "successes": 6, "failed_to_download": 1, "failed_to_resize": 0,
    "duration": 1.5, "start_time": 1.0, "end_time": 2.5, "status_dict": {"success": 6, "hash_mismatch": 1},
}  # fmt: skip


@pytest.mark.parametrize(
    ("shard", "index", "per_shard", "key"),
    [
        (0, 0, 10_000, "000000000"), (42, 7, 10_000, "000420007"), (1, 9, 10, "000019"), (1, 10, 11, "0000110"),
        (3, 0, 1, "00003"), (123_456, 99, 100, "12345699"),
    ],
)  # fmt: skip
def test_keys_are_img2datasets(shard: int, index: int, per_shard: int, key: str) -> None:
    assert key_of(shard, index, per_shard) == key


def tree(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_tar_holds_image_json_and_text_of_each(tmp_path: Path) -> None:
    WRITERS["webdataset"].write(tmp_path, 2, iter(kept(2)), provenance(2), STATS)
    assert sorted(tree(tmp_path)) == ["00002.parquet", "00002.tar", "00002_stats.json"]
    with tarfile.open(tmp_path / "00002.tar") as archive:
        members = archive.getmembers()
        names = [member.name for member in members]
        assert names[:6] == [
            "000020.jpg",
            "000020.json",
            "000020.txt",
            "000021.jpg",
            "000021.json",
            "000021.txt",
        ]
        assert "000023.jpg" not in names
        assert "000025.jpg" in names  # a PNG: readers want one suffix for all
        assert {(m.mtime, m.uid, m.gid, m.uname, m.mode, m.pax_headers == {}) for m in members} == {
            (0, 0, 0, "", 0o644, True)
        }
        contents = {m.name: archive.extractfile(m).read() for m in members}  # type: ignore[union-attr]
    first = kept(2)[0]
    assert contents["000020.jpg"] == first.content
    assert contents["000020.txt"].decode() == "é 20"
    assert json.loads(contents["000020.json"]) == {
        "key": "000020", "url": "http://example.org/20.jpg", "caption": "é 20", **first.fields,
        "lang": "de", "list_width": 20, "score": None,
    }  # fmt: skip


def test_images_that_were_encoded_as_png_are_called_so(tmp_path: Path) -> None:
    writer_of("webdataset", "png").write(tmp_path, 0, iter(kept(0)), provenance(0), STATS)
    with tarfile.open(tmp_path / "00000.tar") as archive:
        assert {name.split(".")[1] for name in archive.getnames()} == {"png", "json", "txt"}


def test_files_lie_in_a_folder_of_the_shard(tmp_path: Path) -> None:
    WRITERS["files"].write(tmp_path, 0, iter(kept(0)), provenance(0), STATS)
    found = tree(tmp_path)
    assert {
        "00000.parquet",
        "00000_stats.json",
        "00000/000000.jpg",
        "00000/000000.json",
        "00000/000000.txt",
        "00000/000005.png",
    } <= set(found)
    assert len(found) == 2 + 3 * 6
    assert found["00000/000000.jpg"] == kept(0)[0].content


def test_parquet_holds_what_was_kept_and_what_is_stable(tmp_path: Path) -> None:
    WRITERS["parquet"].write(tmp_path, 0, iter(kept(0)), provenance(0), STATS)
    assert sorted(tree(tmp_path)) == ["00000.parquet", "00000_stats.json", "__provenance__/00000.parquet"]
    table = pq.read_table(tmp_path / "00000.parquet")
    assert table.column_names == [
        "key", "url", "caption", "status", "width", "height", "original_width", "original_height", "sha256", "expected",
        "verdict", "stored_sha256", "lang", "list_width", "score", "image",
    ]  # fmt: skip
    assert table["image"].to_pylist() == [
        {"bytes": k.content, "path": f"{k.key}.{k.suffix}"} for k in kept(0)
    ]
    assert table["caption"].to_pylist() == [k.row.caption for k in kept(0)]
    assert table["list_width"].to_pylist() == [0, 1, 2, 4, 5, 6]


def test_provenance_comes_in_the_order_of_the_shards(tmp_path: Path) -> None:
    for name in ("100000", "99999", "00002", "notes", "٣"):
        (tmp_path / f"{name}.parquet").write_bytes(b"")
    assert [file.stem for file in provenance_files(tmp_path)] == ["00002", "99999", "100000"]


@pytest.mark.parametrize("name", WRITERS)
def test_provenance_has_every_row_under_img2datasets_names_first(name: str, tmp_path: Path) -> None:
    for shard in (0, 1):
        WRITERS[name].write(tmp_path, shard, iter(kept(shard)), provenance(shard), STATS)
    files = provenance_files(tmp_path)
    assert [file.name for file in files] == ["00000.parquet", "00001.parquet"]
    table = pq.read_table(files[1])
    assert table.schema.names[:9] == [
        "key",
        "url",
        "caption",
        "status",
        "error_message",
        "width",
        "height",
        "original_width",
        "original_height",
    ]
    assert table.schema.names == [*PROVENANCE_SCHEMA.names, "lang", "list_width", "score"]
    assert table["status"].to_pylist() == ["success"] * 3 + ["failed_to_download"] + ["success"] * 3
    assert table["redirects"].to_pylist()[0] == ["http://a", "http://b"]


@pytest.mark.parametrize("name", WRITERS)
def test_the_same_records_give_the_same_bytes(name: str, tmp_path: Path) -> None:
    trees = []
    for run in ("1", "2"):
        folder = tmp_path / run
        folder.mkdir()
        WRITERS[name].write(folder, 0, iter(kept(0)), provenance(0, run=run), {**STATS, "start_time": run})
        trees.append({k: v for k, v in tree(folder).items() if not k.endswith("_stats.json")})
    differ = {file for file in trees[0] if trees[0][file] != trees[1][file]}
    assert differ == {"__provenance__/00000.parquet" if name == "parquet" else "00000.parquet"}


@pytest.mark.parametrize("name", DATA)
def test_stats_name_the_files_and_are_written_last(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    replace = __import__("os").replace
    monkeypatch.setattr("os.replace", lambda a, b: (order.append(Path(b).name), replace(a, b)))
    written = WRITERS[name].write(tmp_path, 0, iter(kept(0)), provenance(0), STATS)
    assert order[-1] == "00000_stats.json"
    stats = read_stats(tmp_path, 0)
    assert stats is not None
    assert {k: stats[k] for k in STATS} == STATS
    assert stats["files"] == {file: {"sha256": w.sha256, "size": w.size} for file, w in written.items()}
    assert set(stats["files"]) == set(tree(tmp_path)) - {"00000_stats.json"}
    assert list(stats)[:8] == list(STATS)


@pytest.mark.parametrize("name", WRITERS)
def test_a_whole_shard_is_complete_for_its_own_writer_only(name: str, tmp_path: Path) -> None:
    WRITERS[name].write(tmp_path, 0, iter(kept(0)), provenance(0), STATS)
    assert [other for other in WRITERS if is_complete(tmp_path, 0, WRITERS[other])] == [name]
    assert not is_complete(tmp_path, 1, WRITERS[name])


@pytest.mark.parametrize("name", DATA)
@pytest.mark.parametrize("damage", ["flip", "cut", "grow", "gone", "link"])
def test_a_damaged_file_makes_a_shard_incomplete_and_writing_again_mends_it(
    name: str, damage: str, tmp_path: Path
) -> None:
    for file in list(WRITERS[name].write(tmp_path, 0, iter(kept(0)), provenance(0), STATS))[::5]:
        before = tree(tmp_path)
        path, content = tmp_path / file, before[file]
        if damage == "flip":
            path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        elif damage in ("cut", "grow"):
            path.write_bytes(content[:-1] if damage == "cut" else content + b"\0")
        else:
            path.unlink()
            if damage == "link":
                (tmp_path / "elsewhere").write_bytes(content)
                path.symlink_to(tmp_path / "elsewhere")
        assert not is_complete(tmp_path, 0, WRITERS[name])
        WRITERS[name].write(tmp_path, 0, iter(kept(0)), provenance(0), STATS)
        assert is_complete(tmp_path, 0, WRITERS[name])
        (tmp_path / "elsewhere").unlink(missing_ok=True)
        assert tree(tmp_path) == before


def test_a_file_more_in_the_folder_of_a_shard(tmp_path: Path) -> None:
    WRITERS["files"].write(tmp_path, 0, iter(kept(0)), provenance(0), STATS)
    (tmp_path / "00000" / "planted.jpg").write_bytes(b"x")
    assert not is_complete(tmp_path, 0, WRITERS["files"])
    WRITERS["files"].write(tmp_path, 0, iter(kept(0)), provenance(0), STATS)
    assert not (tmp_path / "00000" / "planted.jpg").exists()


STATS_LIES = [
    b"", b"{", b"[]", b"{}", b"[" * 100_000, b'{"files": {}}',
    *(b'{"output_format": "webdataset", "files": %s}' % files for files in (
        b"{}", b"[]", b'{"../x": {"sha256": "", "size": 0}}', b'{"00000.tar": 5}', b'{"00000.tar": {}}',
    )),
]  # fmt: skip


@pytest.mark.parametrize("content", STATS_LIES)
def test_stats_that_are_none(content: bytes, tmp_path: Path) -> None:
    WRITERS["webdataset"].write(tmp_path, 0, iter(kept(0)), provenance(0), STATS)
    (tmp_path / "00000_stats.json").write_bytes(content)
    assert not is_complete(tmp_path, 0, WRITERS["webdataset"])


@pytest.mark.parametrize("name", DATA)
def test_an_interrupted_shard_leaves_no_stats_and_no_partial_files(name: str, tmp_path: Path) -> None:
    def records() -> object:
        yield from kept(0)[:4]
        raise KeyboardInterrupt

    WRITERS[name].write(tmp_path, 0, iter(kept(0, 5)), provenance(0, 5), STATS)
    with pytest.raises(KeyboardInterrupt):
        WRITERS[name].write(tmp_path, 0, records(), provenance(0), STATS)  # type: ignore[arg-type]
    assert not (tmp_path / "00000_stats.json").exists()
    assert not is_complete(tmp_path, 0, WRITERS[name])
    WRITERS[name].write(tmp_path, 0, iter(kept(0)), provenance(0), STATS)
    assert is_complete(tmp_path, 0, WRITERS[name])
    assert not [file for file in tree(tmp_path) if "partial" in file]


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_is_an_output_error(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OutputError, match="No space left on device"):
        WRITERS[name].write(tmp_path, 0, iter(kept(0)), provenance(0), STATS)
    assert not is_complete(tmp_path, 0, WRITERS[name])
    assert [
        file for file in tree(tmp_path) if "partial" in file and not file.startswith(".00000.partial/")
    ] == []


@pytest.mark.parametrize("name", DATA)
def test_a_shard_of_nothing(name: str, tmp_path: Path) -> None:
    WRITERS[name].write(tmp_path, 0, iter([]), provenance(0), STATS)
    assert is_complete(tmp_path, 0, WRITERS[name])


def test_without_captions_there_are_no_texts(tmp_path: Path) -> None:
    WRITERS["webdataset"].write(tmp_path, 0, iter(kept(0, caption=None)), provenance(0, caption=None), STATS)
    with tarfile.open(tmp_path / "00000.tar") as archive:
        assert {name.split(".")[1] for name in archive.getnames()} == {"jpg", "json"}


def test_surrogates_and_numbers_that_json_lacks(tmp_path: Path) -> None:
    odd = [kept(0, caption="\ud800")[0]]
    WRITERS["webdataset"].write(tmp_path, 0, iter(odd), provenance(0, caption="\ud800"), STATS)
    with tarfile.open(tmp_path / "00000.tar") as archive:
        assert archive.extractfile("000000.txt").read() == "é 0?".encode()  # type: ignore[union-attr]
        json.loads(archive.extractfile("000000.json").read().decode(), parse_constant=pytest.fail)  # type: ignore[union-attr]


def test_formats_that_are_not_written() -> None:
    assert [writer_of(name) == WRITERS[name] for name in WRITERS] == [True] * 4
    with pytest.raises(UsageError, match="tfrecord' needs TensorFlow"):
        writer_of("tfrecord")
    with pytest.raises(UsageError, match="no output format 'zip'; known: webdataset, parquet, files, dummy"):
        writer_of("zip")
