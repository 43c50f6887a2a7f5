"""OUT may be `.` or `..`, and is not the root of all files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from acquire.fetch_support import images_of, pictures, site_of, write_list
from acquire.hub.hub_site import HubSite
from acquire.servers import Server, page, serve
from cli.support import Cli

CONTENTS = pictures(3)
LOOPBACK = ("--allow-host", "127.0.0.1", "--processes-count", 1)


@pytest.fixture
def urls(tmp_path: Path) -> Iterator[Path]:
    with serve(site_of(CONTENTS, _1=page(b"other"))) as server:
        yield write_list(tmp_path / "list.csv", server.url, CONTENTS)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "no-hub"))
    with serve(HubSite(files={"a.csv": b"label,text\n1,x\n"}, lfs={})) as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        yield running


@pytest.mark.parametrize(("here", "out"), [("data", "."), ("data/below", ".."), ("data", "./x/..")])
def test_a_list(
    here: str, out: str, cli: Cli, urls: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").mkdir()
    if here == "data/below":  # an output may be gone on with from a folder in it
        assert cli("fetch", urls, tmp_path / "data", *LOOPBACK).code == 1
        (tmp_path / here).mkdir()
    monkeypatch.chdir(tmp_path / here)
    done = cli("fetch", urls, out, *LOOPBACK)
    assert done.code == 1, done.err
    assert len(images_of(tmp_path / "data")) == 2
    assert (tmp_path / "data.fetch" / "run.json").is_file()
    listed = cli("quarantine", "ls", out)
    assert (listed.code, "hash_mismatch" in listed.out) == (0, True)
    assert cli("quarantine", "show", out, "000000001").code == 0
    assert "2 of 3 rows kept, 1 shard, 1 of them already there" in cli("fetch", urls, out, *LOOPBACK).out


def test_a_repository(cli: Cli, hub: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    monkeypatch.chdir(tmp_path / "data")
    done = cli("fetch", "hf://datasets/ann/signs", ".")
    assert done.code == 0, done.err
    assert (tmp_path / "data.fetch" / "hub.json").is_file()
    assert (tmp_path / "data" / "a.csv").is_file()


@pytest.mark.parametrize(
    "words", [("fetch", "{list}", "/"), ("quarantine", "ls", "/"), ("fetch", "hf://datasets/a/b", "/")]
)
def test_the_root_is_refused(words: tuple[str, ...], cli: Cli, hub: Server, urls: Path) -> None:
    done = cli(*(word.format(list=urls) for word in words))
    assert done.code == 64
    assert "/: is the root of all files" in done.error
