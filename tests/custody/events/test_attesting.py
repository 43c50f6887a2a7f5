"""What `attest` works out from the seal and the books, and what it refuses to say."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from unittest import mock

import pytest

from bezoar.custody.events import building
from bezoar.custody.events.attesting import attest, read_books
from bezoar.custody.events.building import Request
from bezoar.custody.events.event import NOTHING, ScanFinding
from bezoar.custody.events.history import history
from bezoar.custody.events.query import Query
from bezoar.custody.seal.sealing import Seal, seal
from bezoar.custody.tlog.log import CustodyLog
from bezoar.errors import InputError, UsageError
from custody.audit.support import Life, log_signer, scan, signer_of

NAMES = ["a.png", "b.png", "c.png"]


@pytest.fixture
def life(tmp_path: Path) -> Life:
    """Three records that were acquired, sealed and logged."""
    made = Life(tmp_path / "life")
    made.add("acme", NAMES, "stop", 0)
    made.seal()
    made.attest("acquired", origin="https://acme.example")
    return made


def root(life: Life) -> str:
    return Seal.open(life.root / "signs.seal").root.hex()


def test_the_first_acquisition_begins_from_nothing(life: Life) -> None:
    event = next(history(life.log, "signs")).event
    assert event is not None
    assert (event.before, event.after) == (NOTHING, root(life))
    assert [record.key for record in event.records] == NAMES
    assert event.records[0].source == {"contributor": "acme", "license": "CC0-1.0"}
    assert event.origin == "https://acme.example"


def test_an_announced_movement_leads_to_the_snapshot_of_the_next_seal(life: Life) -> None:
    done = life.attest("quarantined", query="key=b.png")
    life.take_out(["b.png"])
    life.seal()
    assert done.events[0].after == root(life)
    assert life.attest("sealed").events[0].after == root(life)


def test_a_movement_attested_afterwards(life: Life) -> None:
    before = root(life)
    life.take_out(["b.png"])
    life.seal()
    done = life.attest("removed")  # without a query: what the seal no longer has
    assert (done.events[0].before, done.events[0].after) == (before, root(life))
    assert [record.key for record in done.events[0].records] == ["b.png"]


def test_several_movements_before_one_seal(life: Life) -> None:
    """A record leaves and two come; three events account for it, in any order, between the same two snapshots."""
    before = root(life)
    life.take_out(["b.png"])
    life.add("bob", ["d.png"], "yield", 100)
    life.add("carol", ["e.png"], "yield", 200)
    life.seal()
    done = [
        life.attest("acquired", query="source.contributor=carol"),
        life.attest("quarantined"),
        life.attest("acquired"),
    ]
    assert {(each.events[0].before, each.events[0].after) for each in done} == {(before, root(life))}
    assert life.attest("sealed").events[0].count == 4


def test_nothing_can_be_said_of_a_seal_that_the_books_do_not_lead_to(life: Life) -> None:
    life.add("bob", ["d.png", "e.png"], "yield", 100)
    life.seal()
    for kind in ("sealed", "reviewed", "released", "trained"):
        with pytest.raises(InputError, match="attest what was acquired"):
            life.attest(kind)
    life.attest("acquired", query="key=d.png")
    with pytest.raises(InputError, match="not all the way"):
        life.attest("sealed")
    life.attest("acquired")
    life.attest("sealed")


def test_release_returns_what_was_quarantined(life: Life) -> None:
    life.attest("quarantined", query="key=[ab].png")
    life.take_out(["a.png", "b.png"])
    life.seal()
    with pytest.raises(UsageError, match="no record in quarantine"):
        life.attest("released", query="key=c.png")
    done = life.attest("released", query="key=a.png")
    life.put_back(["a.png"])
    life.seal()
    assert done.events[0].after == root(life)
    assert set(read_books(life.log, "signs").quarantine) == {"b.png"}


def test_release_after_the_fact_must_be_true(life: Life) -> None:
    life.attest("quarantined", query="key=a.png")
    life.take_out(["a.png"])
    life.add("bob", ["d.png"], "yield", 100)
    life.seal()
    life.attest("acquired")
    life.add("bob", ["e.png"], "yield", 200)
    life.seal()
    with pytest.raises(InputError, match="put it back and seal again"):
        life.attest("released", query="key=a.png")


def test_what_is_still_sealed_has_not_left(life: Life) -> None:
    life.add("bob", ["d.png"], "yield", 100)
    life.seal()
    with pytest.raises(InputError, match="take them out and seal again"):
        life.attest("removed", query="key=a.png")


def test_removal_from_quarantine_leaves_the_dataset_as_it_is(life: Life) -> None:
    life.attest("quarantined", query="key=a.png")
    life.take_out(["a.png"])
    life.seal()
    event = life.attest("removed", query="key=a.png").events[0]
    assert event.before == event.after == root(life)
    assert set(read_books(life.log, "signs").removed) == {"a.png"}


def test_a_transformation_in_place(life: Life) -> None:
    before = root(life)
    life.rows["a.png"]["label"] = "yield"
    life.write()
    life.seal()
    event = life.attest("transformed", reason="a label was wrong").events[0]
    assert (event.before, event.after) == (before, root(life))
    assert [(leaf.key, leaf.label) for leaf in event.was] == [("a.png", "stop")]
    assert [(leaf.key, leaf.label) for leaf in event.records] == [("a.png", "yield")]


def test_a_transformation_to_another_dataset(life: Life) -> None:
    shutil.copytree(life.data, life.root / "signs-64")
    other = seal(life.root / "signs-64", signer_of("ada"), now=life.now)
    done = life.attest("transformed", to=other)
    event = done.events[0]
    assert (event.dataset, event.before, event.after) == ("signs-64", NOTHING, other.root.hex())
    assert event.derived == ("signs", root(life))
    assert len(event.records) == 3
    assert len(read_books(life.log, "signs").held) == 3  # the first dataset's books are as they were


def test_large_groups_are_several_events_of_one_step(life: Life) -> None:
    life.add("bob", [f"d{number}.png" for number in range(5)], "yield", 100)
    life.seal()
    with mock.patch.object(building, "MAX_RECORDS", 2):
        done = life.attest("acquired")
    assert [len(event.records) for event in done.events] == [2, 2, 1]
    assert done.indices == (1, 2, 3)
    assert done.records == 5
    assert life.attest("sealed").events[0].count == 8


def test_a_revocation_names_what_it_concerns_now(life: Life) -> None:
    event = life.attest("revoked", query="source.contributor=acme").events[0]
    assert event.query == "source.contributor=acme"
    assert len(event.records) == 3
    nobody = life.attest("revoked", query="source.contributor=nobody").events[0]
    assert nobody.records == ()


REFUSED = {
    "nothing new": (UsageError, "acquired", {}),
    "nothing that matches": (UsageError, "quarantined", {"query": "key=z"}),
    "nothing that left": (UsageError, "removed", {}),
    "nothing in quarantine": (UsageError, "released", {"query": "key=a.png"}),
    "nothing that differs": (UsageError, "transformed", {}),
    "a revocation of nothing in particular": (UsageError, "revoked", {}),
    "a review of nothing": (UsageError, "reviewed", {"query": "key=z"}),
    "a seal of some records": (UsageError, "sealed", {"query": "key=a.png"}),
    "a scan without its result": (UsageError, "scanned", {}),
    "a review with a scan": (UsageError, "reviewed", {"scan": scan()}),
    "an origin of a review": (UsageError, "reviewed", {"origin": "x"}),
    "a finding about a stranger": (
        InputError,
        "scanned",
        {"scan": scan(ScanFinding("x", "poison", ("z.png",)))},
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str, life: Life) -> None:
    error, kind, more = REFUSED[name]
    size = life.log.size
    with pytest.raises(error):
        life.attest(kind, **more)
    life.log.reload()
    assert life.log.size == size


def test_only_a_local_log_can_be_appended_to(life: Life) -> None:
    log = mock.Mock(location="https://example.org/log")
    request = Request("reviewed", life.now)
    with pytest.raises(UsageError, match="not a folder on this machine"):
        attest(Seal.open(life.root / "signs.seal"), request, log, [signer_of("ada")], log_signer())


def test_people_who_attest_at_once_lose_nothing_and_contradict_nobody(life: Life) -> None:
    """Four take out a record each, at the same time: every event goes on from the one before."""
    life.add("bob", ["d.png"], "yield", 100)
    life.seal()
    life.attest("acquired")

    def take(name: str) -> None:
        log = CustodyLog.open(life.root / "log")
        request = Request("quarantined", life.now, query=Query.parse(f"key={name}"))
        attest(Seal.open(life.root / "signs.seal"), request, log, [signer_of("ada")], log_signer())

    with ThreadPoolExecutor(4) as pool:
        for result in [pool.submit(take, name) for name in ("a.png", "b.png", "c.png", "d.png")]:
            result.result()
    life.log.reload()
    books = read_books(life.log, "signs")
    assert set(books.quarantine) == {"a.png", "b.png", "c.png", "d.png"}
    assert books.settle() == []
    assert books.tip == NOTHING


def test_announcements_follow_each_other_until_the_next_seal(life: Life) -> None:
    life.attest("quarantined", query="key=a.png")
    life.attest("removed", query="key=b.png")
    with pytest.raises(InputError, match="older than what the log leads to"):
        life.attest("acquired")
    life.attest("released", query="key=a.png")
    life.attest("quarantined", query="key=a.png")
    life.take_out(["a.png", "b.png"])
    life.seal()
    assert life.attest("sealed").events[0].count == 1


def test_two_signatures_on_one_event(life: Life) -> None:
    request = Request("reviewed", life.now, query=Query.parse("key=a.png"))
    signers = [signer_of("grace"), signer_of("edsger")]
    attest(Seal.open(life.root / "signs.seal"), request, life.log, signers, log_signer())
    envelope = list(history(life.log, "signs"))[-1].envelope
    assert envelope is not None
    assert [signature.keyid for signature in envelope.signatures] == [signer.keyid for signer in signers]


def test_an_entry_that_says_something_else_than_its_event_is_unreadable(life: Life) -> None:
    from bezoar.custody.events.entry import EventEntry

    entry = EventEntry.parse(next(iter(life.log.entries())).data)
    for change in ({"kind": "removed"}, {"records": 2}, {"snapshot": "1" * 64}):
        forged = replace(entry, **change)
        life.log.append([(forged.to_bytes(), {})], log_signer())
        last = list(history(life.log, "signs"))[-1]
        assert last.event is None
        assert "something else than the statement" in last.problem


def test_entries_of_other_datasets_and_things_are_passed_over(life: Life) -> None:
    life.log.append([(b'{"hello":"world"}', {}), (b"{}", {})], log_signer())
    assert [logged.index for logged in history(life.log, "signs")] == [0]
    assert list(history(life.log, "other")) == []


@pytest.mark.parametrize("kind", ["reviewed", "quarantined"])
def test_nothing_is_accounted_for_on_books_that_cannot_be_read(life: Life, kind: str) -> None:
    life.attest("reviewed", "grace")
    size = life.log.size
    lost = next(iter(life.log.entries()))
    shutil.rmtree(life.root / "log" / "objects")
    with pytest.raises(InputError, match=rf"without every event; entry {lost.index}: .*missing"):
        life.attest(kind, query="key=a.png")
    life.log.reload()
    assert life.log.size == size
