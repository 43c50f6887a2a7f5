"""The life of one record, with proofs that can be checked offline."""

from __future__ import annotations

from pathlib import Path

import pytest

from bezoar.custody.events.event import ScanFinding
from bezoar.custody.events.history import Logged, history
from bezoar.custody.events.life import BY_NAME, BY_SOURCE, IN_DATASET, RecordLife, Signed, life
from bezoar.custody.seal.sealing import Seal
from bezoar.custody.tlog.log import CustodyLog
from bezoar.custody.tlog.merkle import leaf_hash
from bezoar.custody.tlog.proof import TlogProof
from bezoar.errors import InputError, VerificationError
from custody.audit.support import Life, log_signer, scan, signer_of


def tell(of: Life, key: str) -> RecordLife:
    def signed(logged: Logged) -> Signed:
        keys = tuple(each.keyid for each in logged.envelope.signatures) if logged.envelope else ()
        return Signed((), "is by mallory") if signer_of("mallory").keyid in keys else Signed(keys)

    log = CustodyLog.open(of.root / "log")
    told = ((logged, signed(logged)) for logged in history(log, "signs"))
    return life(Seal.open(of.root / "signs.seal"), key, log, told)


@pytest.fixture
def story(tmp_path: Path) -> Life:
    made = Life(tmp_path / "life")
    made.add("acme", ["a.png", "b.png"], "stop", 0)
    made.seal()
    made.attest("acquired", origin="https://acme.example", reason="contract 17")
    made.attest("sealed")
    made.attest("scanned", "grace", scan=scan(ScanFinding("x", "poison", ("b.png",))))
    made.attest("reviewed", "grace", query="key=a.png")
    made.attest("quarantined", query="key=b.png")
    made.take_out(["b.png"])
    made.add("bob", ["c.png"], "yield", 100)
    made.seal()
    made.attest("acquired")
    made.attest("sealed")
    made.attest("revoked", query="source.contributor=acme")
    return made


def test_a_record_that_stayed(story: Life) -> None:
    told = tell(story, "a.png")
    assert told.state == "held"
    assert [(station.kind, station.how) for station in told.stations] == [
        ("acquired", BY_NAME),
        ("sealed", IN_DATASET),
        ("scanned", IN_DATASET),
        ("reviewed", BY_NAME),
        ("sealed", IN_DATASET),
        ("revoked", BY_NAME),
    ]
    assert told.stations[0].origin == "https://acme.example"
    assert told.stations[0].record is not None
    assert told.stations[0].record.source["contributor"] == "acme"
    assert told.sealed == told.stations[0].record
    assert told.row == 0
    assert told.problems == ()


def test_a_record_that_left_and_one_that_came(story: Life) -> None:
    left = tell(story, "b.png")
    assert (left.state, left.sealed) == ("in quarantine", None)
    assert [station.kind for station in left.stations] == [
        "acquired",
        "sealed",
        "scanned",
        "quarantined",
        "revoked",
    ]
    assert left.stations[-1].how == BY_SOURCE
    assert [station.kind for station in tell(story, "c.png").stations] == ["acquired", "sealed"]


def test_every_station_is_proved(story: Life) -> None:
    entries = [entry.data for entry in story.log.entries()]
    for station in tell(story, "a.png").stations:
        proof = TlogProof.parse(station.proof)
        proof.verify(leaf_hash(entries[station.index]), log_signer().key)
        with pytest.raises(VerificationError):
            proof.verify(leaf_hash(entries[station.index - 1]), log_signer().key)


def test_a_transformation_shows_both_sides(story: Life) -> None:
    story.rows["a.png"]["label"] = "yield"
    story.write()
    story.seal()
    story.attest("transformed", reason="relabelled")
    station = tell(story, "a.png").stations[-1]
    assert station.was is not None
    assert station.record is not None
    assert (station.was.label, station.record.label) == ("stop", "yield")


def test_seal_and_log_that_contradict_each_other(story: Life) -> None:
    story.rows["a.png"]["label"] = "yield"
    story.put_back(["b.png"])
    story.seal()
    assert "another content, label or source" in tell(story, "a.png").problems[0]
    assert "does not hold it" in tell(story, "b.png").problems[0]


def test_a_record_that_nobody_knows(story: Life) -> None:
    with pytest.raises(InputError, match="neither the seal nor the log"):
        tell(story, "z.png")
    story.add("bob", ["z.png"], "yield", 300)
    story.seal()
    told = tell(story, "z.png")
    assert (told.state, told.stations) == ("unknown", ())
    assert told.problems


def test_an_event_that_cannot_be_read_is_said(story: Life) -> None:
    next(path for path in (story.root / "log" / "objects").rglob("*") if path.is_file()).unlink()
    assert any("missing" in problem for problem in tell(story, "c.png").problems)


def test_an_event_that_nobody_may_have_signed_does_not_move_the_record(story: Life) -> None:
    story.attest("quarantined", "mallory", query="key=a.png")
    told = tell(story, "a.png")
    assert told.state == "held"
    assert told.problems == ("entry 8, 'quarantined', does not count: it is by mallory",)
    event = told.to_json()["events"][-1]
    assert (event["kind"], event["signers"], event["invalid"]) == ("quarantined", [], "is by mallory")
    assert told.to_json()["events"][0]["invalid"] is None
    assert tell(story, "c.png").problems == ()  # it is not about this one


def test_evidence_that_nobody_may_have_signed_is_a_problem(story: Life) -> None:
    story.attest("reviewed", "mallory")
    assert tell(story, "a.png").problems == ("entry 8, 'reviewed', does not count: it is by mallory",)
    assert tell(story, "b.png").problems == ()  # it was in quarantine
