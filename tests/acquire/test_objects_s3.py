"""The real s3fs against a server that speaks S3 (moto), where both are installed: `pip install s3fs "moto[server]"`."""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from acquire.archives.builders import tar
from bezoar.acquire.archives.fetching import Promise
from bezoar.acquire.archives.limits import ArchiveLimits
from bezoar.acquire.objects import ObjectOptions, copy_objects, unpack_object
from bezoar.acquire.reasons import Reason
from bezoar.acquire.stores import Store
from bezoar.errors import InputError

pytest.importorskip("s3fs")
pytest.importorskip("moto.server")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning"),
]

FILES = {
    "a.png": os.urandom(12_000_000),
    "d/b.png": b"22",
    **{f"many/{n:04d}": b"%d" % n for n in range(1200)},
}


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = ThreadedMotoServer("127.0.0.1", port, verbose=False)
    server.start()
    yield f"http://127.0.0.1:{port}"
    server.stop()


@pytest.fixture
def bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    import s3fs

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    s3fs.S3FileSystem.clear_instance_cache()
    store = s3fs.S3FileSystem()
    store.mkdir("signs")
    for name, content in FILES.items():
        store.pipe_file(f"signs/v1/{name}", content)
    yield "s3://signs/v1"
    store.rm("signs", recursive=True)
    s3fs.S3FileSystem.clear_instance_cache()


def test_a_prefix_and_an_archive(bucket: str, tmp_path: Path) -> None:
    import s3fs

    expected = {name: hashlib.sha256(content).digest() for name, content in FILES.items()}
    report = copy_objects(Store(bucket), tmp_path / "out", ObjectOptions(expected=expected))
    assert (report.verified, report.rejected) == (len(FILES), [])
    assert {name: (tmp_path / "out" / name).read_bytes() for name in FILES} == FILES

    store = s3fs.S3FileSystem()
    store.pipe_file("signs/v1/d/b.png", b"23")
    report = copy_objects(Store(bucket), tmp_path / "two", ObjectOptions(expected=expected))
    assert [(path, reason) for path, reason, _ in report.rejected] == [("d/b.png", Reason.HASH_MISMATCH)]

    data = tar(tmp_path / "a.tar", ("x", b"1")).read_bytes()
    store.pipe_file("signs/a.tar", data)
    promise = Promise(sha256=hashlib.sha256(data).digest())
    unpack_object(Store("s3://signs/a.tar"), tmp_path / "unpacked", promise, ArchiveLimits())
    assert (tmp_path / "unpacked" / "x").read_bytes() == b"1"

    with pytest.raises(InputError, match=r"no objects there|cannot be read"):
        copy_objects(Store("s3://nobody/x"), tmp_path / "three", ObjectOptions(expected=expected))
