"""What a fetch tells the log: after any history of fetches the books balance, and the quarantine account is the store."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import example, given, settings
from hypothesis import strategies as st

from acquire.quarantine.desk import ORIGIN, Desk, held
from bezoar.acquire.custody import Released
from bezoar.acquire.quarantine.held import Settled
from bezoar.acquire.reasons import Reason
from bezoar.custody.events import building
from bezoar.custody.events.attesting import read_books
from bezoar.custody.events.query import Query
from bezoar.custody.tlog.keys import ed25519_signer
from bezoar.errors import InputError, UsageError

GOOD = {f"00000000{n}": f"good {n}".encode() for n in range(4)}
FILES = [f"00000000{n}.bin" for n in range(4)]
BAD = b"what the new owner serves"


def fetched(desk: Desk, name: str = "pets") -> Path:
    """Four rows kept, one set aside; accounted for."""
    out = desk.output(name, GOOD)
    desk.store(out).put(held("000000004", BAD, expected_by="key:ab"), BAD)
    desk.account(out, reason="5 rows: 4 verified, 1 quarantined")
    return out


def balanced(desk: Desk, out: Path) -> tuple[int, int]:
    """Records in the dataset and in quarantine, once the audit has no exception and the store agrees."""
    statement = desk.audit(out)
    assert statement.irregularities == ()
    assert statement.opinion.verdict == "unqualified"
    books = read_books(desk.log, out.name)
    assert {leaf.leaf.sha256.hex() for leaf in books.quarantine.values()} == {
        entry.sha256 for entry in desk.store(out).entries() if entry.stored == "kept"
    }
    return statement.balances.total.closing, statement.balances.quarantine.closing


def test_what_came_was_acquired_and_what_is_wrong_was_quarantined(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    out = fetched(desk)
    assert desk.told("pets") == [
        ("acquired", [*FILES, "000000004"], []),
        ("quarantined", ["000000004"], []),
        ("sealed", [], []),
    ]
    first, second, _ = desk.events("pets")
    assert (first.origin, first.reason) == ("list abc", "5 rows: 4 verified, 1 quarantined")
    assert second.reason == "hash_mismatch: what came is not what the list promises (signed by key:ab)"
    assert second.records[0].source["url"] == "http://b.example/000000004.jpg"
    assert balanced(desk, out) == (4, 1)


def test_the_same_again_is_only_sealed_again(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    out = fetched(desk)
    desk.account(out)
    assert [kind for kind, *_ in desk.told("pets")] == ["acquired", "quarantined", "sealed", "sealed"]
    assert balanced(desk, out) == (4, 1)


def test_only_what_is_new_is_acquired(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    out = fetched(desk)
    (out / "000000007.bin").write_bytes(b"came by a retry")
    desk.account(out)
    assert desk.told("pets")[3:] == [("acquired", ["000000007.bin"], []), ("sealed", [], [])]
    assert balanced(desk, out) == (5, 1)


@pytest.mark.parametrize("crashed", [False, True])
def test_a_row_that_comes_right_leaves_quarantine(tmp_path: Path, crashed: bool) -> None:
    """Also when the fetch was killed after the shard was committed, before the entry was settled."""
    desk = Desk(tmp_path)
    out = fetched(desk)
    (out / "000000004.bin").write_bytes(b"good 4")
    done = Settled("000000004", held("000000004", BAD).sha256, "refetched", "", 1.0)
    if not crashed:
        desk.store(out).settle(done)
    desk.account(out)
    assert desk.told("pets")[3:] == [
        ("removed", ["000000004"], []),
        ("acquired", ["000000004.bin"], []),
        ("sealed", [], []),
    ]
    desk.store(out).settle(done)
    assert balanced(desk, out) == (5, 0)


def test_yet_other_content_takes_the_place_of_what_lies_in_quarantine(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    out = fetched(desk)
    store = desk.store(out)
    for content in (
        b"second",
        BAD,
        b"third",
    ):  # BAD comes back: removal is final, so that it is not told again
        (before,) = store.entries()
        store.settle(Settled("000000004", before.sha256, "refetched", "", 1.0))
        store.put(held("000000004", content), content)
        desk.account(out)
    assert balanced(desk, out) == (4, 1)


def test_a_page_that_changes_owner_is_explained(tmp_path: Path) -> None:
    """The same dataset fetched again into another folder: the row is there as what came, in quarantine."""
    desk = Desk(tmp_path)
    fetched(desk)
    (tmp_path / "again").mkdir()
    again = desk.output("again/pets", {key: GOOD[key] for key in list(GOOD)[1:]})
    entry = held("000000000", b"bought")
    desk.store(again).put(entry, b"bought")
    desk.store(again).put(held("000000004", BAD), BAD)
    desk.account(again)
    assert desk.told("pets")[3:] == [
        ("transformed", ["000000000"], ["000000000.bin"]),
        ("quarantined", ["000000000"], []),
        ("sealed", [], []),
    ]
    assert desk.events("pets")[4].records[0].sha256.hex() == entry.sha256
    assert balanced(desk, again) == (3, 2)


def test_a_row_that_the_fetch_has_lost_and_gets_back(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    out = fetched(desk)
    for name, content, kinds in (
        (FILES[1], b"good 1", ["released", "sealed"]),
        (FILES[2], b"other", ["released", "transformed", "sealed"]),
    ):
        before = len(desk.events("pets"))
        (out / name).unlink()
        desk.account(out)
        assert desk.told("pets")[before:] == [("quarantined", [name], []), ("sealed", [], [])]
        assert desk.events("pets")[before].reason == "missing: the fetch has it no longer"
        (out / name).write_bytes(content)
        desk.account(out)
        assert [kind for kind, *_ in desk.told("pets")[before + 2 :]] == kinds
    assert balanced(desk, out) == (4, 1)


def test_what_a_person_took_out_does_not_slip_back(tmp_path: Path) -> None:
    """A record that was quarantined for a finding is not released by fetching it again."""
    from bezoar.custody.events.attesting import attest
    from bezoar.custody.events.building import Request
    from bezoar.custody.events.times import now
    from bezoar.custody.seal.reading import Seal
    from bezoar.custody.signing.signers import KeySigner

    desk = Desk(tmp_path)
    out = fetched(desk)
    request = Request("quarantined", now(), Query.parse(f"key={FILES[2]}"), reason="finding 1 of the scan")
    attest(Seal.open(tmp_path / "pets.seal"), request, desk.log, [KeySigner(desk.key)], desk.log_signer)
    size = len(desk.events("pets"))
    with pytest.raises(InputError, match=r"holds '000000002.bin', which lies in quarantine by the log"):
        desk.account(out)
    assert len(desk.events("pets")) == size


def test_a_release_is_a_signed_event_and_the_same_call_completes_it(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    out = fetched(desk)
    (out / "000000004.bin").write_bytes(BAD)  # as a release puts it there
    with pytest.raises(InputError, match="finish its release"):
        desk.account(out)
    for _ in range(2):  # the second time as after a crash before the entry was settled
        desk.account(
            out,
            releases={
                "000000004": Released(held("000000004", BAD).sha256, "Ada asked the owner of the page")
            },
        )
    assert desk.told("pets")[3:] == [
        ("released", ["000000004"], []),
        ("transformed", ["000000004.bin"], ["000000004"]),
        ("sealed", [], []),
        ("sealed", [], []),
    ]
    assert desk.events("pets")[3].reason == "Ada asked the owner of the page"
    desk.store(out).settle(Settled("000000004", held("000000004", BAD).sha256, "released", "", 1.0))
    assert balanced(desk, out) == (5, 0)
    desk.account(out)
    assert balanced(desk, out) == (5, 0)


def test_a_release_that_the_log_does_not_know_of_yet(tmp_path: Path) -> None:
    """The first fetch was not logged: the log hears that the row came, was set aside, and was released."""
    desk = Desk(tmp_path)
    out = desk.output("pets", {**GOOD, "000000004": BAD})
    desk.store(out).put(held("000000004", BAD), BAD)
    release = {"000000004": Released(held("000000004", BAD).sha256, "why not")}
    desk.account(out, releases=release)
    kinds = [kind for kind, *_ in desk.told("pets")]
    assert kinds == ["acquired", "quarantined", "released", "transformed", "sealed"]
    with pytest.raises(InputError, match="does not hold '000000009'"):
        desk.account(out, releases={**release, "000000009": Released("0" * 64, "absent")})


def test_bytes_that_were_not_kept_are_not_in_custody(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    out = desk.output("pets", GOOD)
    desk.store(out).put(held("000000004", b"", Reason.HTTP_STATUS), b"")
    desk.store(out).put(held("000000005", b"whole", Reason.TRUNCATED), b"who")
    desk.account(out)
    assert balanced(desk, out) == (4, 0)


def test_hostile_texts_reach_the_log_and_the_audit(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    out = desk.output("pets", GOOD)
    nasty = "\ud800<script>\x1b[31m\u202e\x00" * 3
    entry = held(
        "000000004", BAD, expected_by=nasty, url=nasty, fields={"caption": nasty, nasty: nasty, "n": 1}
    )
    desk.store(out).put(entry, BAD)
    desk.account(out)
    assert balanced(desk, out) == (4, 1)


def test_many_records_are_told_by_several_events(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "MAX_RECORDS", 2)
    desk = Desk(tmp_path)
    out = desk.output("pets", GOOD)
    for number in range(4, 9):
        desk.store(out).put(held(f"00000000{number}", b"%d" % number), b"%d" % number)
    desk.account(out)
    kinds = [kind for kind, *_ in desk.told("pets")]
    assert kinds == ["acquired"] * 5 + ["quarantined"] * 3 + ["sealed"]
    assert balanced(desk, out) == (4, 5)


def test_files_of_one_name_in_several_folders(tmp_path: Path) -> None:
    """What a repository or an archive brings has paths for keys."""
    desk = Desk(tmp_path)
    out = tmp_path / "repository"
    for round_ in range(3):
        for folder in "abc":
            (out / folder).mkdir(parents=True, exist_ok=True)
            (out / folder / "x.bin").write_bytes(f"{folder}{round_ if folder != 'c' else ''}".encode())
        desk.account(out)
        assert balanced(desk, out) == (3, 0)
    assert desk.told("repository")[-2] == ("transformed", ["a/x.bin", "b/x.bin"], ["a/x.bin", "b/x.bin"])


def test_without_a_log_there_is_only_a_seal(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    out = desk.output("pets", GOOD)
    assert len(desk.account(out, log=None, log_signer=None).manifest) == 4
    assert desk.events("pets") == []


def test_nothing_is_appended_when_the_log_cannot_be_signed(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    out = desk.output("pets", GOOD)
    other = ed25519_signer(Ed25519PrivateKey.from_private_bytes(b"2" * 32), ORIGIN)
    with pytest.raises(UsageError):
        desk.account(out, log_signer=other)
    assert desk.events("pets") == []
    desk.account(out)
    assert balanced(desk, out) == (4, 0)


_CONTENT = st.sampled_from([None, *(b"good %d" % n for n in range(2)), *(b"bad %d" % n for n in range(3))])
_STATE = st.lists(_CONTENT, min_size=4, max_size=4)


@settings(max_examples=8, deadline=None)
@example([[content] * 4 for content in (b"good 0", None, b"good 1", None, b"good 0")], 1)
@example([[content] * 4 for content in (b"good 0", None, b"bad 0", b"good 0", b"bad 0", None, b"good 0")], 1)
@given(st.lists(_STATE, min_size=1, max_size=5), st.integers(1, 1012))
def test_after_any_history_the_books_balance(history: list[list[Any]], seed: int) -> None:
    """Each state says of four rows what the fetch gave: nothing, something good, or something that is set aside."""
    with tempfile.TemporaryDirectory() as folder:
        desk = Desk(Path(folder))
        now = 0.0
        for state in history:
            rows = {f"00000000{n}": content for n, content in enumerate(state)}
            kept = {key: content for key, content in rows.items() if content and content.startswith(b"good")}
            out = desk.output("pets", {**kept, "000000009": b"always"})
            store = desk.store(out)
            for entry in store.entries():
                now += 1
                if (
                    entry.key in kept and (seed := seed * 5 % 1013) % 3
                ):  # else as if killed before it was settled
                    store.settle(Settled(entry.key, entry.sha256, "refetched", "", now))
            for key, content in rows.items():
                if content and content.startswith(b"bad"):
                    for old in [entry for entry in store.entries() if entry.key == key]:
                        store.settle(Settled(key, old.sha256, "refetched", "", now))
                    store.put(replace(held(key, content)), content)
            desk.account(out)
            statement = desk.audit(out)
            assert statement.irregularities == ()
            assert statement.balances.total.closing == len(kept) + 1


def test_the_audit_says_why_records_lie_in_quarantine_and_whose_they_were(tmp_path: Path) -> None:
    from jsonschema import Draft202012Validator

    from bezoar.custody import audit as package
    from bezoar.report.audit_html import audit_to_html
    from bezoar.report.audit_terminal import audit_to_terminal

    desk = Desk(tmp_path)
    policy = tmp_path / "policy.toml"
    policy.write_text(policy.read_text() + '[sources]\ncolumn = "url"\n')
    out = desk.output("pets", GOOD)
    for number in range(5, 9):
        desk.store(out).put(held(f"00000000{number}", b"%d" % number), b"%d" % number)
    odd = held("000000009", b"odd", Reason.OPT_OUT, fields={}, url="http://[bad<b>")
    desk.store(out).put(odd, b"odd")
    desk.account(out)
    statement = desk.audit(out)
    mismatch, opt_out = statement.balances.quarantine.by_reason
    assert (mismatch.records, mismatch.by_source) == (4, (("a.example", 2), ("b.example", 2)))
    assert mismatch.keys == tuple(f"00000000{number}" for number in range(5, 9))
    assert opt_out.by_source == (("http://[bad<b>", 1),)
    schema = Path(package.__file__).with_name("schema") / "audit-1.json"
    Draft202012Validator(json.loads(schema.read_text())).validate(statement.to_json())
    text = audit_to_terminal(statement, width=120)
    assert "4: hash_mismatch: what came is not what the list promises · a.example 2, b.example 2" in text
    page = audit_to_html(statement)
    assert "<bdi>a.example</bdi> 2" in page
    assert "000000008" in page
    assert "[bad&lt;b&gt;" in page
    assert "[bad<b>" not in page
