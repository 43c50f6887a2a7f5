"""An archive over the wire: held to its digest or its seal before a byte of it is parsed."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from acquire.archives.builders import tar
from acquire.archives.test_extract_tar import contents
from acquire.servers import Asked, Script, Server, head, page, ranged, serve
from bezoar.acquire.archives.fetching import Promise, fetch_archive, fetch_file, unpack_archive
from bezoar.acquire.archives.limits import ArchiveLimits
from bezoar.acquire.http.client import Client
from bezoar.acquire.http.exchange import Limits, Policy
from bezoar.acquire.quarantine.store import Quarantine
from bezoar.acquire.reasons import Verdict
from bezoar.acquire.sealed_digests import Sealed
from bezoar.errors import InputError, LimitError, OutputError, UsageError, VerificationError

FILES = {"a.png": os.urandom(30_000), "d/b.png": os.urandom(40_000)}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bezoar.acquire.transfers.FIRST_PAUSE_S", 0.01)


@pytest.fixture
def archive(tmp_path: Path) -> bytes:
    return tar(tmp_path / "source.tar.gz", *FILES.items(), mode="w:gz").read_bytes()


@pytest.fixture
def server(archive: bytes) -> Iterator[Server]:
    with serve({"/x.tar.gz": ranged(archive)}) as running:
        yield running


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with Client(Limits(), Policy(allowed=(f"127.0.0.1:{server.port}",), opt_outs=())) as made:
        yield made


def digest(content: bytes) -> Promise:
    return Promise(sha256=hashlib.sha256(content).digest())


def nothing_left(tmp_path: Path) -> None:
    assert not (tmp_path / "out").exists()
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".partial")]


def test_an_archive_with_the_right_digest(
    archive: bytes, server: Server, client: Client, tmp_path: Path
) -> None:
    found = fetch_archive(client, server.url + "/x.tar.gz?token=s3cret", tmp_path / "out", digest(archive))
    assert contents(tmp_path / "out") == FILES
    assert (found.verdict, found.size) == (Verdict.VERIFIED, len(archive))
    value = json.loads((tmp_path / "out.fetch" / "archive.json").read_text())
    assert (value["sha256"], value["verdict"], value["files"]) == (
        hashlib.sha256(archive).hexdigest(),
        "verified",
        2,
    )
    assert value["final_url"] == server.url + "/x.tar.gz"
    assert "s3cret" not in json.dumps(value)
    assert not list((tmp_path / "out.fetch" / "parts").iterdir())


def test_nothing_promised_is_refused_before_anything_is_asked(
    server: Server, client: Client, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="nothing says what it must be"):
        fetch_archive(client, server.url + "/x.tar.gz", tmp_path / "out", Promise())
    assert not server.asked
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("out")]


def test_unverified_is_said(archive: bytes, server: Server, client: Client, tmp_path: Path) -> None:
    found = fetch_archive(client, server.url + "/x.tar.gz", tmp_path / "out", Promise(nothing=True))
    assert found.verdict is Verdict.UNVERIFIED
    assert json.loads((tmp_path / "out.fetch" / "archive.json").read_text())["verdict"] == "unverified"


def test_one_flipped_byte_is_never_parsed(
    archive: bytes, server: Server, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = archive[:-9] + bytes([archive[-9] ^ 1]) + archive[-8:]
    server.site = {"/x.tar.gz": page(wrong, etag='"right"')}
    monkeypatch.setattr("bezoar.acquire.archives.fetching.extract", lambda *_, **__: pytest.fail("parsed"))
    with pytest.raises(VerificationError, match="is not what was promised"):
        fetch_archive(client, server.url + "/x.tar.gz", tmp_path / "out", digest(archive))
    nothing_left(tmp_path)
    store = Quarantine.at(tmp_path / "out.fetch" / "quarantine")
    [held] = store.entries()
    assert store.content(held.sha256) == wrong


def test_a_broken_download_goes_on_the_next_time(
    archive: bytes, server: Server, client: Client, tmp_path: Path
) -> None:
    half = len(archive) // 2
    server.site = {"/x.tar.gz": lambda _: iter([head(200, content_length=len(archive)) + archive[:half]])}
    with pytest.raises(InputError, match="cannot be fetched"):
        fetch_archive(client, server.url + "/x.tar.gz", tmp_path / "out", digest(archive))
    nothing_left(tmp_path)
    server.site = {"/x.tar.gz": ranged(archive)}
    server.asked.clear()
    fetch_archive(client, server.url + "/x.tar.gz", tmp_path / "out", digest(archive))
    assert [asked.headers.get("range") for asked in server.asked] == [f"bytes={half}-"]
    assert contents(tmp_path / "out") == FILES


def test_without_a_digest_halves_are_not_joined(
    archive: bytes, server: Server, client: Client, tmp_path: Path
) -> None:
    half = len(archive) // 2
    server.site = {"/x.tar.gz": lambda _: iter([head(200, content_length=len(archive)) + archive[:half]])}
    with pytest.raises(InputError):
        fetch_archive(client, server.url + "/x.tar.gz", tmp_path / "out", Promise(nothing=True))
    server.site = {"/x.tar.gz": ranged(archive)}
    server.asked.clear()
    fetch_archive(client, server.url + "/x.tar.gz", tmp_path / "out", Promise(nothing=True))
    assert [asked.headers.get("range") for asked in server.asked] == [None]


def test_a_seal_of_the_content(archive: bytes, server: Server, client: Client, tmp_path: Path) -> None:
    right = {name: hashlib.sha256(content).digest() for name, content in FILES.items()}
    found = fetch_archive(
        client, server.url + "/x.tar.gz", tmp_path / "one", Promise(sealed=Sealed(right, frozenset(), "ann"))
    )
    assert found.verdict is Verdict.VERIFIED
    wrong = Sealed({**right, "a.png": bytes(32)}, frozenset(), "ann")
    with pytest.raises(VerificationError, match=r"'a\.png' is not what was sealed"):
        fetch_archive(client, server.url + "/x.tar.gz", tmp_path / "out", Promise(sealed=wrong))
    nothing_left(tmp_path)
    assert len(Quarantine.at(tmp_path / "out.fetch" / "quarantine").entries()) == 1


def test_a_hostile_archive_that_has_its_digest(server: Server, client: Client, tmp_path: Path) -> None:
    evil = tar(tmp_path / "evil.tar", ("../evil", b"1")).read_bytes()
    server.site = {"/x.tar.gz": page(evil)}
    with pytest.raises(InputError, match=r"x\.tar\.gz: '\.\./evil' has an empty part"):
        fetch_archive(client, server.url + "/x.tar.gz", tmp_path / "out", digest(evil))
    nothing_left(tmp_path)
    with pytest.raises(LimitError):
        fetch_archive(
            client, server.url + "/x.tar.gz", tmp_path / "out", digest(evil), ArchiveLimits(total_bytes=100)
        )


@pytest.mark.parametrize("status", [403, 404, 410])
def test_a_server_that_says_no(status: int, server: Server, client: Client, tmp_path: Path) -> None:
    server.site = {"/x.tar.gz": page(b"no", status)}
    with pytest.raises(InputError, match=f"cannot be fetched .*{status}"):
        fetch_archive(client, server.url + "/x.tar.gz", tmp_path / "out", Promise(nothing=True))
    nothing_left(tmp_path)
    assert len(server.asked) == 1


@pytest.mark.parametrize("announced", [True, False])
def test_a_download_is_capped(announced: bool, server: Server, client: Client, tmp_path: Path) -> None:
    def endless(_: Asked) -> Script:
        yield head(connection="close")
        for _ in range(4_000):  # 256 MB, if nobody minds
            yield bytes(64 << 10)

    server.site = {"/x.tar.gz": page(bytes(200_000)) if announced else endless}
    url = server.url + "/x.tar.gz"
    with pytest.raises(LimitError, match=r"is larger than 100,000 bytes; raise --max-total-bytes"):
        fetch_archive(
            client, url, tmp_path / "out", Promise(nothing=True), ArchiveLimits(total_bytes=100_000)
        )
    with pytest.raises(LimitError, match=r"is larger than 100,000 bytes; raise --max-total-bytes"):
        fetch_file(client, url, tmp_path / "out", Promise(nothing=True), 100_000)
    nothing_left(tmp_path)
    assert not list((tmp_path / "out.fetch" / "parts").iterdir())


def test_a_private_address_is_not_asked(server: Server, tmp_path: Path) -> None:
    with Client() as client, pytest.raises(InputError, match="--allow-host"):
        fetch_archive(client, server.url + "/x.tar.gz", tmp_path / "out", Promise(nothing=True))
    assert not server.asked


def test_an_existing_output_costs_no_download(
    archive: bytes, server: Server, client: Client, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(OutputError, match="exists already"):
        fetch_archive(client, server.url + "/x.tar.gz", tmp_path / "out", digest(archive))
    assert not server.asked


def test_a_file_as_it_is(archive: bytes, server: Server, client: Client, tmp_path: Path) -> None:
    found = fetch_file(client, server.url + "/x.tar.gz", tmp_path / "kept.tgz", digest(archive))
    assert (tmp_path / "kept.tgz").read_bytes() == archive
    assert found.unpacking is None
    with pytest.raises(UsageError, match="--sha256"):
        fetch_file(
            client, server.url + "/x.tar.gz", tmp_path / "o", Promise(sealed=Sealed({}, frozenset(), "ann"))
        )


def test_an_archive_of_this_machine(archive: bytes, tmp_path: Path) -> None:
    path = tmp_path / "source.tar.gz"
    assert unpack_archive(path, tmp_path / "out", digest(archive)).verdict is Verdict.VERIFIED
    assert contents(tmp_path / "out") == FILES
    with pytest.raises(VerificationError, match="is not what was promised"):
        unpack_archive(path, tmp_path / "two", digest(b"other"))
    with pytest.raises(UsageError, match="nothing says"):
        unpack_archive(path, tmp_path / "two", Promise())
    assert not (tmp_path / "two").exists()
    assert path.read_bytes() == archive
