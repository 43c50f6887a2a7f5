"""Sealing anew: what is not read again, and what is although it looks unchanged."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bezoar.custody.seal import cache, hashing, records, walk
from custody.seal.support import FORMATS, checked, flip, jsonl, make, plain_folder, sealed


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that are opened to be hashed; files are taken for settled at once."""
    names: list[str] = []
    real = hashing._Hasher._file

    def watch(self: hashing._Hasher, folder: walk.Folder, name: str) -> None:
        before = self._known.digest if self._known is not None else None

        def digest(path: str, status: hashing.Stat) -> bytes | None:
            assert before is not None
            found = before(path, status)
            if found is None:
                names.append(path)
            return found

        if self._known is not None:
            self._known.digest = digest  # type: ignore[method-assign]
        try:
            real(self, folder, name)
        finally:
            if self._known is not None:
                self._known.digest = before  # type: ignore[assignment, method-assign]

    monkeypatch.setattr(hashing._Hasher, "_file", watch)
    monkeypatch.setattr(cache, "RACY_NS", -(10**18))
    return names


def test_unchanged_files_are_not_read_again(tmp_path: Path, opened: list[str]) -> None:
    path = plain_folder(tmp_path / "files")
    first = sealed(path).root
    assert len(opened) == 3
    opened.clear()
    assert sealed(path).root == first
    assert opened == []
    (path / "a.bin").write_bytes(b"\0\1\3")
    assert sealed(path).root != first
    assert opened == ["a.bin"]
    assert checked(path).valid


@pytest.mark.parametrize("name", FORMATS)
def test_sealing_anew_gives_the_same_seal(name: str, tmp_path: Path, opened: list[str]) -> None:
    path = make(name, tmp_path)
    one = [(row, row.media_type) for row in sealed(path).manifest.rows()]
    opened.clear()
    assert [(row, row.media_type) for row in sealed(path).manifest.rows()] == one
    assert opened == []
    assert checked(path).valid


def test_records_of_unchanged_files_are_not_hashed_again(
    tmp_path: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = jsonl(tmp_path / "t.jsonl")
    sealed(path)
    hashed = []
    real = records.hash_contents
    monkeypatch.setattr(records, "hash_contents", lambda dataset: (hashed.append(1), real(dataset))[1])
    sealed(path)
    assert hashed == []
    sealed(path, full=True)
    assert hashed == [1]
    path.write_text(path.read_text().replace("text 3", "text 4"))
    sealed(path)
    assert hashed == [1, 1]
    assert checked(path).valid


def test_a_change_that_keeps_size_and_time_is_seen_by_the_time_of_change(
    tmp_path: Path, opened: list[str]
) -> None:
    path = plain_folder(tmp_path / "files")
    sealed(path)
    status = (path / "a.bin").stat()
    flip(path / "a.bin")
    os.utime(path / "a.bin", ns=(status.st_atime_ns, status.st_mtime_ns))
    sealed(path)
    assert checked(path).valid


def test_full_trusts_nothing(tmp_path: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that does not move, the worst that a file system can do."""
    path = plain_folder(tmp_path / "files")
    monkeypatch.setattr(hashing, "_status", lambda entry: (entry.st_size, 1, 1, 1))
    sealed(path)
    flip(path / "a.bin")
    sealed(path)
    assert not checked(path).valid
    sealed(path, full=True)
    assert checked(path).valid


def test_files_that_were_touched_just_now_are_not_remembered(tmp_path: Path) -> None:
    path = plain_folder(tmp_path / "files")
    sealed(path)
    flip(path / "a.bin")
    sealed(path)
    assert checked(path).valid
    remembered = cache.Cache.open(path, records.Layout())
    assert remembered._places == {}
    for file in path.rglob("*"):
        os.utime(file, ns=(1, 1))
    sealed(path)  # changed (ctime) just now
    assert cache.Cache.open(path, records.Layout())._places == {}


@pytest.mark.parametrize("damage", ["garbage", "cut", "flip", "empty", "folder"])
def test_a_damaged_cache_is_as_good_as_none(
    tmp_path: Path, own_cache: Path, opened: list[str], damage: str
) -> None:
    path = jsonl(tmp_path / "t.jsonl")
    sealed(path)
    for file in [f for f in own_cache.rglob("*") if f.is_file()]:
        data = file.read_bytes()
        if damage == "flip":
            flip(file, len(data) // 2)
        elif damage == "folder":
            file.unlink()
            file.mkdir()
        else:
            file.write_bytes({"garbage": b"x" * 100, "cut": data[:-40], "empty": b""}[damage])
    opened.clear()
    sealed(path)
    assert opened == ["."]
    assert checked(path).valid


def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    path = plain_folder(tmp_path / "files")
    sealed(path)
    assert checked(path).valid
