"""`bezoar fetch` of a repository, an archive and a store: what it says, what it refuses, and the seal and log in the end."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from acquire.archives.builders import tar
from acquire.hub.hub_site import COMMIT, LATER, HubSite
from acquire.servers import Server, page, ranged, serve
from bezoar.cli import fetch, remote_options
from cli.life_support import desk
from cli.support import Cli, png

PICTURES = {f"{label}/{n}.png": png(10 * n + len(label)) for label in ("Stop", "Yield") for n in range(3)}
SOURCE = "hf://datasets/ann/signs"


@pytest.fixture
def site() -> HubSite:
    return HubSite(files={"README.md": b"# Signs\n"}, lfs=dict(PICTURES))


@pytest.fixture
def hub(site: HubSite, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    monkeypatch.setattr("bezoar.acquire.transfers.FIRST_PAUSE_S", 0.01)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    for name in ("HF_TOKEN", "HF_TOKEN_PATH", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with serve(site) as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        yield running


def test_a_repository(cli: Cli, hub: Server, tmp_path: Path) -> None:
    done = cli("fetch", SOURCE, "out")
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert lines[0] == f"out: ann/signs at commit {COMMIT}"
    assert lines[1].startswith("  7 files, ")
    assert lines[2] == "  6 files verified by SHA-256"
    assert lines[3].startswith("  1 file verified by git object id only, which is SHA-1")
    again = cli("fetch", SOURCE, "out", "--format", "json")
    value = json.loads(again.out)
    assert (value["verified"], value["verified_by_git_sha1"], value["fetched"]) == (
        7,
        0,
        0,
    )  # our own record is SHA-256
    assert (value["commit"], value["rejected"], value["seal"]) == (COMMIT, [], None)


def test_a_token_from_the_environment(
    cli: Cli, hub: Server, site: HubSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.token = "hf_secret"  # noqa: S105 - of the test server
    assert "set HF_TOKEN" in cli("fetch", SOURCE, "out").error
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    done = cli("fetch", SOURCE, "out")
    assert done.code == 0, done.err
    assert "hf_secret" not in done.out + done.err


def test_rejections_are_named(cli: Cli, hub: Server, site: HubSite) -> None:
    wrong = png(999)
    site.sent["Stop/1.png"] = lambda _: page(
        wrong[: len(PICTURES["Stop/1.png"])].ljust(len(PICTURES["Stop/1.png"]))
    )
    done = cli("fetch", SOURCE, "out")
    assert done.code == 1
    assert "  1 file REJECTED" in done.out
    assert "    ! Stop/1.png: hash_mismatch (sha256 is " in done.out
    assert not Path("out/Stop/1.png").exists()
    listed = cli("quarantine", "ls", "out", "--format", "json")
    assert listed.code in (0, 1), listed.err
    assert "Stop/1.png" in listed.out


def test_a_moved_branch_is_an_error_and_a_pin_is_not(cli: Cli, hub: Server, site: HubSite) -> None:
    assert cli("fetch", SOURCE, "out").code == 0
    site.refs["main"] = LATER
    moved = cli("fetch", SOURCE, "out")
    assert moved.code == 1
    assert f"main was commit {COMMIT} when out was begun and is {LATER} now" in moved.error
    pinned = cli("fetch", SOURCE, "two", "--pin", "out.fetch/hub.json")
    assert pinned.code == 0, pinned.err
    assert "  7 files verified by SHA-256" in pinned.out


def test_sealed_logged_and_held_to_the_seal(cli: Cli, hub: Server, site: HubSite, tmp_path: Path) -> None:
    desk(cli, tmp_path)
    signer = ("--key", tmp_path / "ada.key", "--log", tmp_path / "log", "--log-key", tmp_path / "log.key")
    out = tmp_path / "out"
    done = cli("fetch", SOURCE, out, "--include", "*.png", *signer)
    assert done.code == 0, done.err
    assert f"  sealed: {out}.seal, snapshot " in done.out
    assert cli("verify", out, "--key", tmp_path / "ada.pub").code == 0
    shown = cli("log", "show", tmp_path / "log").out
    assert "acquired" in shown
    assert "sealed" in shown
    trusted = ("--seal", f"{out}.seal", "--seal-key", tmp_path / "ada.pub", "--include", "*.png")
    assert cli("fetch", SOURCE, "two", *trusted).code == 0
    site.lfs["Stop/0.png"] = png(5)  # the hub serves another picture, and says so in its tree
    refused = cli("fetch", SOURCE, "three", *trusted)
    assert refused.code == 1
    assert "! Stop/0.png: hash_mismatch (the hub's tree says sha256" in refused.out
    stranger = cli("fetch", SOURCE, "four", "--seal", f"{out}.seal", "--seal-key", tmp_path / "grace.pub")
    assert stranger.code == 1
    assert "--seal goes with --seal-key" in cli("fetch", SOURCE, "five", "--seal", f"{out}.seal").error


@pytest.mark.parametrize(
    "files",
    [
        {"a.png": png(1), "b.png": png(2), "README.md": b"pictures without labels"},
        {"train/cat/a.png": png(1), "test/cat/b.png": png(2)},
        {"model.py": b"print()"},
    ],
)
def test_what_is_no_dataset_is_sealed_file_by_file(
    files: dict[str, bytes], cli: Cli, site: HubSite, hub: Server, tmp_path: Path
) -> None:
    site.files, site.lfs = files, {}
    desk(cli, tmp_path)
    signer = ("--key", tmp_path / "ada.key", "--log", tmp_path / "log", "--log-key", tmp_path / "log.key")
    out = tmp_path / "out"
    for _ in range(2):
        done = cli("fetch", SOURCE, out, *signer)
        assert done.code == 0, done.err
        assert "  every file is a record, without a label: this is no dataset that bezoar opens" in done.out
        assert cli("log", "show", tmp_path / "log").out.count("acquired") == 1
    assert cli("verify", out, "--key", tmp_path / "ada.pub").code == 0
    first = sorted(files)[0]
    assert "acquired" in cli("custody", out, first, "--log", tmp_path / "log").out
    (out / first).write_bytes(b"changed")
    assert cli("verify", out, "--key", tmp_path / "ada.pub").code == 1


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--sha256", "0" * 64), "are for archives and objects"),
        (("--unverified",), "are for archives and objects"),
        (("--pin", "absent.json"), "absent.json"),
        (("--seal-key", "x.pub"), "give it, too"),
    ],
)
def test_options_that_say_nothing_of_a_repository(
    cli: Cli, hub: Server, more: tuple[str, ...], said: str
) -> None:
    done = cli("fetch", SOURCE, "out", *more)
    assert done.code in (2, 64)
    assert said in done.error
    assert not hub.asked


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return tar(tmp_path / "signs.tar.gz", *PICTURES.items(), mode="w:gz")


@pytest.fixture
def server(archive: Path) -> Iterator[Server]:
    with serve({"/signs.tar.gz": ranged(archive.read_bytes())}) as running:
        yield running


def test_an_archive(cli: Cli, server: Server, archive: Path) -> None:
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    url = server.url + "/signs.tar.gz"
    refused = cli("fetch", url, "out", "--allow-host", "127.0.0.1")
    assert refused.code == 64
    assert "nothing says what it must be; give --sha256 HEX" in refused.error
    assert "--allow-host" in cli("fetch", url, "out", "--sha256", digest).error
    done = cli(
        "fetch", url + "?signature=s3cret", "out", "--sha256", digest.upper(), "--allow-host", "127.0.0.1"
    )
    assert done.code == 0, done.err
    assert done.out.splitlines()[0] == f"out: {url}"
    assert f"  verified: sha256 {digest}" in done.out
    assert "s3cret" not in done.out
    assert {path.relative_to("out").as_posix() for path in Path("out").rglob("*.png")} == set(PICTURES)
    wrong = cli("fetch", url, "two", "--sha256", "0" * 64, "--allow-host", "127.0.0.1", "--format", "json")
    assert wrong.code == 1
    assert f"sha256 is {digest}, not {'0' * 64}" in wrong.error
    free = cli("fetch", url, "three", "--unverified", "--allow-host", "127.0.0.1")
    assert "  unverified: sha256 " in free.out
    kept = cli(
        "fetch",
        url,
        "kept.tgz",
        "--as-is",
        "--sha256",
        digest,
        "--allow-host",
        "127.0.0.1",
        "--format",
        "json",
    )
    assert json.loads(kept.out)["verdict"] == "verified"
    assert Path("kept.tgz").read_bytes() == archive.read_bytes()


def test_an_archive_of_this_machine(cli: Cli, archive: Path) -> None:
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    assert cli("fetch", archive, "out", "--sha256", digest).code == 0
    assert cli("fetch", archive, "out", "--sha256", digest).code == 2  # exists already
    assert cli("fetch", archive, "two", "--sha256", "xyz").code == 64


def test_a_remote_list(cli: Cli, server: Server) -> None:
    rows = f"url,sha256\n{server.url}/a.png,{hashlib.sha256(png(1)).hexdigest()}\n".encode()
    server.site = {"/list.csv": page(rows), "/a.png": page(png(1))}
    options = ("--allow-host", "127.0.0.1", "--processes-count", 1)
    done = cli("fetch", "--url-list", server.url + "/list.csv", "--output-folder", "out", *options)
    assert done.code == 0, done.err
    assert done.out.startswith("out: 1 of 1 row kept")
    wrong = cli(
        "fetch",
        "--url-list",
        server.url + "/list.csv",
        "--output-folder",
        "two",
        "--sha256",
        "0" * 64,
        *options,
    )
    assert wrong.code == 1


def test_a_list_at_the_hub_is_held_to_its_digest(cli: Cli, hub: Server, site: HubSite) -> None:
    rows = f"url\n{hub.url}/a.png\n".encode()
    site.files["list.csv"] = rows
    listed = ("--url-list", f"{SOURCE}/list.csv", "--output-folder", "out")
    wrong = cli("fetch", *listed, "--sha256", "0" * 64)
    assert wrong.code == 1
    assert f"sha256 is {hashlib.sha256(rows).hexdigest()}, not {'0' * 64}" in wrong.error
    assert all("a.png" not in target for target in hub.targets())
    right = cli("fetch", *listed, "--sha256", hashlib.sha256(rows).hexdigest(), "--retries", 0)
    assert right.out.startswith("out: 0 of 1 row kept")


@pytest.mark.parametrize(
    ("source", "option", "said"),
    [
        ("list.csv", ("--sha256", "0" * 64), "--sha256 says what an archive must be, or a list at a URL"),
        ("list.csv", ("--sha256", "xyz"), "--sha256 says what an archive must be, or a list at a URL"),
        ("list.csv", ("--seal-key", "ada.pub"), "--seal-key is for repositories, archives and stores"),
        ("list.csv", ("--max-total-bytes", 9), "--max-total-bytes is for repositories, archives and stores"),
        (SOURCE, ("--index-key", "ada.pub"), "--index-key is for lists of URLs"),
        (SOURCE, ("--require-hash",), "--require-hash is for lists of URLs"),
        ("signs.tar", ("--max-bytes", 9), "--max-bytes is for lists of URLs"),
        (
            "https://a.example/list.csv?s3cret",
            ("--verify_hash", "md5,md5"),
            "name a list at a URL with --url-list",
        ),
        ("memory://signs", ("--proxy", "http://proxy.example"), "--proxy is for HTTP and the hub"),
    ],
)
def test_an_option_that_would_be_ignored_is_refused(
    cli: Cli, tmp_path: Path, source: str, option: tuple[object, ...], said: str
) -> None:
    Path("list.csv").write_text("url\nhttps://a.example/1.png\n")
    done = cli("fetch", source, "out", *option)
    assert done.code == 64
    assert said in done.error
    assert "s3cret" not in done.error
    assert not Path("out").exists()
    assert not Path("out.fetch").exists()


def test_the_options_that_may_be_refused_are_options() -> None:
    names = {each.name for each in fetch.command.params}
    assert names >= remote_options._REMOTE_ONLY | remote_options._LIST_ONLY | remote_options._HTTP_ONLY


def test_a_store(cli: Cli) -> None:
    url = f"memory://{uuid.uuid4().hex}"
    for name, content in PICTURES.items():
        fsspec.filesystem("memory").pipe_file(f"{url.removeprefix('memory://')}/{name}", content)
    assert "nothing says what it must be" in cli("fetch", url, "out").error
    done = cli("fetch", url, "out", "--unverified")
    assert done.code == 0, done.err
    assert "  0 verified, 6 unverified" in done.out
    again = cli("fetch", url, "two", "--pin", "out.fetch/objects.json", "--format", "json")
    assert json.loads(again.out)["verified"] == 6
    fsspec.filesystem("memory").pipe_file(f"{url.removeprefix('memory://')}/Stop/0.png", b"other")
    changed = cli("fetch", url, "three", "--pin", "out.fetch/objects.json")
    assert changed.code == 1
    assert "! Stop/0.png: hash_mismatch" in changed.out


def test_ctrl_c_says_how_to_go_on(cli: Cli, hub: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("bezoar.acquire.placing.Place.keep", stop)
    done = cli("fetch", SOURCE, "out")
    assert done.code == 130
    assert done.error == "interrupted; what came so far is kept, the same command goes on there"
    monkeypatch.undo()


def test_a_rejected_file_is_in_the_books_until_it_comes_right(
    cli: Cli, hub: Server, site: HubSite, tmp_path: Path
) -> None:
    desk(cli, tmp_path)
    signer = ("--key", tmp_path / "ada.key", "--log", tmp_path / "log", "--log-key", tmp_path / "log.key")
    site.sent["Stop/1.png"] = lambda _: page(b"\0" * len(PICTURES["Stop/1.png"]))
    assert cli("fetch", SOURCE, tmp_path / "out", "--include", "*.png", *signer).code == 1
    assert "quarantined" in cli("log", "show", tmp_path / "log").out
    site.sent.clear()
    done = cli("fetch", SOURCE, tmp_path / "out", "--include", "*.png", *signer)
    assert done.code == 0, done.err
    assert cli("verify", tmp_path / "out", "--key", tmp_path / "ada.pub").code == 0
    left = cli("quarantine", "ls", tmp_path / "out", "--format", "json")
    assert "Stop/1.png" not in left.out
