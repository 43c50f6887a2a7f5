"""`bezoar custody`: a record's life on the terminal and as JSON."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from bezoar.custody.tlog.log import CustodyLog
from bezoar.custody.tlog.merkle import leaf_hash
from bezoar.custody.tlog.proof import TlogProof
from cli.life_support import HOSTILE, Desk, desk, whole
from cli.support import Cli, png


@pytest.fixture
def here(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.setenv("BEZOAR_STATE", str(tmp_path / "state"))
    return desk(cli, tmp_path)


def test_a_life_on_the_terminal(here: Desk) -> None:
    whole(here)
    done = here.custody("Stop/000.png", "--policy", here.root / "policy.toml")
    assert done.code == 0, done.err
    assert done.out.startswith("Stop/000.png in signs: held\n")
    for word in ("row 0 of 8, proved", "acquired  (entry 0", "signed by ada", "signed by grace", "https://acme.example",
                 "contract 17", "label     Stop"):  # fmt: skip
        assert word in done.out
    assert "not checked" not in done.out


def test_without_a_policy_no_signature_is_vouched_for(here: Desk) -> None:
    whole(here)
    done = here.custody("Stop/000.png")
    assert done.code == 0
    assert "(not checked)" in done.out
    assert "Signatures were not checked" in done.out


def test_a_signature_that_does_not_count_is_said(here: Desk) -> None:
    whole(here)
    assert here.attest("quarantined", "--records", "key=Stop/000.png", by="grace").code == 0
    done = here.custody("Stop/000.png", "--policy", here.root / "policy.toml")
    assert "NOT VALID: is signed by grace (" in done.out
    assert done.out.startswith("Stop/000.png in signs: held\n")
    assert "! entry" in done.out
    assert done.code == 1
    told = json.loads(
        here.custody("Stop/000.png", "--policy", here.root / "policy.toml", "--format", "json").out
    )
    assert (told["state"], told["events"][-1]["signers"]) == ("held", [])
    assert "may not attest" in told["events"][-1]["invalid"]
    assert len(told["problems"]) == 1


def test_a_key_that_was_stolen_counts_up_to_its_last_entry(here: Desk) -> None:
    whole(here)
    policy = here.root / "policy.toml"
    text = policy.read_text()
    assert 'name = "ada"\n' in text
    policy.write_text(text.replace('name = "ada"\n', 'name = "ada"\nlast_entry = 3\n'))
    assert here.custody("Stop/000.png", "--policy", policy).code == 0
    assert here.attest("quarantined", "--records", "key=Stop/000.png").code == 0
    done = here.custody("Stop/000.png", "--policy", policy)
    assert "NOT VALID: is signed by ada (valid up to entry 3)" in done.out
    assert done.out.startswith("Stop/000.png in signs: held\n")
    assert done.code == 1


def test_an_event_that_was_appended_again_moves_nothing(here: Desk) -> None:
    whole(here)
    for kind in ("quarantined", "released"):
        assert here.attest(kind, "--records", "key=Stop/000.png").code == 0
    log = CustodyLog.open(here.root / "log")
    entry = here.root / "again.json"
    entry.write_bytes([each.data for each in log.entries()][-2])
    assert here.cli("log", "append", here.root / "log", entry, "--key", here.root / "log.key").code == 0
    done = here.custody("Stop/000.png", "--policy", here.root / "policy.toml")
    assert "NOT VALID: is the one of entry 4, which ada signed once" in done.out
    assert done.out.startswith("Stop/000.png in signs: held\n")
    assert done.code == 1


def test_a_record_that_the_seal_has_lost(here: Desk) -> None:
    whole(here)
    (here.root / "signs" / "Stop" / "000.png").unlink()
    here.seal()
    done = here.custody("Stop/000.png")
    assert "! by the events the dataset holds the record, but the seal does not have it" in done.out
    assert done.code == 1


def test_a_seal_by_nobody_whom_the_policy_allows(here: Desk) -> None:
    whole(here)
    forged = here.cli("seal", here.root / "signs", "--key", here.root / "grace.key")
    assert forged.code == 0, forged.err
    assert here.custody("Stop/000.png").code == 0
    done = here.custody("Stop/000.png", "--policy", here.root / "policy.toml")
    assert "it is signed by grace, who may not seal" in done.out
    assert "is another seal of the same records" in done.out
    assert done.code == 1


def test_the_seal_of_another_dataset(here: Desk) -> None:
    whole(here)
    (here.root / "signs").rename(here.root / "horses")
    (here.root / "signs.seal").rename(here.root / "horses.seal")
    policy = here.root / "policy.toml"
    at = ("custody", here.root / "horses", "Stop/000.png", "--log", here.root / "log", "--policy", policy)
    done = here.cli(*at)
    assert "! the seal is of the dataset 'signs', not 'horses'" in done.out
    assert done.code == 1
    policy.write_text(policy.read_text() + '[dataset]\nname = "signs"\n')
    assert here.cli(*at).code == 0


def test_a_seal_that_somebody_put_into_the_dataset(here: Desk) -> None:
    whole(here)
    for part in (here.root / "signs.seal").iterdir():
        if part.is_file():
            shutil.copy(part, here.root / "signs")
    done = here.custody("Stop/000.png")
    assert "signs.seal is the seal of what is in it" in done.error
    assert done.code == 64


def test_json_carries_proofs(here: Desk) -> None:
    whole(here)
    told = json.loads(here.custody("Yield/003.png", "--format", "json").out)
    assert (told["state"], told["seal"]["row"]) == ("held", 7)
    assert [event["kind"] for event in told["events"]] == ["acquired", "sealed", "reviewed", "released"]
    log = CustodyLog.open(here.root / "log")
    entries = [entry.data for entry in log.entries()]
    for event in told["events"]:
        TlogProof.parse(event["proof"].encode()).verify(leaf_hash(entries[event["entry"]]), log.key)


def test_hostile_texts_are_shown_not_obeyed(here: Desk) -> None:
    name = "<b>\x1b[2J.png"
    (here.root / "signs" / "Stop" / name).write_bytes(png(77))
    here.seal()
    assert here.attest("acquired", "--origin", HOSTILE, "--reason", HOSTILE).code == 0
    done = here.custody(f"Stop/{name}")
    assert done.code == 0, done.err
    assert "\x1b" not in done.out
    assert "\u202e" not in done.out
    assert "\\x1b[31m\\nfaked line\\u202e" in done.out
    assert "\nfaked line" not in done.out


def test_refused(here: Desk, cli: Cli) -> None:
    whole(here)
    done = here.custody("Stop/nothing.png")
    assert done.code == 2
    assert "neither the seal nor the log" in done.error
    assert here.custody("Stop/000.png", "--policy", here.root / "nowhere").code == 2
    assert cli("custody", here.root / "signs", "x", "--log", here.root / "nowhere").code == 2
    assert here.custody("Stop/000.png", "--log-key", "nonsense").code in (2, 64)


def test_a_log_that_was_changed(here: Desk) -> None:
    whole(here)
    bundle = next((here.root / "log" / "tile" / "entries").rglob("4"))
    data = bytearray(bundle.read_bytes())
    data[40] ^= 1
    bundle.write_bytes(data)
    done = here.custody("Stop/000.png")
    assert done.code == 1
    assert "not what the checkpoint signs" in done.error
