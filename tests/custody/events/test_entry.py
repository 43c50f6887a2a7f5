"""The log's entries for events: one spelling, one error."""

from __future__ import annotations

import json
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from bezoar.custody.events.entry import EventEntry, dataset_of
from bezoar.custody.events.event import KINDS
from bezoar.custody.events.times import parse_time, time_text
from bezoar.errors import InputError, UsageError
from custody.events.samples import ONE, TIME, TWO
from custody.fuzzing import fuzz

ENTRY = EventEntry("signs", "acquired", ONE, 3, TWO, TIME)


def test_the_bytes() -> None:
    assert ENTRY.to_bytes() == (
        b'{"dataset":"signs","kind":"acquired","object":"sha256:' + ONE.encode() + b'","records":3,"snapshot":"'
        + TWO.encode() + b'","time":"2026-11-25T01:02:03Z","version":1}'
    )  # fmt: skip


@given(
    st.text(min_size=1, alphabet=st.characters(exclude_categories=["Cs"])),
    st.sampled_from(KINDS),
    st.none() | st.integers(0, 2**53 - 1),
    st.datetimes(),
)
def test_an_entry_comes_back(dataset: str, kind: str, records: int | None, time: Any) -> None:
    entry = EventEntry(dataset, kind, ONE, records, TWO, time.replace(microsecond=0, tzinfo=TIME.tzinfo))
    assert EventEntry.parse(entry.to_bytes()) == entry
    assert dataset_of(entry.to_bytes()) == dataset


def changed(**members: Any) -> bytes:
    value = json.loads(ENTRY.to_bytes()) | members
    return rfc8785.dumps({name: each for name, each in value.items() if each != "drop"})


BAD = {
    "empty": b"",
    "no object": b"[]",
    "blank": ENTRY.to_bytes() + b" ",
    "another order": json.dumps(json.loads(ENTRY.to_bytes()), sort_keys=True, indent=1).encode(),
    "a name twice": ENTRY.to_bytes().replace(b'"version":1', b'"time":"2026-11-25T01:02:03Z","version":1'),
    "an escape too many": ENTRY.to_bytes().replace(b"signs", b"\\u0073igns"),
    "not UTF-8": ENTRY.to_bytes().replace(b"signs", b"\xff"),
    "lone surrogate": ENTRY.to_bytes().replace(b"signs", b"\\ud800"),
    "a number too many": ENTRY.to_bytes().replace(b"3,", b"3.0,"),
    "too long": changed(dataset="x" * 70_000),
    "no version": changed(version="drop"),
    "version 2": changed(version=2),
    "version true": changed(version=True),
    "version text": changed(version="1"),
    "more": changed(colour="red"),
    "no dataset": changed(dataset="drop"),
    "empty dataset": changed(dataset=""),
    "dataset a number": changed(dataset=1),
    "unknown kind": changed(kind="eaten"),
    "kind a list": changed(kind=[]),
    "object without algorithm": changed(object=ONE),
    "object of another algorithm": changed(object="md5:" + ONE),
    "short object": changed(object="sha256:ab"),
    "object in capitals": changed(object="sha256:" + "AB" * 32),
    "object a number": changed(object=1),
    "negative count": changed(records=-1),
    "count true": changed(records=True),
    "count a text": changed(records="3"),
    "count a fraction": changed(records=1.5),
    "short snapshot": changed(snapshot="ab"),
    "snapshot null": changed(snapshot=None),
    "time without zone": changed(time="2026-11-25T01:02:03"),
    "impossible time": changed(time="2026-02-30T01:02:03Z"),
    "time null": changed(time=None),
}


@pytest.mark.parametrize("name", BAD)
def test_malformed(name: str) -> None:
    with pytest.raises(InputError):
        EventEntry.parse(BAD[name])


@pytest.mark.parametrize("data", [b"", b"[]", b'{"dataset":1}', b"\xff", b"{}"])
def test_entries_of_other_things_are_about_no_dataset(data: bytes) -> None:
    assert dataset_of(data) is None


def test_fuzz_entries() -> None:
    fuzz(EventEntry.parse, [ENTRY.to_bytes()], back=EventEntry.to_bytes)


def test_times() -> None:
    assert parse_time(time_text(TIME), "time") == TIME
    with pytest.raises(UsageError):
        time_text(TIME.replace(tzinfo=None))
