"""The scripted life balances; every irregularity planted in it is found and named."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bezoar.custody.audit.auditing import Scope, audit
from bezoar.custody.audit.irregularities import Irregularity
from bezoar.custody.audit.opinion import Verdict
from bezoar.custody.audit.statement import AuditStatement
from bezoar.custody.events.attesting import read_books
from bezoar.custody.events.building import Request, events
from bezoar.custody.events.entry import EventEntry
from bezoar.custody.events.event import Event, Part, ScanFinding
from bezoar.custody.events.query import Query
from bezoar.custody.seal.sealing import Seal, seal
from bezoar.custody.tlog.note import VerifierKey
from bezoar.errors import InputError
from custody.audit.life import ACME, BOB, CAROL, acquire, examine, quarantine, revoke
from custody.audit.support import Life, log_signer, picture, scan, signer_of, write_policy

FULL = Scope(full=True)
PART = Part("bundle.sig", "ab" * 32, "application/json")
At = Callable[[str], Life]


@pytest.fixture(scope="session")
def stations(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Life]:
    """The life at its stations, each to be copied and gone on from."""
    root = tmp_path_factory.mktemp("life")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BEZOAR_STATE", str(root / "state"))
        patch.setenv("BEZOAR_CACHE", str(root / "cache"))
        life = Life(root / "now")
        write_policy(root / "now" / "policy")
        found = {}
        for name, step in (
            ("acquired", acquire),
            ("examined", examine),
            ("cleaned", quarantine),
            ("end", revoke),
        ):
            step(life)
            found[name] = life.copy(root / name)
    return found


@pytest.fixture
def at(stations: dict[str, Life], tmp_path: Path) -> At:
    return lambda name: stations[name].copy(tmp_path / "life")


def look(life: Life, scope: Scope | None = None, policy: Path | None = None) -> AuditStatement:
    return audit(
        life.data,
        life.root / "log",
        policy or life.root / "policy" / "policy.toml",
        scope or Scope(seed=1),
        now=life.tick(),
    )


def found(statement: AuditStatement, code: str) -> Irregularity:
    """The irregularity of this kind; all are shown when there is none."""
    of_kind = [each for each in statement.irregularities if each.code == code]
    assert of_kind, [(each.code, each.what) for each in statement.irregularities]
    return of_kind[0]


def codes(statement: AuditStatement) -> set[str]:
    return {each.code for each in statement.irregularities}


@pytest.mark.parametrize("scope", [FULL, Scope(seed=1)])
def test_the_life_balances(at: At, scope: Scope) -> None:
    statement = look(at("end"), scope)
    assert statement.irregularities == ()
    assert statement.opinion.verdict is Verdict.UNQUALIFIED
    total = statement.balances.total
    assert (total.opening, total.closing, total.sealed, total.difference) == (0, 88, 88, 0)
    assert total.moved == {
        "acquired": 120, "quarantined": 3, "released": 1, "removed": 30, "transformed in": 0, "transformed out": 0,
    }  # fmt: skip
    assert {row.name: row.closing for row in statement.balances.by_source} == {
        "acme": 60,
        "bob": 28,
        "carol": 0,
    }
    assert {row.name: row.closing for row in statement.balances.by_class} == {"stop": 60, "yield": 28}
    assert statement.balances.quarantine.closing == 2
    assert statement.sampling.examined == (88 if scope.full else 84)


def test_the_life_balances_at_every_station(at: At, stations: dict[str, Life]) -> None:
    assert look(at("cleaned")).opinion.verdict is Verdict.UNQUALIFIED


def test_a_period_begins_with_the_balance_of_the_one_before(at: At, stations: dict[str, Life]) -> None:
    statement = look(at("end"), Scope(full=True, since=stations["cleaned"].now + timedelta(minutes=1)))
    total = statement.balances.total
    assert (total.opening, total.moved["acquired"], total.moved["removed"], total.closing) == (118, 0, 30, 88)
    assert statement.balances.quarantine.opening == 2
    assert statement.opinion.verdict is Verdict.UNQUALIFIED


# What is planted, and what must be found.


def test_an_unlogged_removal(at: At) -> None:
    life = at("end")
    life.take_out(ACME[:1])
    life.seal()
    statement = look(life)
    assert found(statement, "unlogged-removal").keys == (ACME[0],)
    assert statement.opinion.verdict is not Verdict.UNQUALIFIED
    assert statement.balances.total.difference == -1


def test_an_unlogged_addition(at: At) -> None:
    life = at("end")
    life.add("acme", ["new.png"], "stop", 9000)
    life.seal()
    statement = look(life)
    assert found(statement, "unlogged-addition").keys == ("new.png",)
    assert statement.balances.total.difference == 1


def test_a_relabelling_without_event(at: At) -> None:
    life = at("end")
    life.rows[ACME[3]]["label"] = "yield"
    life.write()
    life.seal()
    statement = look(life)
    irregularity = found(statement, "relabelled")
    assert irregularity.keys == (ACME[3],)
    assert "stop -> yield" in irregularity.what
    assert {row.name: row.difference for row in statement.balances.by_class} == {"stop": -1, "yield": 1}


def test_a_changed_source_without_event(at: At) -> None:
    life = at("end")
    life.rows[ACME[3]]["license"] = "unknown"
    life.write()
    life.seal()
    assert found(look(life), "source-changed").keys == (ACME[3],)


@pytest.mark.parametrize("scope", [FULL, Scope(seed=1, tolerable=0)])
def test_a_changed_content_byte(at: At, scope: Scope) -> None:
    life = at("end")
    for name in ACME[:5]:
        file = life.data / name
        data = bytearray(file.read_bytes())
        data[-1] ^= 1
        file.write_bytes(data)
    statement = look(life, scope)
    hit = found(statement, "data-changed")
    assert set(hit.keys) <= set(ACME[:5])
    assert hit.affected == 5 or not scope.full
    assert statement.opinion.verdict is not Verdict.UNQUALIFIED


def test_a_changed_content_sealed_anew(at: At) -> None:
    life = at("end")
    (life.data / ACME[0]).write_bytes(picture(77))
    life.seal()
    assert found(look(life), "content-changed").keys == (ACME[0],)


def test_a_changed_label_in_the_data_only(at: At) -> None:
    life = at("end")
    life.rows[ACME[0]]["label"] = "yield"
    life.write()
    assert found(look(life), "data-relabelled").keys == (ACME[0],)


def test_an_event_signed_by_an_untrusted_key(at: At) -> None:
    life = at("end")
    life.attest("removed", "mallory", query=f"key={ACME[0]}")
    life.take_out(ACME[:1])
    life.seal()
    life.attest("sealed")
    statement = look(life)
    irregularity = found(statement, "untrusted-signer")
    assert irregularity.event == 18
    assert irregularity.keys == (ACME[0],)
    assert codes(statement) == {"untrusted-signer"}


def test_an_event_of_a_signer_in_another_role(at: At) -> None:
    life = at("end")
    life.attest("quarantined", "grace", query=f"key={ACME[0]}")
    life.take_out(ACME[:1])
    life.seal()
    life.attest("sealed")
    irregularity = found(look(life), "wrong-role")
    assert "Grace" in irregularity.what
    assert irregularity.event == 18


def test_a_signature_from_outside_its_validity(at: At) -> None:
    life = at("end")
    life.now = datetime(2027, 1, 2, tzinfo=UTC)
    life.attest("removed", query=f"key={ACME[0]}")
    life.take_out(ACME[:1])
    life.seal()
    life.attest("sealed")
    statement = look(life)
    assert found(statement, "outside-validity").event == 18
    assert (
        "valid from 2026-11-01T00:00:00Z until 2026-12-31T00:00:00Z"
        in found(statement, "outside-validity").what
    )


def test_an_expired_key_that_dates_its_event_back(at: At) -> None:
    """After the key's window a later event is in the log; the order of entries tells on the time."""
    life = at("end")
    life.now = datetime(2027, 1, 2, tzinfo=UTC)
    life.attest("reviewed", "grace")
    life.now = datetime(2026, 12, 30, tzinfo=UTC)
    life.attest("removed", query=f"key={ACME[0]}")
    life.now = datetime(2027, 1, 3, tzinfo=UTC)
    assert found(look(life), "back-dated").event == 19


def test_a_missing_second_reviewer(at: At) -> None:
    life = at("acquired")
    examine(life, second_reviewer=False)
    quarantine(life, ("grace",))
    statement = look(life)
    irregularity = found(statement, "missing-reviews")
    assert irregularity.affected == 118
    assert irregularity.event == 11  # the release
    assert "Grace" in irregularity.what
    assert "Edsger" not in irregularity.what
    assert statement.opinion.verdict is Verdict.QUALIFIED


def test_one_reviewer_who_reviews_twice_is_not_two(at: At) -> None:
    life = at("acquired")
    examine(life, second_reviewer=False)
    life.attest("reviewed", "grace")
    quarantine(life, ("grace",))
    assert "missing-reviews" in codes(look(life))


def test_a_review_does_not_cover_what_comes_later(at: At) -> None:
    life = at("end")
    life.add("acme", ["late.png"], "stop", 9000)
    life.seal()
    life.attest("acquired")
    life.attest("sealed")
    statement = look(life)
    assert found(statement, "missing-reviews").keys == ("late.png",)
    assert found(statement, "missing-scan").keys == ("late.png",)


def test_a_revoked_source_still_present(at: At) -> None:
    life = at("cleaned")
    life.attest("revoked", query="source.contributor=carol")
    life.attest("sealed")
    statement = look(life)
    irregularity = found(statement, "revoked-present")
    assert irregularity.affected == len(CAROL)
    assert irregularity.event == 15
    assert statement.opinion.verdict is Verdict.ADVERSE  # 30 of 118 records


def test_a_revoked_source_acquired_again(at: At) -> None:
    life = at("end")
    life.add("carol", ["again.png"], "stop", 9000)
    life.seal()
    life.attest("acquired")
    life.attest("sealed")
    assert found(look(life), "revoked-present").keys == ("again.png",)


def test_a_removed_record_is_back(at: At) -> None:
    life = at("end")
    life.put_back(CAROL[:1])
    life.seal()
    statement = look(life)
    assert found(statement, "removed-present").keys == (CAROL[0],)
    life.attest("acquired")
    assert found(look(life), "removed-returned").keys == (CAROL[0],)


def test_a_rolled_back_log(at: At) -> None:
    life = at("end")
    earlier = life.root / "earlier"
    shutil.copytree(life.root / "log", earlier)
    life.attest("reviewed", "grace")
    look(life)  # this machine has seen the longer log
    shutil.rmtree(life.root / "log")
    earlier.rename(life.root / "log")
    statement = look(life)
    assert "rolled back" in found(statement, "log-rewritten").what
    assert statement.opinion.verdict is Verdict.ADVERSE


def test_a_forked_log(at: At) -> None:
    life = at("end")
    other = life.copy(life.root.parent / "other")
    life.attest("reviewed", "grace")
    look(life)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BEZOAR_STATE", str(life.root / "elsewhere"))
        other.attest("reviewed", "edsger")
        other.attest("reviewed", "edsger")
    statement = look(other)
    assert "forked" in found(statement, "log-rewritten").what
    assert statement.opinion.verdict is Verdict.ADVERSE


def test_a_log_of_another_key(at: At) -> None:
    life = at("end")
    policy = life.root / "policy" / "policy.toml"
    text = policy.read_text()
    start = text.index('key = "') + 7
    other = VerifierKey("example.org/custody", 1, b"\x05" * 32).text
    policy.write_text(text[:start] + other + text[text.index('"', start) :])
    statement = look(life)
    assert found(statement, "log-not-trusted").effect == "pervasive"
    assert statement.opinion.verdict is Verdict.ADVERSE


def test_a_log_shorter_than_the_policy_demands(at: At) -> None:
    life = at("end")
    policy = life.root / "policy" / "policy.toml"
    policy.write_text(policy.read_text().replace("minimum_size = 5", "minimum_size = 50"))
    assert "50" in found(look(life), "log-too-short").what


def test_a_damaged_log(at: At) -> None:
    life = at("end")
    bundle = next((life.root / "log" / "tile" / "entries").rglob("18"))
    data = bytearray(bundle.read_bytes())
    data[100] ^= 1
    bundle.write_bytes(data)
    statement = look(life)
    assert "log-damaged" in codes(statement)
    assert statement.opinion.verdict is Verdict.ADVERSE


def test_a_missing_event(at: At) -> None:
    life = at("end")
    entry = EventEntry.parse(list(life.log.entries())[2].data)
    next((life.root / "log" / "objects").rglob(entry.object)).unlink()
    statement = look(life)
    assert found(statement, "unreadable-event").event == 2
    assert "snapshot-mismatch" in codes(statement)
    assert statement.opinion.verdict is not Verdict.UNQUALIFIED


def test_a_replayed_old_seal(at: At, stations: dict[str, Life]) -> None:
    life = at("end")
    for name in ("signs", "signs.seal"):
        shutil.rmtree(life.root / name)
        shutil.copytree(stations["cleaned"].root / name, life.root / name)
    statement = look(life)
    irregularity = found(statement, "old-seal")
    assert "entry 12" in irregularity.what
    assert irregularity.event == 16
    assert statement.opinion.verdict is Verdict.ADVERSE


def test_a_quarantined_record_back_in_the_data(at: At) -> None:
    life = at("end")
    life.put_back(BOB[1:2])
    assert found(look(life), "data-added").keys == (BOB[1],)
    life.seal()
    statement = look(life)
    assert found(statement, "quarantined-present").keys == (BOB[1],)


def test_a_quarantined_record_back_under_another_name(at: At) -> None:
    life = at("end")
    shutil.move(life.put_aside / BOB[1], life.data / "innocent.png")
    life.rows["innocent.png"] = life.gone[BOB[1]]
    life.write()
    life.seal()
    assert found(look(life), "unlogged-addition").keys == ("innocent.png",)


def test_a_seal_of_somebody_else(at: At) -> None:
    life = at("end")
    life.seal("mallory")
    statement = look(life)
    assert found(statement, "seal-not-authentic").effect == "pervasive"
    life.seal("grace")
    assert "Grace, who may not seal" in found(look(life), "seal-not-authentic").what


def test_a_replaced_manifest(at: At, stations: dict[str, Life]) -> None:
    life = at("end")
    shutil.copy(stations["cleaned"].root / "signs.seal" / "manifest.parquet", life.root / "signs.seal")
    assert "manifest.parquet" in found(look(life), "seal-not-authentic").what


def test_a_sealing_that_was_not_logged(at: At) -> None:
    life = at("cleaned")
    life.attest("removed", query=f"key={ACME[0]}")
    life.take_out(ACME[:1])
    life.seal()
    statement = look(life)
    assert codes(statement) == {"seal-not-logged"}
    assert statement.opinion.verdict is Verdict.QUALIFIED


def test_a_sealed_event_that_hides_a_change(at: At) -> None:
    """The unlogged change is sealed and the seal logged: the event does not follow from those before it."""
    life = at("end")
    life.take_out(ACME[:1])
    sealed = life.seal()
    request = Request("sealed", life.tick())
    books = read_books(life.log, "signs")
    books.held.pop(ACME[0])
    books.tip = sealed.root.hex()
    life.forge(events(Seal.open(life.root / "signs.seal"), books, request)[0])
    statement = look(life)
    assert found(statement, "snapshot-mismatch").event == 18
    assert found(statement, "unlogged-removal").keys == (ACME[0],)


def test_a_movement_that_skips_a_snapshot(at: At) -> None:
    life = at("end")
    books = read_books(life.log, "signs")
    request = Request("removed", life.tick(), query=Query.parse(f"key={ACME[0]}"))
    event = events(Seal.open(life.root / "signs.seal"), books, request)[0]
    life.forge(replace(event, before="ab" * 32))
    assert found(look(life), "broken-chain").event == 18


def test_a_movement_of_records_that_are_not_there(at: At) -> None:
    life = at("end")
    books = read_books(life.log, "signs")
    request = Request("quarantined", life.tick(), query=Query.parse(f"key={ACME[0]}"))
    event = events(Seal.open(life.root / "signs.seal"), books, request)[0]
    stranger = replace(event.records[0], key="stranger.png")
    other = replace(event.records[0], label="yield")
    life.forge(replace(event, records=(other, stranger)))
    statement = look(life)
    assert found(statement, "not-held").keys == ("stranger.png",)
    assert found(statement, "other-record").keys == (ACME[0],)


def test_an_open_finding(at: At) -> None:
    life = at("cleaned")
    life.attest("scanned", "grace", scan=scan(ScanFinding("a second patch", "review", tuple(ACME[:2]))))
    assert codes(look(life)) == {"open-finding"}  # though the snapshot was released before the scan
    life.attest("released", "barbara")
    irregularity = found(look(life), "open-finding")
    assert irregularity.keys == tuple(ACME[:2])
    assert "a second patch" in irregularity.what
    life.attest("reviewed", "grace", query="key=acme0[01].png")
    life.attest("released", "barbara")
    assert "open-finding" in codes(look(life))
    life.attest("reviewed", "edsger", query="key=acme0[01].png")
    before = len(look(life).irregularities)
    life.attest("released", "barbara")
    assert len(look(life).irregularities) == before  # this release adds none


def test_an_old_seal_beyond_the_age(at: At) -> None:
    life = at("end")
    life.now += timedelta(days=120)
    statement = look(life)
    assert "90 days" in found(statement, "seal-too-old").what
    assert statement.opinion.verdict is Verdict.QUALIFIED


def test_a_missing_source(at: At) -> None:
    life = at("end")
    policy = life.root / "policy" / "policy.toml"
    policy.write_text(policy.read_text().replace('"contributor", "license"', '"contributor", "url"'))
    assert found(look(life), "source-missing").affected == 88


def test_no_seal_no_opinion(at: At) -> None:
    life = at("end")
    shutil.rmtree(life.root / "signs.seal")
    statement = look(life)
    assert codes(statement) == {"no-seal"}
    assert statement.opinion.verdict is Verdict.DISCLAIMER


def test_no_log_no_opinion(at: At, tmp_path: Path) -> None:
    life = at("end")
    statement = audit(life.data, tmp_path / "nowhere", life.root / "policy" / "policy.toml", now=life.tick())
    assert codes(statement) == {"no-log"}
    assert statement.opinion.verdict is Verdict.DISCLAIMER


def test_data_that_are_not_there(at: At) -> None:
    life = at("end")
    shutil.rmtree(life.data)
    statement = look(life)
    assert codes(statement) == {"no-data"}
    assert statement.opinion.verdict is Verdict.DISCLAIMER


def test_data_that_were_emptied(at: At) -> None:
    life = at("end")
    shutil.rmtree(life.data)
    life.data.mkdir()
    for scope in (Scope(seed=1), FULL):
        statement = look(life, scope)
        assert found(statement, "data-missing").affected == 88
        assert statement.opinion.verdict is Verdict.ADVERSE


def test_a_dataset_the_log_does_not_know(at: At) -> None:
    life = at("end")
    shutil.copytree(life.data, life.root / "other")
    seal(life.root / "other", signer_of("ada"), now=life.now)
    statement = audit(
        life.root / "other", life.root / "log", life.root / "policy" / "policy.toml", now=life.tick()
    )
    assert "no-events" in codes(statement)
    assert statement.opinion.verdict is Verdict.DISCLAIMER


def test_a_mistake_is_corrected_by_a_further_event_and_told_once(at: At, stations: dict[str, Life]) -> None:
    """An unlogged change whose seal was logged: it stays an exception until an auditor has told of it."""
    life = at("end")
    life.take_out(ACME[:1])
    sealed = life.seal()
    event = Event(
        "sealed", "signs", sealed.root.hex(), sealed.root.hex(), life.tick(), count=87, parts=(PART,)
    )
    life.forge(event)
    with pytest.raises(InputError, match="not all the way"):
        life.attest("released", "barbara")
    life.attest("removed", reason="was lost in a crash")
    life.attest("sealed")
    life.attest("released", "barbara", reason="version 3")
    statement = look(life)
    assert codes(statement) == {"snapshot-mismatch"}
    assert statement.balances.total.difference == 0
    life.forge(statement.event(), "barbara")
    assert "snapshot-mismatch" in codes(look(life))  # the whole life again
    life.tick()
    later = look(life, Scope(full=True, since=life.now))
    assert later.irregularities == ()
    assert later.earlier is not None
    assert (later.earlier.event, later.earlier.exceptions) == (22, 1)
    assert later.balances.total.opening == later.balances.total.closing == 87


def test_an_audit_by_nobody_who_may_hides_nothing(at: At) -> None:
    life = at("end")
    life.attest("reviewed", "mallory")
    statement = look(life)
    assert codes(statement) == {"untrusted-signer"}
    life.forge(statement.event(), "ada")
    life.tick()
    later = look(life, Scope(full=True, since=life.now))
    assert codes(later) == {"untrusted-signer", "wrong-role"}
    assert later.earlier is None


def test_a_replayed_event(at: At) -> None:
    """Whoever holds the log's key alone can only enter again what was signed before."""
    life = at("end")
    entries = [entry.data for entry in life.log.entries()]
    for place, code in (
        (1, "removed-returned"),
        (7, "not-held"),
        (13, "replayed"),
        (17, "back-dated"),
    ):
        copied = life.copy(life.root.parent / f"replay{place}")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("BEZOAR_STATE", str(copied.root / "state"))
            copied.attest("revoked", query="key=nothing")
            copied.log.append([(entries[2 if place == 1 else place], {})], log_signer())
            found(look(copied), code)
