"""`bezoar index`: sign, verify and analyse a list; hostile text reaches neither the terminal nor the page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from acquire.fetch_support import pictures, run, site_of, write_list
from acquire.index.lists import sha256, url, write
from acquire.servers import serve
from bezoar.acquire.lists import signing
from bezoar.errors import InputError
from cli.support import Cli

NASTY = "https://user@site1.com/<script>alert(1)</script>\x1b[2J.jpg"
ROWS = 60


@pytest.fixture
def keys(cli: Cli, tmp_path: Path) -> None:
    for name in ("maker", "stranger"):
        assert cli("keygen", name, "--no-password").code == 0


@pytest.fixture
def clean(tmp_path: Path) -> Path:
    return write(tmp_path / "list.csv", [url(n) for n in range(ROWS)], [sha256(n) for n in range(ROWS)])


def test_a_signed_list_verifies_until_a_byte_changes(cli: Cli, keys: None, clean: Path) -> None:
    assert cli("index", "sign", str(clean), "--key", "maker.key").code == 0
    good = cli("index", "verify", str(clean), "--key", "maker.pub")
    assert (good.code, good.out.startswith("valid: ")) == (0, True)
    assert cli("index", "verify", str(clean), "--key", "stranger.pub").code == 1
    clean.write_bytes(clean.read_bytes().replace(b"site1.com/1.", b"site1.com/2."))
    assert "list.csv" in cli("index", "verify", str(clean), "--key", "maker.pub").error


def test_rows_without_a_hash_are_not_signed(cli: Cli, keys: None, tmp_path: Path) -> None:
    listed = write(tmp_path / "bare.csv", [url(0), url(1)], [sha256(0), "abc"])
    refused = cli("index", "sign", str(listed), "--key", "maker.key")
    assert refused.code == 2
    assert "row 1" in refused.error
    assert not list(tmp_path.glob("*.sig"))


def test_hashes_of_an_earlier_fetch_are_bound(cli: Cli, keys: None, tmp_path: Path) -> None:
    contents = pictures(6)
    with serve(site_of(contents)) as server:
        listed = write_list(tmp_path / "list.csv", server.url, contents)
        run(listed, Path("out"))
    made = cli("index", "sign", str(listed), "--from", "out", "--out", "bound.parquet", "--key", "maker.key")
    assert made.code == 0, made.err
    assert "6 rows" in made.out
    assert cli("index", "verify", "bound.parquet", "--key", "maker.pub").code == 0


def test_a_list_that_is_not_what_was_signed_as_json(cli: Cli, keys: None, clean: Path) -> None:
    assert cli("index", "sign", str(clean), "--key", "maker.key").code == 0

    def verified(key: str) -> tuple[int, dict[str, Any]]:
        done = cli("index", "verify", str(clean), "--key", key, "--format", "json")
        assert not done.err
        return done.code, json.loads(done.out)

    good = verified("maker.pub")
    assert (good[0], good[1]["valid"], good[1]["problem"]) == (0, True, None)
    code, stranger = verified("stranger.pub")
    assert (code, stranger["version"], stranger["valid"]) == (1, 1, False)
    assert stranger["problem"]
    clean.write_bytes(clean.read_bytes().replace(b"site1.com/1.", b"site1.com/2."))
    code, changed = verified("maker.pub")
    assert (code, changed["valid"]) == (1, False)
    assert "is not what was signed" in changed["problem"]


@pytest.mark.parametrize("fault", ["key", "signing"])
def test_no_unsigned_list_is_left_behind(
    cli: Cli, keys: None, tmp_path: Path, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = pictures(2)
    with serve(site_of(contents)) as server:
        listed = write_list(tmp_path / "list.csv", server.url, contents)
        run(listed, Path("out"))
    assert cli("keygen", "log", "--type", "ed25519", "--no-password").code == 0
    key = "log.key" if fault == "key" else "maker.key"
    if fault == "signing":
        monkeypatch.setattr(signing, "sign_tree", _broken)
    made = cli("index", "sign", str(listed), "--from", "out", "--out", "b.parquet", "--key", key)
    assert made.code in (2, 64), made.out
    assert made.error
    assert sorted(Path().glob("b.parquet*")) == []


def _broken(*_: object) -> bytes:
    raise InputError("the token was pulled out")


def test_a_clean_list_has_no_odd_rows(cli: Cli, clean: Path) -> None:
    found = cli("index", "analyze", str(clean), "--format", "json")
    value = json.loads(found.out)
    assert (found.code, value["rows"], value["findings"], value["purchase"]) == (0, ROWS, [], "unknown")


def test_a_domain_for_sale_makes_a_list_suspicious(cli: Cli, clean: Path) -> None:
    Path("prices.csv").write_text("domain,expires,price\nsite3.com,,60\n")
    found = cli("index", "analyze", str(clean), "--prices", "prices.csv", "--date", "2026-11-25")
    assert found.code == 1
    assert "60 for 1 domain" in found.out


def test_nothing_in_a_list_reaches_terminal_or_page_as_code(cli: Cli, tmp_path: Path) -> None:
    rows = [url(n) for n in range(5)]
    listed = write(
        tmp_path / "list.parquet", [*rows, NASTY], [*map(sha256, range(5)), "<b>no hash</b>\u202e"]
    )
    found = cli("index", "analyze", str(listed), "--html", "page.html")
    assert found.code == 1
    page = Path("page.html").read_text()
    for text in (found.out, page):
        assert "\x1b" not in text
        assert "\u202e" not in text
    assert "<script" not in page
    assert "<b>no" not in page
    assert "&lt;script&gt;" in page
    assert "Odd rows of" in page


def test_a_page_is_not_written_over(cli: Cli, clean: Path) -> None:
    Path("page.html").write_text("mine")
    assert cli("index", "analyze", str(clean), "--html", "page.html").code == 2
    assert Path("page.html").read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("sign", "list.csv", "--from", "out", "--key", "maker.key"), 64, "--out"),
        (("verify", "list.csv"), 64, "nobody is trusted"),
        (("analyze", "nothing.csv"), 2, "nothing.csv"),
        (("analyze", "list.csv", "--prices", "nothing.csv"), 2, "nothing.csv: no such file"),
        (("analyze", "list.csv", "--date", "soon"), 64, "--date"),
        (("analyze", "list.csv", "--verify-hash", "sha256"), 64, "--verify-hash"),
    ],
)
def test_one_line_says_what_is_wrong(
    cli: Cli, clean: Path, arguments: tuple[str, ...], code: int, said: str
) -> None:
    refused = cli("index", *(str(clean) if word == "list.csv" else word for word in arguments))
    assert (refused.code, said in refused.error) == (code, True)
