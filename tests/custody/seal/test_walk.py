"""What is refused, by its path, and that nothing is written then; threads and large files; changes under the reader's eyes."""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from bezoar.custody.seal import hashing, walk
from bezoar.custody.seal.hashing import changed_since, hash_tree
from bezoar.custody.seal.walk import list_tree
from bezoar.errors import InputError, OutputError, UsageError
from cli.support import image_folder
from custody.seal.support import checked, plain_folder, sealed


def test_digests_and_order(tmp_path: Path) -> None:
    names = ["b", "B/x", "a.b", "a/b", "a0", "ü", "\U0001f600", "￮", "z" * 200]
    contents = {name: name.encode() * 3 for name in names}
    contents["large"] = os.urandom(3 << 20)
    contents["block"] = os.urandom(1 << 18)
    contents["none"] = b""
    for name, data in contents.items():
        (tmp_path / "t" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "t" / f"{name}").write_bytes(data) if name != "b" else None
    del contents["b"]
    files = hash_tree(tmp_path / "t")
    assert files.paths == sorted(contents)
    assert files.paths == list_tree(tmp_path / "t")
    assert list(files.digests()) == [hashlib.sha256(contents[name]).digest() for name in files.paths]
    assert files.status[:, hashing.SIZE].tolist() == [len(contents[name]) for name in files.paths]
    assert hash_tree(tmp_path / "t", ignored={"a", "large"}).paths == [
        n for n in files.paths if n not in ("a/b", "large")
    ]


def _link(path: Path) -> str:
    (path / "deep" / "link").symlink_to(path / "a.bin")
    return "deep/link: is a symbolic link"


def _broken_link(path: Path) -> str:
    (path / "link").symlink_to("nowhere")
    return "link: is a symbolic link"


def _folder_link(path: Path) -> str:
    (path / "link").symlink_to(path / "deep")
    return "link: is a symbolic link"


def _pipe(path: Path) -> str:
    os.mkfifo(path / "deep" / "pipe")
    return "deep/pipe: is neither a file nor a folder"


def _socket(path: Path) -> str:
    here = Path.cwd()
    os.chdir(path)  # the name of a socket is short
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("socket")
    finally:
        os.chdir(here)
    return "socket: is neither a file nor a folder"


def _not_utf8(path: Path) -> str:
    (path / os.fsdecode(b"caf\xe9")).write_bytes(b"x")
    return r"caf\udce9: the name is not valid UTF-8"


def _folder_not_utf8(path: Path) -> str:
    (path / os.fsdecode(b"caf\xe9")).mkdir()
    return r"caf\udce9: the name is not valid UTF-8"


def _case(path: Path) -> str:
    (path / "A.bin").write_bytes(b"x")
    return "a.bin: differs from 'A.bin' by letter case only"


def _unicode_form(path: Path) -> str:
    (path / "e\u0301").write_bytes(b"x")
    (path / "\u00e9").write_bytes(b"y")
    return "by letter case only"


@pytest.mark.parametrize(
    "spoil",
    [_link, _broken_link, _folder_link, _pipe, _socket, _not_utf8, _folder_not_utf8, _case, _unicode_form],
)
def test_what_cannot_be_signed_is_refused(tmp_path: Path, spoil: Callable[[Path], str]) -> None:
    path = plain_folder(tmp_path / "files")
    message = spoil(path)
    with pytest.raises(InputError) as caught:
        sealed(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert [entry.name for entry in tmp_path.iterdir()] == ["files"]


def test_an_unreadable_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = image_folder(tmp_path / "signs")
    real = os.open

    def deny(name: object, *args: object, **options: object) -> int:
        if name == "002.png":
            raise PermissionError(13, "Permission denied")
        return real(name, *args, **options)  # type: ignore[arg-type, no-any-return]

    monkeypatch.setattr(walk.os, "open", deny)
    with pytest.raises(InputError, match=r"Stop/002\.png: cannot be read \(Permission denied\)"):
        sealed(path)
    assert not (tmp_path / "signs.seal").exists()


def test_a_file_that_becomes_a_link_before_it_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = image_folder(tmp_path / "signs")
    real = os.open

    def race(name: object, *args: object, **options: object) -> int:
        if name == "002.png" and not (path / "Stop" / "002.png").is_symlink():
            (path / "Stop" / "002.png").unlink()
            (path / "Stop" / "002.png").symlink_to("/etc/passwd")
        return real(name, *args, **options)  # type: ignore[arg-type, no-any-return]

    monkeypatch.setattr(walk.os, "open", race)
    with pytest.raises(InputError, match=r"Stop/002\.png: changes while it is read"):
        sealed(path)


@pytest.mark.parametrize("size", [100, 1 << 20])
def test_a_file_that_grows_while_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    path = tmp_path / "data"
    path.mkdir()
    (path / "file").write_bytes(bytes(size))
    real = os.fstat
    calls = []

    def grow(handle: int) -> os.stat_result:
        status = real(handle)
        if status.st_size >= size:
            calls.append(status)
            with (path / "file").open("ab") as file:
                file.write(b"more")
        return status

    monkeypatch.setattr(walk.os, "fstat", grow)
    with pytest.raises(InputError, match="file: changes while it is read"):
        sealed(path)
    assert calls
    assert not (tmp_path / "data.seal").exists()


def test_a_table_that_changes_between_its_files_and_its_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bezoar.custody.seal import records
    from custody.seal.support import jsonl

    path = jsonl(tmp_path / "t.jsonl")
    real = records.hash_contents

    def write(dataset: object) -> object:
        found = real(dataset)  # type: ignore[arg-type]
        path.write_bytes(path.read_bytes())
        return found

    monkeypatch.setattr(records, "hash_contents", write)
    with pytest.raises(InputError, match="changed while it was read"):
        sealed(path)
    assert not (tmp_path / "t.jsonl.seal").exists()


def test_changed_since(tmp_path: Path) -> None:
    path = plain_folder(tmp_path / "files")
    files = hash_tree(path)
    assert changed_since(files) is None
    (path / "new").write_bytes(b"")
    assert changed_since(files) == "new"
    (path / "new").unlink()
    (path / "a.bin").unlink()
    assert changed_since(files) == "a.bin"


def test_nothing_to_seal(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty"):
        sealed(tmp_path / "empty")
    (tmp_path / "empty" / ".git").mkdir()
    (tmp_path / "empty" / ".git" / "x").write_bytes(b"x")
    with pytest.raises(InputError, match="holds no files"):
        sealed(tmp_path / "empty")
    with pytest.raises(InputError, match="no such file or folder"):
        sealed(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="a pattern cannot be sealed"):
        sealed(tmp_path / "*.parquet")


def test_where_a_seal_may_not_go(tmp_path: Path) -> None:
    path = plain_folder(tmp_path / "files")
    with pytest.raises(UsageError, match="lies inside the dataset"):
        sealed(path, out=path / "seal")
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "thesis.tex").write_text("years")
    with pytest.raises(OutputError, match=r"holds 'thesis\.tex', so it is no seal"):
        sealed(path, out=tmp_path / "work")
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="exists already and is not a folder"):
        sealed(path, out=tmp_path / "file")
    with pytest.raises(OutputError, match="no such folder to write into"):
        sealed(path, out=tmp_path / "nowhere" / "x.seal")


def test_a_dataset_that_is_reached_through_a_link(tmp_path: Path) -> None:
    plain_folder(tmp_path / "files")
    (tmp_path / "link").symlink_to("files")
    assert sealed(tmp_path / "link").name == "link"  # it is what whoever verifies it asks for
    assert checked(tmp_path / "link").valid
