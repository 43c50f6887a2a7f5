"""An output that holds what its fetch did not bring is neither sealed nor logged."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from acquire.fetch_support import pictures, site_of, write_list
from acquire.hub.hub_site import HubSite
from acquire.servers import Server, page, serve
from bezoar.custody.tlog.log import CustodyLog
from cli.life_support import desk
from cli.support import Cli

CONTENTS = pictures(4)
SOURCE = "hf://datasets/ann/signs"
LOOPBACK = ("--allow-host", "127.0.0.1", "--processes-count", 1, "--number-sample-per-shard", 2)


@pytest.fixture
def signer(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[object, ...]:
    monkeypatch.setenv("BEZOAR_STATE", str(tmp_path / "state"))
    desk(cli, tmp_path)
    return ("--key", tmp_path / "ada.key", "--log", tmp_path / "log", "--log-key", tmp_path / "log.key")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "no-hub"))
    files = {"a.csv": b"label,text\n1,x\n", "b.csv": b"label,text\n1,y\n"}
    with serve(HubSite(files=files, lfs={})) as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        yield running


def unsealed(tmp_path: Path, out: Path) -> bool:
    return not out.with_name(f"{out.name}.seal").exists() and CustodyLog.open(tmp_path / "log").size == 0


def test_of_a_list(cli: Cli, signer: tuple[object, ...], tmp_path: Path) -> None:
    out = tmp_path / "out"
    with serve(site_of(CONTENTS)) as server:
        urls = write_list(tmp_path / "list.csv", server.url, CONTENTS)
        assert cli("fetch", urls, out, *LOOPBACK).code == 0
        (out / "00002.tar").write_bytes((out / "00001.tar").read_bytes())
        done = cli("fetch", urls, out, *LOOPBACK, *signer)
        assert (done.code, "holds '00002.tar', which this fetch did not bring" in done.error) == (2, True)
        assert unsealed(tmp_path, out)
        (out / "00002.tar").unlink()
        assert cli("fetch", urls, out, *LOOPBACK, *signer).code == 0
    assert not unsealed(tmp_path, out)


def test_a_release_seals_nothing_foreign(cli: Cli, signer: tuple[object, ...], tmp_path: Path) -> None:
    out = tmp_path / "out"
    with serve(site_of(CONTENTS, _1=page(CONTENTS["/2.jpg"]))) as server:
        urls = write_list(tmp_path / "list.csv", server.url, CONTENTS)
        assert cli("fetch", urls, out, *LOOPBACK).code == 1
    (out / "00002.tar").write_bytes((out / "00001.tar").read_bytes())
    done = cli("quarantine", "release", out, "000001", "--reason", "fine", *signer)
    assert (done.code, "holds '00002.tar'" in done.error) == (2, True)
    assert unsealed(tmp_path, out)


@pytest.mark.parametrize("name", ["evil.csv", ".hidden", "below/evil.csv"])
def test_of_a_repository(
    name: str, cli: Cli, hub: Server, signer: tuple[object, ...], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert cli("fetch", SOURCE, out).code == 0
    (out / name).parent.mkdir(exist_ok=True)
    (out / name).write_text("label,text\n0,p\n")
    assert json.loads(cli("fetch", SOURCE, out, "--format", "json").out)["foreign"] == 1
    done = cli("fetch", SOURCE, out, *signer)
    assert (done.code, f"holds '{name}', which this fetch did not bring" in done.error) == (2, True)
    assert unsealed(tmp_path, out)
    (out / name).unlink()
    assert cli("fetch", SOURCE, out, *signer).code == 0


def test_a_file_that_this_call_left_out_must_be_that_of_the_repository(
    cli: Cli, hub: Server, signer: tuple[object, ...], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert cli("fetch", SOURCE, out).code == 0
    assert cli("fetch", SOURCE, out, "--include", "a.csv", *signer).code == 0
    (out / "b.csv").write_bytes(b"label,text\n0,y\n")  # of the same size
    done = cli("fetch", SOURCE, out, "--include", "a.csv", *signer)
    assert (done.code, "holds 'b.csv'" in done.error) == (2, True)


def test_of_a_store(cli: Cli, signer: tuple[object, ...], tmp_path: Path) -> None:
    import fsspec

    out = tmp_path / "out"
    fsspec.filesystem("memory").pipe("/foreign/a.csv", b"label,text\n1,x\n")
    assert cli("fetch", "memory://foreign", out, "--unverified").code == 0
    (out / "evil.csv").write_text("label,text\n0,p\n")
    done = cli("fetch", "memory://foreign", out, "--unverified", *signer)
    assert (done.code, "holds 'evil.csv'" in done.error) == (2, True)
    assert unsealed(tmp_path, out)
