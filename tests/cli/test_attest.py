"""`bezoar attest`: what is appended, what is said, what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bezoar.cli.attest import KINDS
from bezoar.custody.events.event import AUDITED
from bezoar.custody.events.event import KINDS as ALL_KINDS
from bezoar.custody.events.history import history
from bezoar.custody.tlog.log import CustodyLog
from bezoar.data import open as open_dataset
from bezoar.report import write_scan
from bezoar.scan.result import Finding, Severity
from cli.life_support import HOSTILE, Desk, desk
from cli.support import Cli, fake_scan


@pytest.fixture
def here(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.setenv("BEZOAR_STATE", str(tmp_path / "state"))
    return desk(cli, tmp_path)


def test_the_kinds_are_all_but_the_auditors() -> None:
    assert set(KINDS) == set(ALL_KINDS) - {AUDITED}


def test_it_says_how_many_records_match(here: Desk) -> None:
    done = here.attest("acquired", "--records", "key=Stop/*,label=Stop", "--origin", "https://acme.example")
    assert done.code == 0, done.err
    assert done.out.startswith("acquired: 4 records of signs, entry 0 of example.org/custody\n")
    done = here.attest("acquired", "--format", "json")
    answer = json.loads(done.out)
    assert (answer["records"], answer["entries"]) == (4, [1])
    assert here.attest("sealed").out.startswith("sealed: the dataset of signs, entry 2 of")


def test_the_whole_life_in_a_shell(here: Desk) -> None:
    for step in (
        here.attest("acquired"),
        here.attest("sealed"),
        here.attest("reviewed", by="grace"),
        here.attest("quarantined", "--records", "key=Stop/000.png", "--reason", HOSTILE),
        here.attest("released", "--records", "key=Stop/000.png"),
        here.attest("revoked", "--records", "origin=https://bad*"),
        here.attest("removed", "--records", "key=Stop/001.png"),
    ):
        assert step.code == 0, step.err
    (here.root / "signs" / "Stop" / "001.png").unlink()
    here.seal()
    assert here.attest("released").code == 0
    kinds = [
        logged.event.kind for logged in history(CustodyLog.open(here.root / "log"), "signs") if logged.event
    ]
    assert kinds == [
        "acquired",
        "sealed",
        "reviewed",
        "quarantined",
        "released",
        "revoked",
        "removed",
        "released",
    ]


def test_a_scan(here: Desk) -> None:
    assert here.attest("acquired").code == 0
    dataset = open_dataset(here.root / "signs")
    result = fake_scan((1, 5), (2,))(dataset, encoder="pixels", seed=0, alpha=0.01)
    write_scan(result, here.root / "scan")
    done = here.attest("scanned", "--scan", here.root / "scan", by="grace")
    assert done.code == 0, done.err
    event = list(history(CustodyLog.open(here.root / "log"), "signs"))[-1].event
    assert event is not None
    assert event.scan is not None
    assert event.scan.status == "poisoned"
    assert [(found.severity, found.keys) for found in event.scan.findings] == [
        ("poison", (dataset.key(1), dataset.key(5))),
        ("review", (dataset.key(2),)),
    ]
    (here.root / "signs" / "Stop" / "000.png").write_bytes(
        (here.root / "signs" / "Stop" / "001.png").read_bytes()
    )
    done = here.attest("scanned", "--scan", here.root / "scan", by="grace")
    assert done.code == 2
    assert "the scan of another dataset" in done.error


def test_natural_findings_are_nothing_to_decide(here: Desk) -> None:
    assert here.attest("acquired").code == 0
    dataset = open_dataset(here.root / "signs")
    result = fake_scan()(dataset, encoder="pixels", seed=0, alpha=0.01)
    natural = Finding("blank", Severity.NATURAL, "blank", "why", np.array([0]))
    finding_of = result.scores.set_column(
        result.scores.column_names.index("finding"), "finding", [np.array([0] + [-1] * 7, np.int32)]
    )
    write_scan(replace(result, findings=(natural,), scores=finding_of), here.root / "scan")
    assert here.attest("scanned", "--scan", here.root / "scan", by="grace").code == 0
    event = list(history(CustodyLog.open(here.root / "log"), "signs"))[-1].event
    assert event is not None
    assert event.scan is not None
    assert event.scan.findings == ()


BAD = {
    "malformed query": (64, "acquired", ["--records", "colour=red"], "is no condition"),
    "nothing matches": (64, "acquired", ["--records", "key=nothing"], "no record that is asked for"),
    "scan without scan": (64, "scanned", [], "--scan FOLDER goes with --kind scanned"),
    "scan of another kind": (64, "reviewed", ["--scan", "x"], "--scan FOLDER goes with --kind scanned"),
    "nothing acquired yet": (2, "sealed", [], "attest what was acquired"),
    "unknown kind": (64, "eaten", [], "eaten"),
    "origin of a seal": (64, "sealed", ["--origin", "x"], "--origin does not go"),
    "to for a seal": (64, "sealed", ["--to", "signs"], ""),
}


@pytest.mark.parametrize("name", BAD)
def test_refused(name: str, here: Desk) -> None:
    code, kind, more, words = BAD[name]
    if name == "to for a seal":
        more = ["--to", str(here.root / "signs")]
    done = here.attest(kind, *more)
    assert done.code == code
    assert words in done.error
    assert CustodyLog.open(here.root / "log").size == 0


def test_keys(here: Desk, cli: Cli) -> None:
    signs, log = here.root / "signs", here.root / "log"
    done = cli("attest", signs, "--kind", "acquired", "--log", log, "--key", here.root / "ada.key")
    assert done.code == 64
    assert "--log-key" in done.error
    done = cli("attest", signs, "--kind", "acquired", "--log", log)
    assert done.code == 64
    done = cli("attest", signs, "--kind", "acquired", "--log", log, "--key", here.root / "log.key")
    assert done.code == 0, done.err  # an Ed25519 key signs both
    done = cli(
        "attest", signs, "--kind", "sealed", "--log", here.root / "nowhere", "--key", here.root / "log.key"
    )
    assert done.code == 2
    done = cli(
        "attest", here.root / "nowhere", "--kind", "sealed", "--log", log, "--key", here.root / "log.key"
    )
    assert done.code == 2


def test_keyless_signatures_are_for_seals(here: Desk, cli: Cli) -> None:
    done = cli("attest", here.root / "signs", "--kind", "acquired", "--log", here.root / "log", "--keyless")
    assert done.code == 64
    assert "signed with keys" in done.error


def test_the_key_of_another_log(here: Desk, cli: Cli) -> None:
    assert cli("keygen", here.root / "other", "--type", "ed25519", "--no-password").code == 0
    done = here.attest("acquired", "--log-key", here.root / "other.key")
    assert done.code == 64
    assert "is not the key of this log" in done.error


def test_a_seal_changed_since(here: Desk) -> None:
    tile = next((here.root / "signs.seal" / "tile").rglob("8"))
    data = bytearray(tile.read_bytes())
    data[0] ^= 1
    tile.write_bytes(data)
    assert here.attest("acquired").code == 1
