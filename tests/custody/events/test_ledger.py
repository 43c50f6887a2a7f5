"""The books: whatever happens to records, the balance foots and the roots are those of the snapshot tree."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bezoar.custody.audit.balances import balances
from bezoar.custody.events import building
from bezoar.custody.events.building import split
from bezoar.custody.events.event import NOTHING, Event
from bezoar.custody.events.ledger import Holding, Ledger, root_of
from bezoar.custody.seal.leaves import Leaf
from bezoar.custody.tlog.merkle import MemoryTree, leaf_hash

TIME = datetime(2026, 11, 25, tzinfo=UTC)
OTHER = "9" * 64


def record(number: int, label: str = "a", source: str = "s") -> Leaf:
    return Leaf(f"k{number:03d}", label, bytes([number]) * 32, number, {"column": source})


def books() -> Ledger:
    return Ledger(lambda holding: holding.leaf.source["column"])


class Writer:
    """Writes events that continue from each other, with the roots that are right."""

    def __init__(self) -> None:
        self.ledger, self.model = books(), dict[str, Leaf]()

    def move(self, kind: str, records: tuple[Leaf, ...], was: tuple[Leaf, ...] = ()) -> list[str]:
        before = self._root()
        for each in was if kind == "transformed" else records:
            self.model.pop(each.key, None)
        if kind in ("acquired", "released", "transformed"):
            self.model.update({each.key: each for each in records})
        event = Event(kind, "d", before, self._root(), TIME, records=records, was=was)
        return [problem.code for problem in self.ledger.apply(event)]

    def _root(self) -> str:
        return root_of(Holding(each, None) for each in self.model.values())


def test_the_root_is_that_of_the_snapshot_tree_in_code_point_order() -> None:
    names = ["b", "a", "\U00010000", "\uffff", "Z"]
    leaves = [Leaf(name, None, b"\1" * 32, 1, {}) for name in names]
    tree = MemoryTree()
    for name in sorted(names):
        text = f'{{"key":"{name}","label":null,"sha256":"{"01" * 32}","size":1,"source":{{}}}}'
        tree.append(leaf_hash(text.encode()))
    assert root_of(Holding(each, None) for each in leaves) == tree.root().hex()
    assert root_of([]) == NOTHING


steps = st.lists(
    st.tuples(
        st.sampled_from(
            ["acquired", "quarantined", "released", "removed", "relabelled", "empty the quarantine"]
        ),
        st.sets(st.integers(0, 30), min_size=1, max_size=8),
        st.sampled_from(["a", "b", "c"]),
    ),
    max_size=25,
)


@given(steps, st.integers(0, 25))
def test_any_life_of_real_movements_foots(life: list[tuple[str, set[int], str]], period: int) -> None:
    writer = Writer()
    ledger = writer.ledger
    for place, (what, numbers, label) in enumerate(life):
        if place == period:
            assert ledger.settle() == []
            ledger.open_period()
        there = [ledger.held[key].leaf for key in sorted(ledger.held) if int(key[1:]) in numbers]
        aside = [ledger.quarantine[key].leaf for key in sorted(ledger.quarantine) if int(key[1:]) in numbers]
        new = [
            record(number, label, label.upper())
            for number in sorted(numbers)
            if not {f"k{number:03d}"} & (set(ledger.held) | set(ledger.quarantine) | set(ledger.removed))
        ]
        chosen = {"acquired": new, "released": aside, "empty the quarantine": aside}.get(what, there)
        if not chosen:
            continue
        if what == "relabelled":
            now = tuple(Leaf(each.key, label + "!", each.sha256, each.size, each.source) for each in chosen)
            if any(one == two for one, two in zip(now, chosen, strict=True)):
                continue
            problems = writer.move("transformed", now, tuple(chosen))
        else:
            problems = writer.move("removed" if what.startswith("empty") else what, tuple(chosen))
        assert problems == []
    assert ledger.settle() == []
    assert ledger.root() == ledger.tip
    assert set(ledger.held) == set(writer.model)
    foot(ledger)


def foot(ledger: Ledger) -> None:
    """Opening plus and minus the movements is what is held, in every cell and in all."""
    held = ledger.count(ledger.held.values())
    tables = balances(ledger, held)
    for rows, part in ((tables.by_source, 0), (tables.by_class, 1)):
        there: Counter[str] = Counter()
        for cell, number in held.items():
            there[str(cell[part])] += number
        assert {row.name: row.closing for row in rows if row.closing} == dict(there)
        assert all(row.difference == 0 for row in rows)
    assert tables.total.closing == len(ledger.held)
    assert tables.quarantine.closing == len(ledger.quarantine)


def test_several_events_of_one_step() -> None:
    """Three sources that came before one sealing: each event names the same snapshots."""
    ledger = books()
    both = [record(1), record(2)]
    after = root_of(Holding(each, None) for each in both)
    for each in both:
        assert ledger.apply(Event("acquired", "d", NOTHING, after, TIME, records=(each,))) == []
        assert ledger.complete() is (each is both[1])
    assert ledger.settle() == []


def test_a_step_that_does_not_lead_where_it_says() -> None:
    ledger = books()
    ledger.apply(Event("acquired", "d", NOTHING, OTHER, TIME, records=(record(1),)))
    assert [problem.code for problem in ledger.settle()] == ["snapshot-mismatch"]
    # said once; the books go on from what the event says
    again = Event("acquired", "d", OTHER, "8" * 64, TIME, records=(record(2),))
    assert ledger.apply(again) == []
    assert ledger.settle() == []


IMPOSSIBLE = {
    "acquired twice": ("acquired", [record(1)], [], "acquired-twice"),
    "acquired from quarantine": ("acquired", [record(2)], [], "acquired-twice"),
    "quarantined from nowhere": ("quarantined", [record(9)], [], "not-held"),
    "quarantined twice": ("quarantined", [record(2)], [], "not-held"),
    "quarantined as another": ("quarantined", [record(1, "z")], [], "other-record"),
    "released from nowhere": ("released", [record(9)], [], "not-held"),
    "released although held": ("released", [record(1)], [], "not-held"),
    "released as another": ("released", [record(2, "z")], [], "other-record"),
    "removed from nowhere": ("removed", [record(9)], [], "not-held"),
    "removed twice": ("removed", [record(3)], [], "not-held"),
    "removed as another": ("removed", [record(1, "z")], [], "other-record"),
    "acquired after removal": ("acquired", [record(3)], [], "removed-returned"),
    "transformed from nowhere": ("transformed", [record(9, "z")], [record(9)], "not-held"),
    "transformed as another": ("transformed", [record(1, "z")], [record(1, "y")], "other-record"),
    "made what is there": ("transformed", [record(1)], [], "acquired-twice"),
    "made what is in quarantine": ("transformed", [record(2)], [record(1)], "acquired-twice"),
}


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_what_cannot_be(name: str) -> None:
    kind, records, was, code = IMPOSSIBLE[name]
    writer = Writer()
    writer.move("acquired", (record(1), record(2), record(3)))
    writer.move("quarantined", (record(2),))
    writer.move("removed", (record(3),))
    assert code in writer.move(kind, tuple(records), tuple(was))
    foot(writer.ledger)  # whatever it says, what is booked adds up


def test_a_removed_record_may_come_back_with_other_content() -> None:
    writer = Writer()
    writer.move("acquired", (record(1),))
    writer.move("removed", (record(1),))
    assert writer.move("acquired", (Leaf("k001", "a", b"\7" * 32, 1, {"column": "s"}),)) == []


def test_looks_at_another_snapshot_do_not_stop_the_books() -> None:
    writer = Writer()
    writer.move("acquired", (record(1),))
    review = Event("reviewed", "d", OTHER, OTHER, TIME)
    assert [problem.code for problem in writer.ledger.apply(review)] == ["other-snapshot"]
    assert writer.move("acquired", (record(2),)) == []
    assert writer.ledger.settle() == []


def test_origin_and_derivation() -> None:
    ledger = Ledger(lambda holding: holding.origin or "?")
    ledger.apply(Event("acquired", "d", NOTHING, OTHER, TIME, records=(record(1),), origin="acme"))
    ledger.apply(
        Event("transformed", "d", OTHER, "8" * 64, TIME, records=(record(1, "z"),), was=(record(1),))
    )
    assert ledger.held["k001"].origin == "acme"
    other = Ledger(lambda holding: holding.origin or "?")
    other.apply(
        Event("transformed", "e", NOTHING, OTHER, TIME, records=(record(1),), derived=("d", "8" * 64))
    )
    assert other.held["k001"].origin == "d@" + "8" * 16


def image(key: str, content: int, label: str = "a") -> Leaf:
    return Leaf(key, label, bytes([content]) * 32, content, {"column": "s"})


def came(writer: Writer, origin: str, *records: Leaf) -> None:
    """Records are acquired from an origin."""
    writer.model.update({each.key: each for each in records})
    after = root_of(Holding(each) for each in writer.model.values())
    event = Event("acquired", "d", writer.ledger.snapshot, after, TIME, records=records, origin=origin)
    assert writer.ledger.apply(event) == []


def origins(writer: Writer, key: str) -> set[str]:
    return set(writer.ledger.held[key].provenance.origins)


def test_a_transformation_does_not_bring_back_what_was_removed() -> None:
    writer = Writer()
    writer.move("acquired", (record(1), record(2)))
    writer.move("removed", (record(1),))
    assert writer.move("transformed", (record(1), record(2, "b")), (record(2),)) == ["removed-returned"]


@pytest.mark.parametrize("was", [(), (record(1),)])
def test_a_transformation_makes_nothing_from_nothing(was: tuple[Leaf, ...]) -> None:
    writer = Writer()
    writer.move("acquired", (record(1), record(2)))
    relabelled = tuple(record(1, "b") for _ in was)
    assert (
        writer.move("transformed", (*relabelled, record(9)), was) == []
    )  # the next event may tell what it replaces
    problems = writer.ledger.settle()
    assert [(each.code, each.keys) for each in problems] == [("made-from-nothing", ("k009",))]


def test_what_is_said_to_come_from_the_dataset_itself_comes_from_nothing() -> None:
    """Of another dataset it is believed, for there nothing is replaced."""
    writer = Writer()
    writer.move("acquired", (record(1), record(2)))
    before = writer.ledger.snapshot
    after = root_of(Holding(each) for each in (record(1), record(2), record(9)))
    for name, codes in (("other", []), ("d", ["made-from-nothing"])):
        ledger = books()
        ledger.apply(Event("acquired", "d", NOTHING, before, TIME, records=(record(1), record(2))))
        event = Event("transformed", "d", before, after, TIME, records=(record(9),), derived=(name, before))
        assert ledger.apply(event) == []
        assert [problem.code for problem in ledger.settle()] == codes


def test_what_is_made_of_a_record_that_is_gone_has_a_predecessor() -> None:
    """One photo is cut into three; and a photo is converted, which changes content and name."""
    writer = Writer()
    writer.move("acquired", (image("photo.jpg", 1), image("other.jpg", 2)))
    crops = tuple(image(f"photo_{number}.jpg", 10 + number) for number in range(3))
    writer.move("transformed", crops, (image("photo.jpg", 1),))
    writer.move("transformed", (image("other.png", 20),), (image("other.jpg", 2),))
    assert writer.ledger.settle() == []


def test_a_renamed_record_keeps_its_origin() -> None:
    writer = Writer()
    came(writer, "acme", image("Yield/1", 1))
    came(writer, "bob", image("Yield/2", 2))
    was = (image("Yield/1", 1), image("Yield/2", 2))
    writer.move("transformed", (image("Stop/x", 1, "b"), image("Stop/y", 2, "b")), was)
    assert (origins(writer, "Stop/x"), origins(writer, "Stop/y")) == ({"acme"}, {"bob"})
    assert writer.ledger.held["Stop/x"].origin == "acme"


def test_contents_that_change_places_keep_their_origins() -> None:
    writer = Writer()
    came(writer, "acme", image("row1", 1))
    came(writer, "bob", image("row2", 2))
    writer.move("transformed", (image("row1", 2), image("row2", 1)), (image("row1", 1), image("row2", 2)))
    assert (origins(writer, "row1"), origins(writer, "row2")) == ({"bob"}, {"acme"})


@pytest.mark.parametrize("new_first", [True, False])
def test_a_renaming_that_two_events_tell_of(new_first: bool) -> None:
    writer = Writer()
    came(writer, "acme", image("a", 1))
    came(writer, "bob", image("b", 2))
    before, after = writer.ledger.snapshot, root_of([Holding(image("z", 1)), Holding(image("y", 9))])
    events = [
        Event("transformed", "d", before, after, TIME, records=(image("z", 1), image("y", 9))),
        Event("transformed", "d", before, after, TIME, was=(image("a", 1), image("b", 2))),
    ]
    for event in events if new_first else reversed(events):
        assert writer.ledger.apply(event) == []
    assert writer.ledger.settle() == []
    assert origins(writer, "z") == {"acme"}  # by its content
    assert origins(writer, "y") == {"acme", "bob"}  # one of them, nobody can know which


def test_a_renaming_is_told_by_one_event_though_the_keys_lie_apart() -> None:
    first = Event("transformed", "d", NOTHING, OTHER, TIME)
    with mock.patch.object(building, "MAX_RECORDS", 4):
        parts = split(
            first,
            [image(f"new{number}", number) for number in range(6)],
            [image(f"old{number}", number) for number in range(6)],
        )
    assert [{leaf.sha256 for leaf in part.was} for part in parts] == [
        {leaf.sha256 for leaf in part.records} for part in parts
    ]
