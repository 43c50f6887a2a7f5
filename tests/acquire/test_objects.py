"""Objects of a store: hashed while they are copied, held to a seal or to an earlier record, never to the store's own word."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from acquire.archives.builders import tar
from bezoar.acquire.archives.fetching import Promise
from bezoar.acquire.archives.limits import ArchiveLimits
from bezoar.acquire.objects import ObjectOptions, copy_object, copy_objects, read_record, unpack_object
from bezoar.acquire.quarantine.store import Quarantine
from bezoar.acquire.reasons import Reason
from bezoar.acquire.sealed_digests import Sealed
from bezoar.acquire.stores import Store
from bezoar.errors import (
    InputError,
    LimitError,
    MissingExtraError,
    OutputError,
    UsageError,
    VerificationError,
)

FILES = {"a.png": b"1" * 3_000_000, "d/b.png": b"22", "d/e/c.txt": b""}
ANY = ObjectOptions(nothing=True)


@pytest.fixture
def bucket() -> Iterator[str]:
    """The URL of a folder in memory that holds FILES."""
    url = f"memory://{uuid.uuid4().hex}/data"
    put(url, FILES)
    yield url
    fsspec.filesystem("memory").rm(url.removeprefix("memory://").split("/")[0], recursive=True)


def put(url: str, files: dict[str, bytes]) -> None:
    memory = fsspec.filesystem("memory")
    for name, content in files.items():
        memory.pipe_file(f"{url.removeprefix('memory://')}/{name}", content)


def contents(out: Path) -> dict[str, bytes]:
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def digests(files: dict[str, bytes]) -> dict[str, bytes]:
    return {name: hashlib.sha256(content).digest() for name, content in files.items()}


def test_a_folder_of_objects(bucket: str, tmp_path: Path) -> None:
    report = copy_objects(Store(bucket), tmp_path / "out", ANY)
    assert contents(tmp_path / "out") == FILES
    assert (report.verified, report.unverified, report.copied, report.rejected) == (0, 3, 3, [])
    assert read_record(tmp_path / "out.fetch" / "objects.json") == digests(FILES)


def test_nothing_promised_is_refused(bucket: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing says what it must be"):
        copy_objects(Store(bucket), tmp_path / "out", ObjectOptions())
    assert not list(tmp_path.iterdir())


def test_the_record_of_an_earlier_copy_pins(bucket: str, tmp_path: Path) -> None:
    copy_objects(Store(bucket), tmp_path / "one", ANY)
    pin = ObjectOptions(expected=read_record(tmp_path / "one.fetch" / "objects.json"))
    assert copy_objects(Store(bucket), tmp_path / "two", pin).verified == 3
    put(bucket, {"a.png": b"2" * 3_000_000, "new": b"3"})
    fsspec.filesystem("memory").rm_file(bucket.removeprefix("memory://") + "/d/e/c.txt")
    report = copy_objects(Store(bucket), tmp_path / "three", pin)
    assert {(path, reason) for path, reason, _ in report.rejected} == {
        ("a.png", Reason.HASH_MISMATCH),
        ("new", Reason.HASH_MISSING),
        ("d/e/c.txt", Reason.HASH_MISMATCH),
    }
    assert contents(tmp_path / "three") == {"d/b.png": b"22"}
    [held] = Quarantine.at(tmp_path / "three.fetch" / "quarantine").entries()
    assert (held.key, held.sha256) == ("a.png", hashlib.sha256(b"2" * 3_000_000).hexdigest())


def test_a_seal(bucket: str, tmp_path: Path) -> None:
    put(bucket, {".gitattributes": b"x"})
    sealed = Sealed(digests(FILES), frozenset({".gitattributes"}), "ann")
    report = copy_objects(Store(bucket), tmp_path / "out", ObjectOptions(sealed=sealed))
    assert (report.verified, report.skipped, report.rejected) == (3, 1, [])


def test_what_is_there_is_hashed(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy_objects(Store(bucket), tmp_path / "out", ANY)
    (tmp_path / "out" / "d" / "b.png").write_bytes(b"23")
    report = copy_objects(Store(bucket), tmp_path / "out", ANY)
    assert report.copied == 1
    assert contents(tmp_path / "out") == FILES


def test_an_interrupted_copy_goes_on(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = ObjectOptions(expected=digests(FILES))
    pieces = Store.pieces

    def breaks(store: Store, place: str) -> Iterator[bytes]:
        if place.endswith("a.png"):
            yield next(pieces(store, place))
            raise KeyboardInterrupt
        yield from pieces(store, place)

    monkeypatch.setattr(Store, "pieces", breaks)
    with pytest.raises(KeyboardInterrupt):
        copy_objects(Store(bucket), tmp_path / "out", options)
    assert "a.png" not in contents(tmp_path / "out")
    monkeypatch.undo()
    report = copy_objects(Store(bucket), tmp_path / "out", options)
    assert contents(tmp_path / "out") == FILES
    assert (report.verified, report.rejected) == (3, [])


@pytest.mark.parametrize(("size", "reason"), [(2, Reason.TOO_LARGE), (4_000_000, Reason.TRUNCATED)])
def test_an_object_that_is_not_as_large_as_listed(
    size: int, reason: Reason, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(bucket)
    find = store.fs.find

    def lies(*args: Any, **options: Any) -> Any:
        listed = find(*args, **options)
        return {
            name: {**info, "size": size} if name.endswith("a.png") else info for name, info in listed.items()
        }

    monkeypatch.setattr(store.fs, "find", lies)
    report = copy_objects(store, tmp_path / "out", ANY)
    assert [(path, why) for path, why, _ in report.rejected] == [("a.png", reason)]
    assert set(contents(tmp_path / "out")) == {"d/b.png", "d/e/c.txt"}


@pytest.mark.parametrize(
    "names", [("../evil",), ("a\\b",), ("x", "X"), (".git/config",), ("caf\u00e9", "cafe\u0301")]
)
def test_unsafe_names(names: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"memory://{uuid.uuid4().hex}"
    put(url, {"fine": b"1"})
    store = Store(url)
    listed = {f"{store.root}/{name}": {"name": name, "size": 1} for name in names}
    monkeypatch.setattr(store.fs, "find", lambda *_, **__: listed)
    with pytest.raises(InputError):
        copy_objects(store, tmp_path / "out", ANY)
    assert not (tmp_path / "out").exists()


def test_caps(bucket: str, tmp_path: Path) -> None:
    with pytest.raises(LimitError, match="at most 2 are copied"):
        copy_objects(Store(bucket), tmp_path / "out", ObjectOptions(nothing=True, max_objects=2))
    with pytest.raises(LimitError, match="at most 100 are copied"):
        copy_objects(Store(bucket), tmp_path / "out", ObjectOptions(nothing=True, max_bytes=100))


def test_other_outputs_are_left_alone(bucket: str, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "x").write_bytes(b"1")
    with pytest.raises(OutputError, match="was not copied from a store"):
        copy_objects(Store(bucket), tmp_path / "mine", ANY)
    copy_objects(Store(bucket), tmp_path / "out", ANY)
    with pytest.raises(OutputError, match="holds objects of"):
        copy_objects(Store(bucket + "/d"), tmp_path / "out", ANY)


@pytest.mark.parametrize(
    "source",
    [
        "file:///etc",
        "local:///etc",
        "http://x/y",
        "hf://datasets/a/b",
        "simplecache::s3://b/x",
        "zip://a::file:///b",
        "/etc",
    ],
)
def test_what_is_no_store(source: str) -> None:
    with pytest.raises(UsageError, match="is not the URL of an object store"):
        Store(source)


def test_a_scheme_in_capitals(bucket: str) -> None:
    capitals = Store(bucket.replace("memory://", "MEMORY://"))
    assert capitals.source == bucket
    assert capitals.objects(100) == Store(bucket).objects(100)


def test_a_scheme_that_nobody_knows() -> None:
    with pytest.raises(UsageError, match="fsspec does not know it"):
        Store("nosuch://bucket/x")


def test_a_store_whose_package_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "s3fs", None)
    with pytest.raises(MissingExtraError, match=r"bezoar\[remote\]"):
        Store("s3://bucket/x")


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no objects there|cannot be read"):
        copy_objects(Store(f"memory://{uuid.uuid4().hex}"), tmp_path / "out", ANY)


def test_a_single_object(bucket: str, tmp_path: Path) -> None:
    store = Store(bucket + "/d/b.png")
    assert store.is_object()
    assert not Store(bucket).is_object()
    copy_object(store, tmp_path / "b.png", Promise(sha256=hashlib.sha256(b"22").digest()))
    assert (tmp_path / "b.png").read_bytes() == b"22"
    with pytest.raises(VerificationError, match="what came is in"):
        copy_object(store, tmp_path / "c.png", Promise(sha256=bytes(32)))
    assert not (tmp_path / "c.png").exists()
    with pytest.raises(UsageError, match="nothing says"):
        copy_object(store, tmp_path / "c.png", Promise())


def test_a_single_object_is_capped(bucket: str, tmp_path: Path) -> None:
    with pytest.raises(LimitError, match=r"3,000,000 bytes; at most 100 are copied; raise --max-total-bytes"):
        copy_object(Store(bucket + "/a.png"), tmp_path / "out", Promise(nothing=True), 100)
    put(bucket, {"a.tar": bytes(10_240)})
    with pytest.raises(LimitError, match=r"10,240 bytes; at most 100 are copied"):
        unpack_object(
            Store(bucket + "/a.tar"), tmp_path / "out", Promise(nothing=True), ArchiveLimits(total_bytes=100)
        )
    assert not (tmp_path / "out").exists()


def test_an_archive_in_a_store(bucket: str, tmp_path: Path) -> None:
    data = tar(tmp_path / "a.tar", ("x", b"1"), ("d/y", b"2")).read_bytes()
    put(bucket, {"a.tar": data})
    promise = Promise(sha256=hashlib.sha256(data).digest())
    unpack_object(Store(bucket + "/a.tar"), tmp_path / "out", promise, ArchiveLimits())
    assert contents(tmp_path / "out") == {"x": b"1", "d/y": b"2"}
    assert json.loads((tmp_path / "out.fetch" / "archive.json").read_text())["source"] == bucket + "/a.tar"
