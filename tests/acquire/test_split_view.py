"""The split-view rehearsal (Carlini et al., "Poisoning Web-Scale Training Datasets is Practical", 2023): a list is signed, a
domain lapses and is bought, the list is fetched again. What the new owner serves is set aside, and the audit explains it.

Everything goes through the command line. Names are resolved by a proxy on loopback, so that there are real domains.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from acquire.fetch_support import images_of, rows_of
from acquire.quarantine.desk import picture
from acquire.servers import Asked, page, page_404, serve
from bezoar.cli import main
from cli.support import Cli, Outcome

ROWS, PER_SHARD = 300, 100
HOSTS = ("photos.example.com", "pets.example.org", "cats.example.net", "img.dogs.example", "blog.example.edu")
LAPSED = "lapsed-pets.example"  # three rows, 1 %: one in each shard
LAPSED_ROWS = (40, 141, 242)
POLICY = """version = 1
[log]
key = "{}"
[[signer]]
name = "Ada"
key = "ada.pub"
roles = ["custodian", "sealer"]
[sources]
column = "url"
required = ["url"]
"""


def host_of(row: int) -> str:
    return LAPSED if row in LAPSED_ROWS else HOSTS[row % len(HOSTS)]


CONTENTS = {row: picture(row) for row in range(ROWS)}


def recompressed(content: bytes) -> bytes:
    """The same picture, as another server would have encoded it."""
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(content)) as image:
        image.save(buffer, "JPEG", quality=40)
    return buffer.getvalue()


BOUGHT = {
    40: recompressed(CONTENTS[40]),
    141: picture(9_000),  # what the buyer wants to have learnt
    242: b"<html>this domain is for sale</html>",
}


@dataclass
class Web:
    """What each host serves; who answers for a host may change while the proxy runs."""

    pages: dict[str, Mapping[int, bytes]] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)

    def answer(self, asked: Asked) -> bytes:
        """As a proxy that has fetched the page."""
        host, row = asked.headers["host"], int(asked.path.strip("/").removesuffix(".jpg"))
        self.asked[host] += 1
        return page(self.pages[host][row]) if row in self.pages[host] else page_404(asked)


@contextmanager
def web() -> Iterator[tuple[Web, str]]:
    """The web as it was when the list was made, and the proxy's URL."""
    made = Web(
        {
            host: {row: content for row, content in CONTENTS.items() if host_of(row) == host}
            for host in (*HOSTS, LAPSED)
        }
    )
    with serve(made.answer) as server:
        yield made, server.url


@dataclass
class Desk:
    """Ada's keys, her log, and a list that she has signed."""

    cli: Cli
    proxy: str

    def __post_init__(self) -> None:
        with Path("list.csv").open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["url", "caption", "sha256"])
            for row, content in CONTENTS.items():
                digest = hashlib.sha256(content).hexdigest()
                rows.writerow([f"http://{host_of(row)}/{row}.jpg", f"picture {row}", digest])
        for arguments in (("ada",), ("log", "--type", "ed25519")):
            self.ran("keygen", *arguments, "--no-password")
        vkey = self.ran(
            "log", "init", "custody", "--origin", "example.org/custody", "--key", "log.key"
        ).out.strip()
        Path("policy.toml").write_text(POLICY.format(vkey))
        self.ran("index", "sign", "list.csv", "--key", "ada.key")

    def ran(self, *arguments: object, code: int = 0) -> Outcome:
        done = self.cli(*arguments)
        assert done.code == code, done.err
        return done

    def fetch(self, out: str, *more: object, code: int = 0) -> dict[str, Any]:
        done = self.ran(
            "fetch", "list.csv", out, "--index-key", "ada.pub", "--key", "ada.key", "--log", "custody", "--log-key", "log.key",
            "--proxy", self.proxy, "--number-sample-per-shard", PER_SHARD, "--processes-count", 1, "--format", "json", *more,
            code=code,
        )  # fmt: skip
        value: dict[str, Any] = json.loads(done.out)
        return value

    def audit(self, out: str, code: int = 0) -> dict[str, Any]:
        """The statement, unqualified unless `code` says otherwise."""
        done = self.ran(
            "audit",
            out,
            "--log",
            "custody",
            "--policy",
            "policy.toml",
            "--full",
            "--format",
            "json",
            code=code,
        )
        value: dict[str, Any] = json.loads(done.out)
        return value


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cli:
    """The command line in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BEZOAR_CACHE", str(tmp_path / ".cache"))
    monkeypatch.setenv("BEZOAR_STATE", str(tmp_path / ".state"))

    def run(*argv: object) -> Outcome:
        capsys.readouterr()
        code = main([str(part) for part in argv])
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return run


def keys_of(rows: tuple[int, ...]) -> list[str]:
    return [f"{row // PER_SHARD:05d}{row % PER_SHARD:02d}" for row in rows]


def by_source(statement: dict[str, Any], figure: str) -> dict[str, int]:
    return {row["name"]: row[figure] for row in statement["balances"]["by_source"] if row[figure]}


@pytest.mark.parametrize(
    "again", ["again/pets", "pets-2027"], ids=["as the same dataset", "as a new dataset"]
)
def test_what_a_new_owner_serves_is_set_aside_and_explained(cli: Cli, again: str) -> None:
    with web() as (internet, address):
        desk = Desk(cli, address)
        first = desk.fetch("pets")
        assert (first["verified"], first["rejected"], first["quarantined"]) == (ROWS, {}, 0)
        statement = desk.audit("pets")
        assert statement["exceptions"] == []
        assert by_source(statement, "closing") == {
            LAPSED: 3,
            HOSTS[0]: 59,
            HOSTS[1]: 59,
            HOSTS[2]: 59,
            **dict.fromkeys(HOSTS[3:], 60),
        }

        internet.pages[LAPSED] = BOUGHT
        Path("again").mkdir()
        second = desk.fetch(again, code=1)
        assert internet.asked[LAPSED] == 6

        # exactly those rows, for the right reason, with what came
        assert (second["verified"], second["rejected"], second["quarantined"]) == (
            297,
            {"hash_mismatch": 3},
            3,
        )
        lapsed = keys_of(LAPSED_ROWS)
        kept = images_of(Path(again))
        assert set(images_of(Path("pets"))) - set(kept) == set(lapsed)
        assert all(kept[keys_of((row,))[0]] == CONTENTS[row] for row in CONTENTS if row not in LAPSED_ROWS)
        reasons = dict(rows_of(Path(again), "key", "reason"))
        assert {key: reason for key, reason in reasons.items() if reason} == dict.fromkeys(
            lapsed, "hash_mismatch"
        )
        listed = json.loads(desk.ran("quarantine", "ls", again, "--known", "pets", "--format", "json").out)
        assert [entry["sha256"] for entry in listed["entries"]] == [
            hashlib.sha256(BOUGHT[row]).hexdigest() for row in LAPSED_ROWS
        ]
        assert [entry["looks"] for entry in listed["entries"]] == [
            "looks the same",
            "looks different",
            "unknown",
        ]
        assert listed["by_domain"] == {LAPSED: 3}
        assert all(entry["expected_by"].startswith("key:") for entry in listed["entries"])

        # the statement explains them: no exception, and why, from where and which they are
        statement = desk.audit(again)
        assert statement["exceptions"] == []
        assert statement["opinion"]["verdict"] == "unqualified"
        (why,) = statement["balances"]["quarantine"]["by_reason"]
        signer = listed["entries"][0]["expected_by"]
        assert why == {
            "reason": f"hash_mismatch: what came is not what the list promises (signed by {signer})",
            "records": 3,
            "by_source": [{"name": LAPSED, "records": 3}],
            "keys": lapsed,
        }
        assert by_source(statement, "quarantined") == {LAPSED: 3}
        assert statement["balances"]["total"]["closing"] == statement["balances"]["total"]["sealed"] == 297
        if (
            again == "again/pets"
        ):  # the log knows the three as they were: something else came under their keys
            assert (
                by_source(statement, "transformed_out")
                == by_source(statement, "transformed_in")
                == {LAPSED: 3}
            )
        else:
            assert by_source(statement, "acquired")[LAPSED] == 3
        assert "297 verified, 0 unverified, 3 rejected (hash_mismatch 3)" in statement["events"][-1]["reason"]
        # one of them alone: what came, and that it never was in the dataset that is sealed now
        life = json.loads(desk.ran("custody", again, lapsed[1], "--log", "custody", "--format", "json").out)
        assert life["state"] == "in quarantine"
        assert life["seal"]["record"] is None
        assert life["events"][-1]["record"]["sha256"] == hashlib.sha256(BOUGHT[141]).hexdigest()


def test_pages_that_are_gone_are_told_of_too(cli: Cli) -> None:
    """Nothing came for them: the log says that the dataset has them no longer, and the seal's event why."""
    with web() as (internet, address):
        desk = Desk(cli, address)
        desk.fetch("pets")
        internet.pages[LAPSED] = {}
        Path("again").mkdir()
        second = desk.fetch("again/pets", code=1)
        assert second["rejected"] == {"http_status": 3}
        statement = desk.audit("again/pets")
        assert statement["exceptions"] == []
        (why,) = statement["balances"]["quarantine"]["by_reason"]
        assert (why["reason"], why["keys"]) == ("missing: the fetch has it no longer", keys_of(LAPSED_ROWS))
        assert why["by_source"] == [{"name": LAPSED, "records": 3}]
        assert "3 rejected (http_status 3)" in statement["events"][-1]["reason"]


def test_a_person_lets_the_harmless_one_in(cli: Cli) -> None:
    with web() as (internet, address):
        desk = Desk(cli, address)
        internet.pages[LAPSED] = BOUGHT
        desk.fetch("pets", code=1)
        signing = ("--log", "custody", "--key", "ada.key", "--log-key", "log.key")
        harmless = keys_of((40,))[0]
        desk.ran(
            "quarantine",
            "release",
            "pets",
            harmless,
            "--reason",
            "the same cat, only compressed again",
            *signing,
        )
        statement = desk.audit("pets")
        assert statement["exceptions"] == []
        assert (
            statement["balances"]["total"]["closing"],
            statement["balances"]["quarantine"]["closing"],
        ) == (298, 2)
        assert [event["reason"] for event in statement["events"] if event["kind"] == "released"] == [
            "the same cat, only compressed again"
        ]

        internet.pages[LAPSED] = {row: CONTENTS[row] for row in LAPSED_ROWS}  # the old owner is back
        third = desk.fetch("pets", "--retry-failed", "all")
        assert (third["verified"], third["unverified"], third["rejected"]) == (299, 1, {})
        statement = desk.audit("pets")
        assert statement["exceptions"] == []
        assert (
            statement["balances"]["total"]["closing"],
            statement["balances"]["quarantine"]["closing"],
        ) == (300, 0)
        assert images_of(Path("pets"))[harmless] == BOUGHT[40]


def test_what_is_not_attested_is_not_explained(cli: Cli) -> None:
    """The same three rows put into the dataset behind the log's back are exceptions."""
    with web() as (internet, address):
        desk = Desk(cli, address)
        internet.pages[LAPSED] = {**BOUGHT, 242: picture(9_001)}
        desk.fetch("pets", code=1)
        text = Path("list.csv").read_text()
        for row in LAPSED_ROWS:
            content = BOUGHT[row] if row != 242 else picture(9_001)
            text = text.replace(
                hashlib.sha256(CONTENTS[row]).hexdigest(), hashlib.sha256(content).hexdigest()
            )
        Path("list.csv").write_text(text)
        refused = desk.cli("fetch", "list.csv", "forged", "--index-key", "ada.pub", "--proxy", address)
        assert refused.code == 1
        assert "list.csv" in refused.error
        assert not Path("forged").exists()

        unsigned = ("--proxy", address, "--number-sample-per-shard", PER_SHARD, "--processes-count", 1)
        Path("forged").mkdir()
        desk.ran("fetch", "list.csv", "forged/pets", *unsigned)
        desk.ran("seal", "forged/pets", "--key", "ada.key")
        statement = desk.audit("forged/pets", code=1)
        assert {each["code"]: each["records"] for each in statement["exceptions"]}["quarantined-present"] == 3
