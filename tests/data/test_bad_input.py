"""Hostile and broken input: one clear line as an InputError, or a record that is reported as unreadable."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bezoar import data
from bezoar.errors import InputError, UnknownFormatError

from . import builders
from .builders import CASES, add, png


def refuses(path: Path, match: str, **options: str) -> None:
    """Opening fails with one short line that names the path."""
    with pytest.raises(InputError, match=match) as caught:
        data.open(path, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 700
    assert path.name.replace("*", "") in message or str(path.parent) in message


def test_a_missing_path(tmp_path: Path) -> None:
    refuses(tmp_path / "nothing", "no such file or folder")


def test_a_pattern_without_files(tmp_path: Path) -> None:
    refuses(tmp_path / "*.parquet", "no file matches")


def test_an_empty_folder(tmp_path: Path) -> None:
    refuses(tmp_path, "empty folder")


def test_an_unknown_format_says_what_was_found_and_what_is_understood(tmp_path: Path) -> None:
    (tmp_path / "notes.doc").write_text("hello")
    with pytest.raises(UnknownFormatError, match=r"notes\.doc.*parquet.*webdataset.*folder"):
        data.open(tmp_path)
    with pytest.raises(UnknownFormatError, match="begins with b'hello'"):
        data.open(tmp_path / "notes.doc")


@pytest.mark.parametrize(
    "name", ["parquet", "parquet_text", "csv", "jsonl", "metadata_csv", "tar_json", "arrow", "npz"]
)
def test_a_missing_label_column_names_those_that_exist(name: str, tmp_path: Path) -> None:
    refuses(
        CASES[name].build(tmp_path),
        r"no (label column|array) 'colour'.*(columns|arrays): \w+",
        label_column="colour",
    )


@pytest.mark.parametrize("name", ["parquet", "csv", "jsonl", "npz"])
def test_a_missing_content_column(name: str, tmp_path: Path) -> None:
    refuses(CASES[name].build(tmp_path), "no .* 'colour'", content_column="colour")


@pytest.mark.parametrize(
    "name", ["parquet", "arrow", "tar_cls", "idx", "idx_gz", "npz", "npz_compressed", "jsonl"]
)
@pytest.mark.parametrize("keep", [0.0, 0.3, 0.9])
def test_a_truncated_file(name: str, keep: float, tmp_path: Path) -> None:
    path = CASES[name].build(tmp_path)
    victim = max((p for p in ([path] if path.is_file() else path.iterdir())), key=lambda p: p.stat().st_size)
    content = victim.read_bytes()
    victim.write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(InputError) as caught:
        data.open(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        "parquet",
        "parquet_text",
        "arrow",
        "tar_cls",
        "tar_json",
        "idx_gz",
        "npz_compressed",
        "csv",
        "metadata_jsonl",
    ],
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 0.999), junk=st.binary(min_size=1, max_size=40))
def test_damage_anywhere_is_an_input_error_or_harmless(
    name: str, place: float, junk: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = CASES[name].build(tmp_path_factory.mktemp("damage"))
    files = [path] if path.is_file() else [p for p in sorted(path.iterdir()) if p.is_file()]
    for file in files:
        content = bytearray(file.read_bytes())
        start = int(place * len(content))
        content[start : start + len(junk)] = junk
        file.write_bytes(content)
    with contextlib.suppress(InputError):  # anything else is a defect
        dataset = data.open(path)
        for part in dataset if dataset.modality == "text" else data.load_images(dataset, 8):
            assert part is not None


def test_splits_are_not_mixed(tmp_path: Path) -> None:
    for split in ("train", "test"):
        pq.write_table(builders.image_table(), tmp_path / f"{split}-0.parquet")
    refuses(tmp_path, r"several splits \(test, train\); name one")
    assert len(data.open(tmp_path / "train-*.parquet")) == builders.COUNT


def test_a_folder_of_splits_is_not_a_folder_of_classes(tmp_path: Path) -> None:
    for split in ("train", "val"):
        (tmp_path / split / "cat").mkdir(parents=True)
        (tmp_path / split / "cat" / "1.png").write_bytes(png(1))
    refuses(tmp_path, "holds splits")
    assert data.open(tmp_path / "train").label_names == ("cat",)


def test_a_dataset_dict_asks_for_a_split(tmp_path: Path) -> None:
    saved = builders.arrow(tmp_path)
    (tmp_path / "dict").mkdir()
    saved.rename(tmp_path / "dict" / "train")
    (tmp_path / "dict" / "dataset_dict.json").write_text('{"splits": ["train"]}')
    refuses(tmp_path / "dict", r"several splits.*dict/train")


def test_a_folder_of_splits_with_metadata(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "metadata.csv").write_text("file_name,label\n1.png,cat\n")
    (tmp_path / "train" / "1.png").write_bytes(png(1))
    refuses(tmp_path, "holds splits")
    assert data.open(tmp_path / "train").label_names == ("cat",)


@pytest.mark.parametrize("name", ["folder", "idx"])
def test_a_label_column_where_there_are_no_columns(name: str, tmp_path: Path) -> None:
    refuses(CASES[name].build(tmp_path), "no label column 'colour'", label_column="colour")


@pytest.mark.parametrize("name", ["parquet", "tar_cls", "csv"])
def test_a_file_that_vanishes_after_opening(name: str, tmp_path: Path) -> None:
    path = CASES[name].build(tmp_path)
    dataset = data.open(path)
    path.unlink()
    with pytest.raises(InputError):
        list(dataset)


def test_images_without_classes(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(png(1))
    refuses(tmp_path, "no class sub-folders")


def test_links_out_of_a_folder(tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(png(1))
    root = builders.folder(tmp_path)
    (root / "cat" / "link.png").symlink_to(secret)
    refuses(root, "is a link to another place")


def test_a_file_name_that_is_not_utf8(tmp_path: Path) -> None:
    root = builders.folder(tmp_path)
    os.rename(root / "cat" / "sub 0" / "00.png", os.fsencode(root) + b"/cat/\xff.png")
    refuses(root, "not valid UTF-8")


HOSTILE = [
    ".",
    "<script>alert(1)</script>",
    "a\nb",
    "..",
    ".hidden",
    "a/b",
    "C:\\x",
    "%41",
    "x" * 300,
    "é" * 200,
    "",
    "\x00",
    "CON",
]


def test_hostile_class_names_stay_inside_the_folder(tmp_path: Path) -> None:
    table = pa.table({"image": [png(i) for i in range(len(HOSTILE))], "label": HOSTILE})
    pq.write_table(table, tmp_path / "a.parquet")
    dataset = data.open(tmp_path / "a.parquet")
    assert set(dataset.label_names) == set(HOSTILE)
    keys = data.write(dataset, tmp_path / "out", "folder")
    inside = (tmp_path / "out").resolve()
    assert all((inside / key).resolve().parent.parent == inside for key in keys)
    again = data.open(tmp_path / "out")
    assert len(again.label_names) == len(HOSTILE)
    assert sorted(keys) == again.keys.to_pylist()


def test_hostile_file_names_in_a_folder_are_kept(tmp_path: Path) -> None:
    for name in ("<img src=x>.png", "a\nb.png", "#1 %00.png"):
        (tmp_path / "in" / "c").mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / "c" / name).write_bytes(png(1))
    dataset = data.open(tmp_path / "in")
    assert data.write(dataset, tmp_path / "out") == dataset.keys.to_pylist()


@pytest.mark.parametrize("bad", ["../x.png", "/etc/passwd", "a/../../x", "", "a\\b", "a//b"])
def test_hostile_paths_in_parquet_are_no_keys(bad: str, tmp_path: Path) -> None:
    images = [{"bytes": png(0), "path": "ok.png"}, {"bytes": png(1), "path": bad}]
    pq.write_table(pa.table({"image": images, "label": [0, 1]}), tmp_path / "a.parquet")
    assert data.open(tmp_path / "a.parquet").keys.to_pylist() == ["a.parquet#000000", "a.parquet#000001"]


@pytest.mark.parametrize("name", ["label", "image", "note"])
def test_two_columns_of_one_name(name: str, tmp_path: Path) -> None:
    columns = {"image": pa.array([png(0)]), "label": pa.array(["a"]), "note": pa.array(["b"])}
    names = [*columns, name]
    pq.write_table(pa.Table.from_arrays([columns[each] for each in names], names), tmp_path / "a.parquet")
    refuses(tmp_path / "a.parquet", f"two columns have the name '{name}'")


def test_a_parquet_path_is_never_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(png(1))
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    images = pa.array([{"bytes": None, "path": str(secret)}, {"bytes": png(2), "path": "b"}, None], kind)
    pq.write_table(pa.table({"image": images, "label": [0, 1, 1]}), tmp_path / "a.parquet")
    assert [r.content for r in data.open(tmp_path / "a.parquet")] == [b"", png(2), b""]


@pytest.mark.parametrize("bad", ["../x.png", "/etc/passwd", ""])
def test_metadata_that_leads_out_of_the_folder(bad: str, tmp_path: Path) -> None:
    (tmp_path / "metadata.jsonl").write_text(json.dumps({"file_name": bad, "label": 1}) + "\n")
    refuses(tmp_path, "not a path inside the folder")


def test_metadata_without_its_file_is_an_unreadable_record(tmp_path: Path) -> None:
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "gone.png", "label": 1}\n')
    batch = next(data.load_images(data.open(tmp_path), 8))
    assert batch.unreadable == [(0, "empty (zero bytes)")]


def _link(archive: tarfile.TarFile, kind: bytes) -> None:
    info = tarfile.TarInfo("000001.png")
    info.type, info.linkname = kind, "/etc/passwd"
    archive.addfile(info)


TARS: dict[str, tuple[Callable[[tarfile.TarFile], None], str]] = {
    "dotdot": (lambda a: add(a, "../x.png", png(1)), "unsafe name"),
    "absolute": (lambda a: add(a, "/etc/x.png", png(1)), "unsafe name"),
    "inner": (lambda a: add(a, "a/../../x.png", png(1)), "unsafe name"),
    "newline": (lambda a: add(a, "a\nb.png", png(1)), "unsafe name"),
    "symlink": (lambda a: _link(a, tarfile.SYMTYPE), "link"),
    "hardlink": (lambda a: _link(a, tarfile.LNKTYPE), "link"),
    "device": (lambda a: _link(a, tarfile.CHRTYPE), "device"),
    "fifo": (lambda a: _link(a, tarfile.FIFOTYPE), "device"),
    "duplicate": (lambda a: add(a, "000000.png", png(1)), "twice"),
    "json": (lambda a: add(a, "000000.json", b"[1"), "not valid JSON"),
    "cls": (lambda a: add(a, "000000.cls2", b""), "no label column"),
}


@pytest.mark.parametrize("kind", list(TARS))
def test_a_hostile_tar(kind: str, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        add(archive, "000000.png", png(0))
        TARS[kind][0](archive)
    refuses(tmp_path / "a.tar", TARS[kind][1])


def test_a_tar_with_data_behind_its_end(tmp_path: Path) -> None:
    path = builders.tar_cls(tmp_path)
    path.write_bytes(path.read_bytes() + builders.tar_shard(tmp_path / "b.tar", range(2)).read_bytes())
    refuses(path, "behind the end mark")


def test_a_tar_without_its_end_mark(tmp_path: Path) -> None:
    path = builders.tar_cls(tmp_path)
    path.write_bytes(path.read_bytes().rstrip(b"\0") + b"\0" * 100)
    refuses(path, "truncated or corrupt")


class _Bomb:
    """Would run code, were it ever unpickled."""

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, ("touch /tmp/bezoar-was-here",)


def test_a_pickle_in_an_npz(tmp_path: Path) -> None:
    marker = Path("/tmp/bezoar-was-here")  # noqa: S108 - must never come to be
    np.savez(tmp_path / "a.npz", images=np.zeros((2, 4, 4), np.uint8), labels=np.array([_Bomb(), _Bomb()]))
    refuses(tmp_path / "a.npz", "pickled objects")
    with zipfile.ZipFile(tmp_path / "b.npz", "w") as archive:
        archive.writestr("images.npy", pickle.dumps(_Bomb()))
        archive.writestr("labels.npy", pickle.dumps(_Bomb()))
    refuses(tmp_path / "b.npz", "malformed header")
    assert not marker.exists()


def test_an_npz_that_claims_to_be_huge_is_refused_before_allocation(tmp_path: Path) -> None:
    header = io.BytesIO()
    shape = (2**40, 1024, 1024)
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": shape})
    for kind in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        with zipfile.ZipFile(tmp_path / f"a{kind}.npz", "w", kind) as archive:
            archive.writestr("images.npy", header.getvalue())
            archive.writestr("labels.npy", header.getvalue())
        refuses(tmp_path / f"a{kind}.npz", "truncated|limit")


@pytest.mark.parametrize(
    ("images", "labels", "match"),
    [
        (np.zeros((3, 4, 4)), np.zeros(3, int), "must be uint8"),
        (np.zeros((3, 4), np.uint8), np.zeros(3, int), "must be uint8"),
        (np.zeros((3, 4, 4), np.uint8), np.zeros(2, int), "3 images.*2 labels"),
        (np.zeros((3, 4, 4), np.uint8), np.zeros((3, 10), int), "one class per image"),
        (np.zeros((0, 4, 4), np.uint8), np.zeros(0, int), "no records"),
    ],
)
def test_npz_arrays_that_do_not_fit(images: object, labels: object, match: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=images, labels=labels)
    refuses(tmp_path / "a.npz", match)


def test_an_idx_file_that_claims_to_be_huge(tmp_path: Path) -> None:
    path = builders.idx_gz(tmp_path)
    images = path / "train-images-idx3-ubyte.gz"
    images.write_bytes(gzip.compress(struct.pack(">4B3I", 0, 0, 8, 3, 2**32 - 1, 2**31, 2**31)))
    refuses(path, "exceed the limit")


def test_csv_and_jsonl_that_are_malformed(tmp_path: Path) -> None:
    cases = {
        "a.csv": b"text,label\nx,1,2\n",
        "b.csv": b'text,label\n"x,1\n',
        "c.csv": b"text,label\n\xff\xfe,1\n",
        "d.csv": b"text,text,label\n",
        "e.csv": b"",
        "f.csv": b"text,label\n",
        "a.jsonl": b'{"text": "x", "label": 1}\n[1]\n',
        "b.jsonl": b'{"text": "x", "label": 1}\n{"text"\n',
        "c.jsonl": b"[" * 100_000,
        "d.jsonl": b'{"text": "x", "label": [1]}\n',
        "e.jsonl": b'{"text": "x", "label": 0.5}\n',
    }
    for name, content in cases.items():
        (tmp_path / name).write_bytes(content)
        refuses(tmp_path / name, name)


def test_labels_outside_the_class_names(tmp_path: Path) -> None:
    table = builders.image_table().set_column(2, "label", pa.array([99] * builders.COUNT))
    pq.write_table(
        table.replace_schema_metadata(builders.image_table().schema.metadata), tmp_path / "a.parquet"
    )
    refuses(tmp_path / "a.parquet", "99 lies outside the 3 class names")


def test_hugging_face_metadata_that_is_malformed_is_ignored(tmp_path: Path) -> None:
    for i, value in enumerate(
        [b"{", b"[]", b'{"info": 3}', b'{"info": {"features": {"label": {"names": [1]}}}}']
    ):
        table = pa.table({"image": [png(0), png(1)], "label": [4, 7]}).replace_schema_metadata(
            {"huggingface": value}
        )
        pq.write_table(table, tmp_path / f"{i}.parquet")
        assert data.open(tmp_path / f"{i}.parquet").label_names == ("4", "7")


def test_text_that_is_not_utf8(tmp_path: Path) -> None:
    bad = pa.Array.from_buffers(pa.string(), 2, pa.array([b"ok", b"\xff"]).buffers())
    good = pa.array([png(0), png(1)])
    for name, table in {
        "label": pa.table({"image": good, "label": bad}),
        "note": pa.table({"image": good, "label": [0, 1], "note": bad}),
        "path": pa.table(
            {"image": pa.StructArray.from_arrays([good, bad], ["bytes", "path"]), "label": [0, 1]}
        ),
    }.items():
        pq.write_table(table, tmp_path / f"{name}.parquet")
        refuses(tmp_path / f"{name}.parquet", "malformed.*UTF8")


def test_state_json_that_leads_out_of_the_folder(tmp_path: Path) -> None:
    path = builders.arrow(tmp_path)
    (path / "state.json").write_text('{"_data_files": [{"filename": "../x.arrow"}]}')
    refuses(path, "not the name of a file in this folder")
