"""`bezoar fetch --url-list URL`: a list at a URL is held to its signature as a local one is, and its secrets are told nobody."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from acquire.fetch_support import pictures, site_of, write_list
from acquire.hub.hub_site import HubSite
from acquire.servers import Server, page, serve
from cli.life_support import desk
from cli.support import Cli

CONTENTS = pictures(3)
LOOPBACK = ("--allow-host", "127.0.0.1", "--processes-count", 1)


@pytest.fixture
def server() -> Iterator[Server]:
    with serve(site_of(CONTENTS)) as running:
        yield running


@pytest.fixture
def urls(cli: Cli, server: Server, tmp_path: Path) -> Path:
    """A list of what the server has, signed by ada."""
    for name in ("ada", "eve"):
        assert cli("keygen", tmp_path / name, "--no-password").code == 0
    listed = write_list(tmp_path / "list.csv", server.url, CONTENTS)
    assert cli("index", "sign", listed, "--key", tmp_path / "ada.key").code == 0
    return listed


def signature_of(urls: Path) -> bytes:
    return Path(f"{urls}.sig").read_bytes()


def test_the_signature_lies_beside_the_list(cli: Cli, server: Server, urls: Path, tmp_path: Path) -> None:
    lists = {"/list.csv": page(urls.read_bytes()), "/list.csv.sig": page(signature_of(urls))}
    server.site = {**site_of(CONTENTS), **lists}
    listed = ("--url-list", server.url + "/list.csv?token=SECRET", "--output-folder", "out", *LOOPBACK)
    stranger = cli("fetch", *listed, "--index-key", tmp_path / "eve.pub")
    assert stranger.code == 1
    assert server.targets() == ["/list.csv?token=SECRET", "/list.csv.sig?token=SECRET"]
    done = cli("fetch", *listed, "--index-key", tmp_path / "ada.pub")
    assert done.code == 0, done.err
    assert "  list signed by " in done.out
    other = page(urls.read_bytes().replace(b"picture /1", b"picture /2"))
    server.site = {**site_of(CONTENTS), **lists, "/list.csv": other}
    changed = cli("fetch", *listed, "--index-key", tmp_path / "ada.pub")
    assert (changed.code, "is not what was signed" in changed.error) == (1, True)


def test_without_a_signature_nothing_is_fetched(cli: Cli, server: Server, urls: Path, tmp_path: Path) -> None:
    server.site = {**site_of(CONTENTS), "/list.csv": page(urls.read_bytes())}
    listed = ("--url-list", server.url + "/list.csv?SECRET", "--output-folder", "out", *LOOPBACK)
    done = cli("fetch", *listed, "--index-key", tmp_path / "ada.pub")
    assert done.code == 2
    assert "/list.csv.sig: cannot be fetched (http_status: " in done.error
    assert "SECRET" not in done.error
    assert len(server.asked) == 2
    signature = ("--index-signature", f"{urls}.sig")
    assert cli("fetch", *listed, "--index-key", tmp_path / "ada.pub", *signature).code == 0


def test_a_signature_may_lie_elsewhere(cli: Cli, server: Server, urls: Path, tmp_path: Path) -> None:
    Path(f"{urls}.sig").rename(tmp_path / "elsewhere")
    signature = ("--index-signature", tmp_path / "elsewhere")
    alone = cli("fetch", urls, "out", *LOOPBACK, *signature)
    assert (alone.code, "--index-signature goes with --index-key" in alone.error) == (64, True)
    assert cli("fetch", urls, "out", *LOOPBACK, "--index-key", tmp_path / "ada.pub").code == 2
    assert not server.asked
    done = cli("fetch", urls, "out", *LOOPBACK, "--index-key", tmp_path / "ada.pub", *signature)
    assert done.code == 0, done.err


def test_a_signed_list_at_the_hub_and_in_a_store(
    cli: Cli, server: Server, urls: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {"list.csv": urls.read_bytes(), "list.csv.sig": signature_of(urls)}
    for name in ("HF_TOKEN", "HF_TOKEN_PATH", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    store = fsspec.filesystem("memory")
    store.pipe({f"/signed/{name}": content for name, content in files.items()})
    with serve(HubSite(files=files, lfs={})) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        for number, source in enumerate(("hf://datasets/ann/signs/list.csv", "memory://signed/list.csv")):
            listed = ("--url-list", source, "--output-folder", f"out{number}", *LOOPBACK)
            stranger = cli("fetch", *listed, "--index-key", tmp_path / "eve.pub")
            assert stranger.code == 1, stranger.err
            done = cli("fetch", *listed, "--index-key", tmp_path / "ada.pub")
            assert done.code == 0, done.err
            assert "  list signed by " in done.out


def test_a_secret_in_the_url_of_a_list_is_in_no_log(
    cli: Cli, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BEZOAR_STATE", str(tmp_path / "state"))
    desk(cli, tmp_path)
    content = write_list(tmp_path / "list.csv", server.url, CONTENTS).read_bytes()
    server.site = {**site_of(CONTENTS), "/list.csv": page(content)}
    done = cli(
        "fetch", "--url-list", server.url + "/list.csv?token=SECRET", "--output-folder", tmp_path / "out", *LOOPBACK,
        "--key", tmp_path / "ada.key", "--log", tmp_path / "log", "--log-key", tmp_path / "log.key",
    )  # fmt: skip
    assert done.code == 0, done.err
    told = cli("custody", tmp_path / "out", "000000000", "--log", tmp_path / "log").out
    assert f"from      list {server.url}/list.csv with SHA-256 " in told
    assert "SECRET" not in told
    written = [path for path in tmp_path.rglob("*") if path.is_file() and b"SECRET" in path.read_bytes()]
    assert written == []


def test_a_signature_at_a_url_and_a_fragment(cli: Cli, server: Server, urls: Path, tmp_path: Path) -> None:
    lists = {"/list.csv": page(urls.read_bytes()), "/list.csv.sig": page(signature_of(urls))}
    server.site = {**site_of(CONTENTS), **lists}
    listed = ("--url-list", server.url + "/list.csv#x", "--output-folder", "out", *LOOPBACK)
    key = ("--index-key", tmp_path / "ada.pub")
    done = cli("fetch", *listed, *key, "--index-signature", server.url + "/list.csv.sig")
    assert (done.code, "--index-signature wants a file" in done.error) == (64, True)
    assert not server.asked
    assert cli("fetch", *listed, *key).code == 0
    assert server.targets()[:2] == ["/list.csv", "/list.csv.sig"]


def test_what_keeps_nothing_is_not_sealed(cli: Cli, server: Server, urls: Path, tmp_path: Path) -> None:
    done = cli("fetch", urls, "out", *LOOPBACK, "--output-format", "dummy", "--key", tmp_path / "ada.key")
    assert (done.code, "keeps nothing that could be sealed" in done.error) == (64, True)
    assert not server.asked


def test_what_nothing_vouches_for(cli: Cli, server: Server, tmp_path: Path) -> None:
    listed = write_list(tmp_path / "list.csv", server.url, CONTENTS, dict.fromkeys(CONTENTS))
    assert "nothing that vouches for them" in cli("fetch", listed, "out", *LOOPBACK).out


@pytest.mark.parametrize("names", [(), (".gitattributes",)])
def test_an_archive_of_nothing_is_not_sealed(
    names: tuple[str, ...], cli: Cli, server: Server, tmp_path: Path
) -> None:
    assert cli("keygen", tmp_path / "ada", "--no-password").code == 0
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name in names:
            tar.addfile(tarfile.TarInfo(name))
    server.site = {"/a.tar": page(archive.getvalue())}
    digest = hashlib.sha256(archive.getvalue()).hexdigest()
    how = (server.url + "/a.tar", "out", "--sha256", digest, *LOOPBACK[:2], "--key", tmp_path / "ada.key")
    done = cli("fetch", *how)
    assert done.code == 0, done.err
    assert "  not sealed: nothing was kept" in done.out
