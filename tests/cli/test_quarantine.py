"""`bezoar quarantine`: what it says, what it refuses, and that nothing hostile reaches the terminal."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from acquire.fetch_support import images_of, pictures, run, site_of, write_list
from acquire.quarantine.desk import picture
from acquire.servers import page, redirect, serve
from bezoar.acquire.quarantine.store import Cap, Quarantine
from bezoar.acquire.reasons import Reason
from bezoar.cli.quarantine import REASONS
from cli.life_support import Desk, desk
from cli.support import Cli

CONTENTS = pictures(12)
BAD = {"/3.jpg": picture(3), "/7.jpg": b"<html>\x1b[31mfor sale</html>"}
NASTY = "\x1b[2J\u202etxt\n<script>"


@pytest.fixture
def out(cli: Cli, tmp_path: Path) -> Path:
    """Twelve rows fetched, two of them set aside, one by way of a redirect."""
    site = {
        **site_of(CONTENTS, _3=redirect("/moved")),
        "/moved": page(BAD["/3.jpg"]),
        "/7.jpg": page(BAD["/7.jpg"]),
    }
    with serve(site) as server:
        run(write_list(tmp_path / "list.csv", server.url, CONTENTS), Path("out"))
    return Path("out")


def digest(name: str) -> str:
    return hashlib.sha256(BAD[name]).hexdigest()


def store(out: Path) -> Quarantine:
    return Quarantine.at(out.with_name(f"{out.name}.fetch") / "quarantine")


def test_ls(cli: Cli, out: Path) -> None:
    done = cli("quarantine", "ls", out)
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert lines[0].startswith("out: 2 entries in quarantine, ")
    assert lines[1:3] == ["  reason  hash_mismatch 2", "  domain  127.0.0.1 2"]
    assert lines[4].split() == ["key", "reason", "size", "url"]
    assert [line.split()[:2] for line in lines[5:]] == [
        ["000003", "hash_mismatch"],
        ["000007", "hash_mismatch"],
    ]
    assert not done.err


def test_ls_as_json(cli: Cli, out: Path) -> None:
    value = json.loads(cli("quarantine", "ls", out, "--format", "json").out)
    assert (value["version"], value["out"], value["count"]) == (1, "out", 2)
    assert value["bytes"] == sum(map(len, BAD.values()))
    assert (value["by_reason"], value["by_domain"]) == ({"hash_mismatch": 2}, {"127.0.0.1": 2})
    first = value["entries"][0]
    assert (first["key"], first["sha256"], first["stored"]) == ("000003", digest("/3.jpg"), "kept")
    assert first["expected"] == hashlib.sha256(CONTENTS["/3.jpg"]).hexdigest()
    assert "looks" not in first


def test_ls_of_one_reason(cli: Cli, out: Path) -> None:
    entry = store(out).entries()[0]
    store(out).put(replace(entry, key="000009", reason=Reason.TRUNCATED), BAD["/3.jpg"])
    some = json.loads(cli("quarantine", "ls", out, "--reason", "truncated", "--format", "json").out)
    assert [each["key"] for each in some["entries"]] == ["000009"]
    assert cli("quarantine", "ls", out, "--reason", "opt_out").out == "out: nothing in quarantine\n"
    assert cli("quarantine", "ls", out, "--reason", "other").code == 64


def test_the_reasons_are_those_of_a_fetch() -> None:
    assert set(REASONS) == {reason.value for reason in Reason}


def test_ls_beside_known_copies(cli: Cli, out: Path, tmp_path: Path) -> None:
    port = urlsplit(store(out).entries()[0].url).port
    assert port is not None
    with serve(site_of(CONTENTS), port=port) as server:
        run(write_list(tmp_path / "list.csv", server.url, CONTENTS), Path("earlier"))
    done = cli("quarantine", "ls", out, "--known", "earlier")
    assert done.code == 0, done.err
    assert "  looks   looks different 1, unknown 1" in done.out.splitlines()
    assert "prove nothing" in done.out.splitlines()[-1]
    value = json.loads(cli("quarantine", "ls", out, "--known", "earlier", "--format", "json").out)
    assert [each["looks"] for each in value["entries"]] == ["looks different", "unknown"]
    assert value["entries"][0]["distance"] > 10
    assert store(out).entries()  # nothing was released because of it
    assert cli("quarantine", "ls", out, "--known", "no such").code == 2


def test_show(cli: Cli, out: Path) -> None:
    done = cli("quarantine", "show", out, "000003")
    assert done.code == 0, done.err
    told = dict(
        line.split(": ", 1) for line in done.out.splitlines() if ": " in line and not line.startswith(" ")
    )
    told = {name.strip(": "): text.strip() for name, text in told.items()}
    assert told["expected"] == f"{hashlib.sha256(CONTENTS['/3.jpg']).hexdigest()} (signed by nobody)"
    assert told["came"].startswith(digest("/3.jpg"))
    assert told["bytes"] == "kept; JPEG image"
    assert told["redirect"].endswith("/3.jpg")
    assert told["from"].endswith("/moved")
    assert told["peer"].startswith("127.0.0.1:")
    assert told["row"] == "3 of the list (the first is 0)"
    assert "  000000  ff d8 ff" in done.out
    by_content = cli("quarantine", "show", out, digest("/3.jpg"))
    assert by_content.out == done.out


def test_show_as_json_and_write_the_bytes(cli: Cli, out: Path) -> None:
    done = cli("quarantine", "show", out, "000007", "--format", "json", "--out", "bytes")
    (told,) = json.loads(done.out)["entries"]
    assert (told["kind"], bytes.fromhex(told["begins"])) == ("HTML page", BAD["/7.jpg"])
    assert Path("bytes").read_bytes() == BAD["/7.jpg"]
    assert Path("bytes").stat().st_mode & 0o777 == 0o600
    again = cli("quarantine", "show", out, "000007", "--out", "bytes")
    assert (again.code, "exists already" in again.error) == (2, True)


def test_nothing_hostile_reaches_the_terminal(cli: Cli, out: Path) -> None:
    entry = replace(
        store(out).entries()[0], key=NASTY, url=f"http://{NASTY}", detail=NASTY, expected=NASTY, expected_by=NASTY, caption=NASTY,
        final_url=NASTY, redirects=(NASTY,), peer=NASTY, content_type=NASTY, run_id=NASTY, extra={NASTY: NASTY}, fetched=1e300,
    )  # fmt: skip
    store(out).put(entry, BAD["/3.jpg"])
    for arguments in (
        ("ls", out),
        ("ls", out, "--format", "json"),
        ("show", out, NASTY),
        ("show", out, "000007"),
    ):
        done = cli("quarantine", *arguments)
        assert done.code == 0, done.err
        assert not {"\x1b", "\u202e"} & set(done.out)
    missing = cli("quarantine", "show", out, "\x1b]0;x")
    assert missing.code == 2
    assert "\x1b" not in missing.error


def test_a_long_list_is_cut_and_says_so(cli: Cli, out: Path) -> None:
    entry = store(out).entries()[0]
    for number in range(60):
        store(out).put(
            replace(entry, key=f"0009{number:02d}", url=f"http://h{number}.example.org/"), BAD["/3.jpg"]
        )
    lines = cli("quarantine", "ls", out).out.splitlines()
    assert lines[-1] == "and 12 more; --format json lists all, --reason some"
    assert lines[2] == "  domain  example.org 60, 127.0.0.1 2"
    assert len(lines) == 4 + 1 + 50 + 1


def test_bytes_that_are_not_kept(cli: Cli, out: Path) -> None:
    small = Quarantine.at(store(out).folder, Cap(object_bytes=10))
    entry = replace(
        store(out).entries()[0], key="000009", sha256=hashlib.sha256(b"x" * 11).hexdigest(), size=11
    )
    small.put(entry, b"x" * 11)
    assert "bytes:     not kept: too large" in cli("quarantine", "show", out, "000009").out
    assert "too_large" in cli("quarantine", "show", out, "000009", "--out", "x").error
    assert not Path("x").exists()


def test_bytes_that_were_changed_are_shown_as_that_and_not_handed_out(cli: Cli, out: Path) -> None:
    path = next((store(out).folder / "objects").rglob(digest("/3.jpg")))
    path.write_bytes(b"other")
    shown = cli("quarantine", "show", out, "000003")
    assert (shown.code, "is not what was put into quarantine" in shown.out) == (0, True)
    assert cli("quarantine", "show", out, "000003", "--out", "x").code == 1
    path.unlink()
    assert "has no bytes" in cli("quarantine", "show", out, "000003").out
    assert cli("quarantine", "show", out, "000003", "--out", "x").code == 2
    assert not Path("x").exists()


def test_what_is_not_there(cli: Cli, out: Path) -> None:
    assert "has no entry '000004'" in cli("quarantine", "show", out, "000004").error
    assert "has no elsewhere.fetch beside it" in cli("quarantine", "ls", "elsewhere").error
    assert cli("quarantine", "ls", "").code == 64
    (store(out).folder / "entries.jsonl").write_bytes(b"{}\n")
    broken = cli("quarantine", "ls", out)
    assert (broken.code, "entries.jsonl: line 1" in broken.error) == (2, True)


@pytest.fixture
def here(cli: Cli, tmp_path: Path) -> Desk:
    """Keys, a log and a policy."""
    return desk(cli, tmp_path)


def test_release(cli: Cli, out: Path, here: Desk) -> None:
    done = here.cli(
        "quarantine", "release", out, "000003", "--reason", "Ada asked the owner", "--log", here.root / "log",
        "--key", here.root / "ada.key", "--log-key", here.root / "log.key",
    )  # fmt: skip
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert lines[0] == "out: 1 record released"
    assert lines[1] == f"  000003  {digest('/3.jpg')}"
    assert lines[2].startswith("  sealed: out.seal, snapshot ")
    assert images_of(out)["000003"] == BAD["/3.jpg"]
    assert [entry.key for entry in store(out).entries()] == ["000007"]
    life = cli("custody", out, "000003", "--log", here.root / "log")
    assert life.code == 0, life.err
    assert "Ada asked the owner" in life.out
    entry = store(out).settled()[0]
    assert (entry.how, entry.reason) == ("released", "Ada asked the owner")
    store(out).put(replace(store(out).entries()[0], key="000003"), BAD["/7.jpg"])
    assert "settled:   released on 2" in cli("quarantine", "show", out, "000003").out


def test_release_as_json(out: Path, here: Desk) -> None:
    done = here.cli(
        "quarantine", "release", out, "000003", "--reason", "because", "--log", here.root / "log", "--key",
        here.root / "ada.key", "--log-key", here.root / "log.key", "--format", "json",
    )  # fmt: skip
    value = json.loads(done.out)
    assert value["released"] == [{"key": "000003", "sha256": digest("/3.jpg")}]
    assert value["log"]["size"] == 5  # acquired, quarantined, released, transformed, sealed
    assert len(value["seal"]["snapshot"]) == 64


def test_what_a_release_needs(cli: Cli, out: Path, here: Desk) -> None:
    root = here.root
    log, key, log_key = ("--log", root / "log"), ("--key", root / "ada.key"), ("--log-key", root / "log.key")
    why = ("--reason", "because")
    cases: list[tuple[int, str, tuple[object, ...]]] = [
        (64, "Missing option '--reason'", ("000003", *log, *key, *log_key)),
        (64, "Missing option '--log'", ("000003", *why, *key, *log_key)),
        (64, "no signer given", ("000003", *why, *log, *log_key)),
        (64, "is no Ed25519 key", ("000003", *why, *log, *key)),
        (64, "Missing argument 'KEY...'", (*why, *log, *key, *log_key)),
        (64, "events are signed with keys", ("000003", *why, *log, "--keyless", *log_key)),
        (64, "says why", ("000003", "--reason", " ", *log, *key, *log_key)),
        (2, "has no entry", ("000004", *why, *log, *key, *log_key)),
        (2, "is no picture", ("000007", *why, *log, *key, *log_key)),
        (2, "no such folder, so no custody log", ("000003", *why, "--log", root / "nowhere", *key, *log_key)),
        (2, "nobody.key: cannot be read", ("000003", *why, *log, "--key", root / "nobody.key", *log_key)),
    ]
    before = images_of(out)
    for code, words, arguments in cases:
        done = cli("quarantine", "release", out, *arguments)
        assert (done.code, words in done.error) == (code, True), (words, done.err)
    assert images_of(out) == before
    assert not Path("out.seal").exists()


def test_help_names_the_three(cli: Cli) -> None:
    done = cli("quarantine", "--help")
    assert done.code == 0
    assert all(f"  {name} " in done.out for name in ("ls", "show", "release"))
