"""Ways around the auditor: evidence that comes too late, events said twice, a log under another key, objects that are gone."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bezoar.custody.audit.auditing import Scope, audit
from bezoar.custody.audit.opinion import Verdict
from bezoar.custody.audit.statement import AuditStatement
from bezoar.custody.events.attesting import append, attest, read_books
from bezoar.custody.events.building import Request, leaf_of
from bezoar.custody.events.event import LOST, Event, Part, Scan, ScanFinding
from bezoar.custody.events.history import history
from bezoar.custody.seal.layout import BUNDLE, CROISSANT, MANIFEST
from bezoar.custody.seal.sealing import Seal, seal
from bezoar.custody.tlog.keys import ed25519_signer
from bezoar.custody.tlog.note import Note, sign_note
from bezoar.errors import InputError
from custody.audit.life import ACME, BOB, CAROL, acquire, whole_life
from custody.audit.support import ORIGIN, Life, log_signer, picture, scan, signer_of, write_policy


@pytest.fixture
def life(tmp_path: Path) -> Life:
    made, _ = whole_life(tmp_path / "life")
    return made


def audited(life: Life, scope: Scope | None = None) -> AuditStatement:
    return audit(
        life.data,
        life.root / "log",
        life.root / "policy" / "policy.toml",
        scope or Scope(seed=1),
        now=life.tick(),
    )


def codes(statement: AuditStatement) -> set[str]:
    return {each.code for each in statement.irregularities}


def test_a_finding_that_is_made_after_the_release_is_open(life: Life) -> None:
    assert audited(life).opinion.verdict is Verdict.UNQUALIFIED
    life.attest("scanned", "grace", scan=scan(ScanFinding("a patch", "poison", tuple(ACME[:2]))))
    statement = audited(life)
    assert codes(statement) == {"open-finding"}
    assert statement.opinion.verdict is Verdict.QUALIFIED


def test_an_event_that_is_appended_again_is_named(life: Life) -> None:
    """Whoever holds the log's key can append what others have signed before, without asking them."""
    logged = [each for each in history(life.log, "signs") if each.event is not None]
    last = logged[-1]
    assert last.event is not None
    assert last.event.kind == "released"
    entry = next(life.log.entries(last.index)).data
    life.log.append([(entry, {})], log_signer())
    statement = audited(life)
    assert [(each.code, each.event) for each in statement.irregularities] == [("replayed", last.index + 1)]
    assert statement.opinion.verdict is Verdict.QUALIFIED


def test_a_second_signature_on_the_same_statement_is_no_replay(life: Life) -> None:
    life.attest("reviewed", "grace")
    event = [each.event for each in history(life.log, "signs")][-1]
    assert event is not None
    append([event], life.log, [signer_of("edsger")], log_signer())
    assert codes(audited(life)) == set()


def test_a_log_whose_events_cannot_be_read_gives_no_opinion(life: Life) -> None:
    shutil.rmtree(life.root / "log" / "objects")
    statement = audited(life)
    assert codes(statement) == {"unreadable-event", "no-events"}
    assert statement.opinion.verdict is Verdict.DISCLAIMER


def test_a_rolled_back_log_does_not_hide_behind_another_key(life: Life) -> None:
    """`log.json` names whom it likes: what this machine remembers is kept by the key that the policy names."""
    folder = life.root / "log"
    old = (folder / "checkpoint").read_bytes()
    life.attest("revoked", query="source.contributor=acme", reason="acme was hacked")
    assert "revoked-present" in codes(audited(life))
    other = ed25519_signer(Ed25519PrivateKey.from_private_bytes(b"\x08" * 32), ORIGIN)
    note = Note.parse(old)
    both = Note(note.text, (*note.signatures, *sign_note(note.text, other).signatures))
    (folder / "checkpoint").write_bytes(both.to_bytes())
    (folder / "log.json").write_text(json.dumps({"key": other.key.text, "origin": ORIGIN}))
    statement = audited(life)
    assert "log-not-trusted" in codes(statement)
    assert statement.opinion.verdict is Verdict.ADVERSE


def test_an_earlier_statement_hides_only_what_it_tells(life: Life) -> None:
    """An auditor who had a laxer policy, or did not look, has not told of what the present policy finds."""
    event = [each.event for each in history(life.log, "signs")][-1]
    assert event is not None
    life.forge(replace(event, kind="reviewed", time=life.tick()), by="mallory")
    before = audited(life)
    assert codes(before) == {"untrusted-signer"}
    silent = replace(before, irregularities=())
    append([silent.event()], life.log, [signer_of("barbara")], log_signer())
    since = Scope(since=life.tick() - timedelta(minutes=1), seed=1)
    assert codes(audited(life, since)) == {"untrusted-signer"}
    append([replace(before, time=life.tick()).event()], life.log, [signer_of("barbara")], log_signer())
    since = Scope(since=life.tick() - timedelta(minutes=1), seed=1)
    assert codes(audited(life, since)) == set()


def rename(life: Life, old: str, new: str) -> None:
    """A file of the folder gets another name and keeps all else."""
    (life.data / old).rename(life.data / new)
    life.rows[new] = life.rows.pop(old)
    life.write()


def test_a_removed_record_does_not_return_by_a_transformation(life: Life) -> None:
    gone = next(
        each.event for each in history(life.log, "signs") if each.event and each.event.kind == "removed"
    )
    life.put_back(CAROL[:1])
    life.take_out(ACME[:1])
    life.seal()
    life.attest("transformed", reason="cleaned up")
    life.attest("sealed")
    assert CAROL[0] in {record.key for record in gone.records}
    assert [each.keys for each in audited(life).irregularities if each.code == "removed-returned"] == [
        (CAROL[0],)
    ]


def test_a_transformation_is_no_way_to_acquire(life: Life) -> None:
    life.add("eve", ["eve.png"], "stop", 9000)
    life.seal()
    with pytest.raises(InputError, match=r"'eve.png' .* replace none that the log has"):
        life.attest("transformed")
    with pytest.raises(InputError, match="replace none"):
        life.attest("transformed", query="key=eve*")
    event = life.attest("acquired").events[0]
    assert [record.key for record in event.records] == ["eve.png"]


def test_records_that_a_transformation_made_from_nothing(life: Life) -> None:
    logged = [each.event for each in history(life.log, "signs") if each.event is not None]
    first, last = logged[0], logged[-1]
    stranger = replace(first.records[0], key="eve.png", sha256=b"\5" * 32)
    life.forge(
        replace(first, kind="transformed", origin=None, before=last.after, after="ab" * 32, time=life.tick(), records=(stranger,))
    )  # fmt: skip
    assert [each.keys for each in audited(life).irregularities if each.code == "made-from-nothing"] == [
        ("eve.png",)
    ]


def test_a_revocation_follows_a_record_that_was_renamed(life: Life) -> None:
    """In a folder of images whose sub-folders are the classes, relabelling is renaming."""
    rename(life, ACME[0], "harmless.png")
    life.seal()
    life.attest("transformed", reason="relabelled")
    life.attest("revoked", query="origin=https://acme*", reason="acme was hacked")
    life.attest("removed", query="key=acme*")
    life.take_out(ACME[1:])
    life.seal()
    life.attest("sealed")
    found = [each for each in audited(life).irregularities if each.code == "revoked-present"]
    assert [each.keys for each in found] == [("harmless.png",)] * 2  # when it was sealed, and at the closing


@pytest.mark.parametrize("derived", [False, True])
def test_a_revocation_follows_a_record_whose_source_is_said_to_be_another(life: Life, derived: bool) -> None:
    """The query is about the very column that the transformation changes."""
    life.attest("revoked", query="source.contributor=acme", reason="acme was hacked")
    for name in ACME:
        life.rows[name]["contributor"] = "nobody"
    life.write()
    life.seal()
    life.attest("transformed", reason="a spelling")
    if derived:
        assert concerned(life, derive(life)) == {ACME[0], "other.png"}
        return
    for name in ("grace", "edsger"):
        life.attest("reviewed", name)
    life.attest("scanned", "grace", scan=scan())
    life.attest("sealed")
    life.attest("released", "barbara")
    found = [each for each in audited(life).irregularities if each.code == "revoked-present"]
    assert [each.affected for each in found] == [60, 60, 60]  # sealed, released, at the closing


def test_what_was_corrected_before_a_revocation_is_as_it_was_corrected(life: Life) -> None:
    life.rows[ACME[0]]["contributor"] = "bob"
    life.write()
    life.seal()
    life.attest("transformed", reason="it was bob's")
    life.attest("revoked", query="source.contributor=acme", reason="acme was hacked")
    life.attest("removed", query="source.contributor=acme")
    life.take_out(ACME[1:])
    life.seal()
    life.attest("sealed")
    assert "revoked-present" not in codes(audited(life))


def derive(life: Life) -> Path:
    """A smaller dataset that was made from the first: some records as they are, one under another name, one changed."""
    small = life.root / "small"
    small.mkdir()
    rows = [(ACME[0], ACME[0], None), (ACME[1], "other.png", None), (BOB[5], BOB[5], 7000)]
    lines = []
    for old, new, seed in rows:
        content = (life.data / old).read_bytes() if seed is None else picture(seed)
        (small / new).write_bytes(content)
        lines.append(json.dumps({"file_name": new, "label": "x", "license": "CC0-1.0"}))
    (small / "metadata.jsonl").write_text("\n".join(lines) + "\n")
    sealed = seal(small, signer_of("ada"), now=life.now)
    life.attest("transformed", to=sealed, reason="a small one")
    request = Request("sealed", life.tick())
    attest(sealed, request, life.log, [signer_of("ada")], log_signer())
    return small


def concerned(life: Life, small: Path, code: str = "revoked-present") -> set[str]:
    """The records of the derived dataset that an exception is about at the closing."""
    statement = audit(
        small, life.root / "log", life.root / "policy" / "policy.toml", Scope(seed=1), now=life.tick()
    )
    return {key for each in statement.irregularities if each.code == code for key in each.keys}


def test_a_derived_dataset_of_admissible_records(life: Life) -> None:
    small = derive(life)
    assert concerned(life, small) == set()
    assert concerned(life, small, "parent-unknown") == set()


@pytest.mark.parametrize(
    ("query", "keys"),
    [
        ("source.contributor=acme", {ACME[0], "other.png"}),
        ("origin=https://acme*", {ACME[0], "other.png"}),
        ("source.contributor=bob", {BOB[5]}),
        ("source.contributor=carol", set()),
    ],
)
def test_a_revocation_follows_into_a_derived_dataset(life: Life, query: str, keys: set[str]) -> None:
    small = derive(life)
    life.attest("revoked", query=query, reason="withdrawn")
    assert concerned(life, small) == keys


def test_a_revocation_that_nobody_may_have_signed_does_not_follow(life: Life) -> None:
    small = derive(life)
    life.attest("revoked", "mallory", query="source.contributor=acme")
    assert concerned(life, small) == set()


def test_records_derived_from_a_dataset_that_the_log_does_not_know(life: Life) -> None:
    life.add("acme", ["unlogged.png"], "stop", 8000)
    life.seal()
    small = derive(life)
    assert concerned(life, small, "parent-unknown") == {ACME[0], "other.png", BOB[5]}


def test_a_derived_dataset_whose_parent_somebody_else_accounted_for(life: Life) -> None:
    life.add("acme", ["foreign.png"], "stop", 8000)
    life.seal()
    life.attest("acquired", "mallory", origin="https://clean.example")
    small = derive(life)
    assert concerned(life, small, "parent-unknown") == {ACME[0], "other.png", BOB[5]}


def test_a_revocation_follows_over_two_generations(life: Life) -> None:
    small = derive(life)
    tiny = life.root / "tiny"
    shutil.copytree(small, tiny)
    sealed = seal(tiny, signer_of("ada"), now=life.now)
    request = Request("transformed", life.tick(), to=sealed)
    attest(Seal.open(life.root / "small.seal"), request, life.log, [signer_of("ada")], log_signer())
    life.attest("revoked", query="source.contributor=acme")
    assert concerned(life, tiny) == {ACME[0], "other.png"}


def copy(life: Life, old: str, new: str, contributor: str = "eve") -> None:
    """A file that is in the folder or was taken out appears again, under another name."""
    there = life.data / old if (life.data / old).exists() else life.put_aside / old
    shutil.copy(there, life.data / new)
    life.rows[new] = {"label": "stop", "contributor": contributor, "license": "CC0-1.0"}
    life.write()


def logged_seal(life: Life, *kinds: str) -> None:
    """Seal, and attest what led there."""
    life.seal()
    for kind in (*kinds, "sealed"):
        life.attest(kind)


def keys_of(statement: AuditStatement, code: str) -> list[str]:
    return [key for each in statement.irregularities if each.code == code for key in each.keys]


@pytest.mark.parametrize("gone", [BOB[1], CAROL[0]])  # it lies in quarantine, it was removed
def test_content_that_was_set_aside_does_not_come_back_under_another_key(life: Life, gone: str) -> None:
    copy(life, gone, "innocent.png")
    logged_seal(life, "acquired")
    assert keys_of(audited(life), "content-returned") == ["innocent.png"]
    rename(life, "innocent.png", "more_innocent.png")
    logged_seal(life, "transformed")
    assert keys_of(audited(life), "content-returned") == ["more_innocent.png"]


def test_removed_content_does_not_come_back_through_quarantine(life: Life) -> None:
    copy(life, CAROL[0], "innocent.png")
    logged_seal(life, "acquired")
    life.attest("quarantined", query="key=innocent.png")
    life.attest("released", query="key=innocent.png")
    assert keys_of(audited(life), "content-returned") == ["innocent.png"]


def test_a_copy_that_was_there_before_the_quarantine_is_shown_until_it_is_decided(life: Life) -> None:
    copy(life, ACME[0], "copy.png")
    logged_seal(life, "acquired")
    life.attest("quarantined", query=f"key={ACME[0]}")
    life.take_out(ACME[:1])
    logged_seal(life)
    assert keys_of(audited(life), "content-copied") == ["copy.png"]
    life.attest("removed", query=f"key={ACME[0]}")
    assert keys_of(audited(life), "content-copied") == ["copy.png"]
    life.attest("quarantined", query="key=copy.png")
    life.attest("released", query="key=copy.png")
    assert keys_of(audited(life), "content-copied") == []


def test_a_duplicate_may_be_removed(life: Life) -> None:
    copy(life, ACME[0], "copy.png", "acme")
    logged_seal(life, "acquired")
    life.attest("removed", query="key=copy.png", reason="a duplicate")
    life.take_out(["copy.png"])
    logged_seal(life)
    rename(life, ACME[0], "renamed.png")
    logged_seal(life, "transformed")
    assert not {"content-copied", "content-returned"} & codes(audited(life))


def test_what_a_fetch_has_lost_may_come_from_elsewhere(life: Life) -> None:
    life.attest("quarantined", query=f"key={ACME[0]}", reason=LOST)
    life.take_out(ACME[:1])
    logged_seal(life)
    copy(life, ACME[0], "mirror.png", "acme")
    logged_seal(life, "acquired")
    assert not {"content-copied", "content-returned"} & codes(audited(life))


def test_a_scan_that_says_poisoned_names_the_records(life: Life) -> None:
    for findings in ((), (ScanFinding("odd", "review", (ACME[0],)),)):
        with pytest.raises(InputError, match="poisoned, and no finding names"):
            life.attest("scanned", "grace", scan=Scan("poisoned", "ab" * 32, findings))


def test_a_verdict_without_findings_stands_until_a_later_snapshot_is_clean(life: Life) -> None:
    event = life.attest("scanned", "grace", scan=scan()).events[0]
    life.forge(replace(event, time=life.tick(), scan=Scan("poisoned", "ab" * 32)), "grace")
    life.attest("scanned", "grace", scan=scan())
    assert codes(audited(life)) == {"open-finding"}
    life.attest("removed", query=f"key={ACME[0]}")
    life.take_out(ACME[:1])
    logged_seal(life)
    assert codes(audited(life)) == {"open-finding"}
    life.attest("scanned", "grace", scan=scan())
    assert codes(audited(life)) == set()


def test_nobody_closes_a_finding_alone_by_quarantine_and_release(life: Life) -> None:
    """Nor with a review of their own, where one person may do both; two others are demanded here."""
    policy = life.root / "policy" / "policy.toml"
    policy.write_text(
        policy.read_text().replace('["custodian", "sealer"]', '["custodian", "sealer", "reviewer"]')
    )
    life.attest("scanned", "grace", scan=scan(ScanFinding("a patch", "poison", (ACME[0],))))
    life.attest("quarantined", query=f"key={ACME[0]}")
    assert keys_of(audited(life), "open-finding") == []
    life.attest("released", query=f"key={ACME[0]}")
    assert keys_of(audited(life), "open-finding") == [ACME[0]]
    life.attest("reviewed", "ada", query=f"key={ACME[0]}")
    life.attest("reviewed", "grace", query=f"key={ACME[0]}")
    assert keys_of(audited(life), "open-finding") == [ACME[0]]
    life.attest("reviewed", "edsger", query=f"key={ACME[0]}")
    assert keys_of(audited(life), "open-finding") == []


def test_what_a_release_lacked_is_lacking_in_the_next_period_too(tmp_path: Path) -> None:
    """The auditor has told of it, so that the exception at the release belongs to the period before."""
    life = Life(tmp_path / "life")
    acquire(life)
    life.attest("scanned", "grace", scan=scan())
    life.seal()
    life.attest("sealed")
    life.attest("released", "barbara")
    write_policy(life.root / "policy")
    before = audited(life)
    assert [(each.code, each.event) for each in before.irregularities] == [("missing-reviews", 6)]
    append([replace(before, time=life.tick()).event()], life.log, [signer_of("barbara")], log_signer())
    since = Scope(since=life.tick() - timedelta(minutes=1), seed=1)
    assert [(each.code, each.event) for each in audited(life, since).irregularities] == [
        ("missing-reviews", None)
    ]


def parts_of(sealed: Seal) -> tuple[Part, ...]:
    return tuple(Part(name, sealed.digest(name), "x/y") for name in (BUNDLE, MANIFEST, CROISSANT))


def sealed_again(life: Life, snapshot: str, parts: tuple[Part, ...]) -> None:
    """Sealed, reviewed by two people and scanned, by what the events say, whatever the books hold."""
    about = Event("sealed", "signs", snapshot, snapshot, life.tick(), count=1, parts=parts)
    life.forge(about)
    for name in ("grace", "edsger"):
        life.forge(replace(about, kind="reviewed", time=life.tick(), count=None, parts=()), by=name)
    seen = replace(about, kind="scanned", time=life.tick(), count=None, parts=(), scan=scan())
    life.forge(seen, by="grace")


def test_a_mistake_that_was_told_hides_no_record_in_the_next_period(life: Life) -> None:
    """The reviewers see the snapshot that the movement names; the books hold one record more."""
    books, old = read_books(life.log, "signs"), parts_of(Seal.open(life.root / "signs.seal"))
    known = books.held[ACME[0]].leaf
    life.forge(
        Event("transformed", "signs", books.tip, "ab" * 32, life.tick(), records=(known,), was=(known,))
    )
    sealed_again(life, books.tip, old)
    before = audited(life)
    assert codes(before) == {"snapshot-mismatch"}
    append([replace(before, time=life.tick()).event()], life.log, [signer_of("barbara")], log_signer())
    since = Scope(since=life.tick() - timedelta(minutes=1), seed=1)
    assert codes(audited(life, since)) == set()
    life.add("acme", ["poison.png"], "stop", 9000)
    new = life.seal()
    poison = next(leaf_of(row) for row in new.manifest.rows() if row.key == "poison.png")
    life.forge(
        Event(
            "acquired", "signs", books.tip, "cd" * 32, life.tick(), records=(poison,), origin="https://acme"
        )
    )
    sealed_again(life, books.tip, old)
    parts, root = parts_of(new), new.root.hex()
    life.forge(Event("sealed", "signs", root, root, life.tick(), count=1, parts=parts))
    found = {each.code: each.keys for each in audited(life, since).irregularities}
    assert set(found) == {"snapshot-mismatch", "missing-reviews", "missing-scan"}
    assert found["missing-reviews"] == found["missing-scan"] == ("poison.png",)
