"""Events as in-toto Statements: what the standards ask, one spelling, and one error for everything else."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from importlib.resources import files
from typing import Any

import jsonschema
import pytest

import bezoar.custody.events
from bezoar.custody.events.event import KINDS, MAX_RECORDS, Event, Scan, ScanFinding
from bezoar.custody.events.predicates import CUSTODY_EVENT, block, predicate_type
from bezoar.custody.events.statements import event_of, statement_of
from bezoar.custody.seal.leaves import Leaf
from bezoar.custody.signing.statement import Statement
from bezoar.errors import InputError, UsageError
from custody.events.samples import EVENTS, HOSTILE, ONE, PARTS, STOP, TIME, TWO
from custody.fuzzing import fuzz

SCHEMA = json.loads(files(bezoar.custody.events).joinpath("schema/custody-event-1.json").read_text())


def read(data: bytes) -> Event:
    return event_of(Statement.parse(data))


@pytest.mark.parametrize("name", EVENTS)
def test_an_event_comes_back_as_it_was(name: str) -> None:
    event = EVENTS[name]
    data = statement_of(event).to_bytes()
    assert read(data) == event
    assert statement_of(read(data)).to_bytes() == data
    jsonschema.Draft202012Validator(SCHEMA).validate(block(event))


def test_every_kind_has_a_sample_and_is_in_the_schema() -> None:
    assert {event.kind for event in EVENTS.values()} == set(KINDS)
    assert SCHEMA["properties"]["kind"]["enum"] == list(KINDS)
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def document(name: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(statement_of(EVENTS[name]).to_bytes())
    return value


def test_subjects_are_the_records_and_last_the_snapshot() -> None:
    subjects = document("quarantined")["subject"]
    assert subjects == [
        {"name": "a/b.png", "digest": {"sha256": "01" * 32}},
        {"name": "signs", "digest": {"bezoarSnapshot": TWO}},
    ]


def test_a_review_is_a_simple_verification_result() -> None:
    found = document("reviewed records")
    assert found["predicateType"] == "https://in-toto.io/attestation/svr/v0.2"
    assert found["predicate"]["timeCreated"] == "2026-11-25T01:02:03Z"
    assert found["predicate"]["properties"] == ["BEZOAR_REVIEWED"]
    assert found["predicate"]["verifier"]["id"].startswith("urn:bezoar:")


@pytest.mark.parametrize(
    ("scan", "result"),
    [
        (Scan("clean", ONE), "PASSED"),
        (Scan("undecided", ONE), "WARNED"),
        (Scan("clean", ONE, (ScanFinding("x", "review", ("a",)),)), "WARNED"),
        (Scan("poisoned", ONE, (ScanFinding("x", "poison", ("a",)),)), "FAILED"),
    ],
)
def test_a_scan_is_a_test_result(scan: Scan, result: str) -> None:
    found = json.loads(statement_of(replace(EVENTS["scanned"], scan=scan)).to_bytes())
    assert found["predicateType"] == "https://in-toto.io/attestation/test-result/v0.1"
    assert found["predicate"]["result"] == result
    assert found["predicate"]["configuration"] == [{"name": "result.json", "digest": {"sha256": ONE}}]
    failed = [each.title for each in scan.findings if each.severity == "poison"]
    assert found["predicate"]["failedTests"] == failed


def test_a_transformation_is_a_slsa_provenance() -> None:
    found = document("transformed")
    assert found["predicateType"] == "https://slsa.dev/provenance/v1"
    definition, run = found["predicate"]["buildDefinition"], found["predicate"]["runDetails"]
    assert definition["buildType"] == "urn:bezoar:transformation:v1"
    assert definition["externalParameters"] == {"reason": "resized"}
    assert definition["resolvedDependencies"][0] == {"name": "signs", "digest": {"bezoarSnapshot": ONE}}
    assert run["builder"]["id"].startswith("urn:bezoar:")
    other = document("derived")["predicate"]["buildDefinition"]["resolvedDependencies"]
    assert other == [{"name": "signs", "digest": {"bezoarSnapshot": ONE}}]


def test_a_seal_is_a_reference_to_its_parts() -> None:
    found = document("sealed")
    assert found["predicateType"] == "https://in-toto.io/attestation/reference/v0.1"
    for reference in found["predicate"]["references"]:
        assert set(reference) == {"digest", "downloadLocation", "mediaType"}


def test_the_others_are_of_our_own_type() -> None:
    for kind in ("acquired", "quarantined", "removed", "released", "revoked", "trained"):
        assert predicate_type(kind) == CUSTODY_EVENT
        assert document(kind)["predicateType"] == CUSTODY_EVENT


Change = Callable[[dict[str, Any]], Any]


def put(*path: Any) -> Change:
    """Set the value at a path (its last item) in the document."""
    *steps, last, value = path

    def change(document: dict[str, Any]) -> None:
        place: Any = document
        for step in steps:
            place = place[step]
        place[last] = value

    return change


def drop(*path: Any) -> Change:
    *steps, last = path

    def change(document: dict[str, Any]) -> None:
        place: Any = document
        for step in steps:
            place = place[step]
        del place[last]

    return change


def twice(document: dict[str, Any]) -> None:
    """The same record a second time, with its subject."""
    document["subject"].insert(0, document["subject"][0])
    document["predicate"]["records"].append(document["predicate"]["records"][0])


P, B = "predicate", CUSTODY_EVENT
RECORD = (P, "records", 0)
BAD: dict[str, tuple[str, Change]] = {
    "unknown kind": ("quarantined", put(P, "kind", "eaten")),
    "kind a number": ("quarantined", put(P, "kind", 1)),
    "no kind": ("quarantined", drop(P, "kind")),
    "another kind": ("quarantined", put(P, "kind", "reviewed")),
    "another predicate type": ("quarantined", put("predicateType", "https://in-toto.io/attestation/svr/v0.2")),
    "unknown predicate type": ("reviewed", put("predicateType", "https://example.org/x")),
    "no custody block": ("reviewed", drop(P, B)),
    "custody block a text": ("reviewed", put(P, B, "x")),
    "unknown member": ("quarantined", put(P, "colour", "red")),
    "unknown member of a block": ("reviewed", put(P, B, "colour", "red")),
    "unknown member of a standard predicate": ("reviewed", put(P, "colour", "red")),
    "no time": ("quarantined", drop(P, "time")),
    "time of day only": ("quarantined", put(P, "time", "01:02:03")),
    "time with a zone": ("quarantined", put(P, "time", "2026-11-25T01:02:03+00:00")),
    "time with fractions": ("quarantined", put(P, "time", "2026-11-25T01:02:03.5Z")),
    "impossible time": ("quarantined", put(P, "time", "2026-13-25T01:02:03Z")),
    "time in other digits": ("quarantined", put(P, "time", "٢026-11-25T01:02:03Z")),
    "time a number": ("quarantined", put(P, "time", 1)),
    "no snapshot before": ("quarantined", drop(P, "before")),
    "no snapshot after": ("quarantined", drop(P, "after")),
    "short snapshot": ("quarantined", put(P, "before", "ab")),
    "snapshot in capitals": ("quarantined", put(P, "before", "AB" * 32)),
    "snapshot null": ("quarantined", put(P, "before", None)),
    "movement without change": ("quarantined", put(P, "before", TWO)),
    "evidence with change": ("released", put(P, "before", TWO)),
    "movement without records": ("quarantined", drop(P, "records")),
    "another snapshot in the subject": ("quarantined", put("subject", 1, "digest", {"bezoarSnapshot": ONE})),
    "a second digest of the snapshot": ("quarantined", put("subject", 1, "digest", "sha256", ONE)),
    "no dataset": ("quarantined", put("subject", 1, "name", "")),
    "subject without its record": ("quarantined", put(P, "records", [])),
    "record without its subject": ("quarantined", drop("subject", 0)),
    "record of another key": ("quarantined", put(*RECORD, "key", "other")),
    "subject of another name": ("quarantined", put("subject", 0, "name", "other")),
    "subject without sha256": ("quarantined", put("subject", 0, "digest", {"sha512": "ab" * 64})),
    "subject with two digests": ("quarantined", put("subject", 0, "digest", "sha512", "ab" * 64)),
    "records an object": ("quarantined", put(P, "records", {})),
    "record a text": ("quarantined", put(*RECORD, "x")),
    "record without label": ("quarantined", drop(*RECORD, "label")),
    "record with more": ("quarantined", put(*RECORD, "sha256", ONE)),
    "label a number": ("quarantined", put(*RECORD, "label", 7)),
    "key null": ("quarantined", put(*RECORD, "key", None)),
    "size a text": ("quarantined", put(*RECORD, "size", "1")),
    "size true": ("quarantined", put(*RECORD, "size", True)),
    "size negative": ("quarantined", put(*RECORD, "size", -1)),
    "size a fraction": ("quarantined", put(*RECORD, "size", 120.5)),
    "source a list": ("quarantined", put(*RECORD, "source", [])),
    "source of numbers": ("quarantined", put(*RECORD, "source", {"a": 1})),
    "source null": ("quarantined", put(*RECORD, "source", {"a": None})),
    "reason a number": ("released", put(P, "reason", 1)),
    "empty reason": ("released", put(P, "reason", "")),
    "long reason": ("released", put(P, "reason", "x" * 10_001)),
    "origin of a release": ("released", put(P, "origin", "x")),
    "query of a release": ("released", put(P, "query", "key=*")),
    "count of a release": ("released", put(P, "count", 1)),
    "what was before a quarantine": ("quarantined", put(P, "was", [])),
    "revocation without query": ("revoked", drop(P, "query")),
    "malformed query": ("revoked", put(P, "query", "colour=red")),
    "query a list": ("revoked", put(P, "query", [])),
    "seal without count": ("sealed", drop(P, B, "count")),
    "seal with count true": ("sealed", put(P, B, "count", True)),
    "seal with a negative count": ("sealed", put(P, B, "count", -1)),
    "seal without parts": ("sealed", drop(P, B, "parts")),
    "part with more": ("sealed", put(P, B, "parts", 0, "x", 1)),
    "part without digest": ("sealed", drop(P, B, "parts", 0, "sha256")),
    "part with a number": ("sealed", put(P, B, "parts", 0, "name", 1)),
    "reference to something else": ("sealed", put(P, "references", 0, "digest", "sha256", TWO)),
    "scan without scan": ("scanned", drop(P, B, "scan")),
    "scan a list": ("scanned", put(P, B, "scan", [])),
    "unknown status": ("scanned", put(P, B, "scan", "status", "fine")),
    "finding without keys": ("scanned", put(P, B, "scan", "findings", 0, "keys", [])),
    "finding of numbers": ("scanned", put(P, B, "scan", "findings", 0, "keys", [1])),
    "unknown severity": ("scanned", put(P, B, "scan", "findings", 0, "severity", "mild")),
    "finding with more": ("scanned", put(P, B, "scan", "findings", 0, "x", 1)),
    "a failed scan that says that it passed": ("scanned", put(P, "result", "PASSED")),
    "a finding that the standard's member hides": ("scanned", put(P, "failedTests", [])),
    "another time in the standard's member": ("reviewed", put(P, "timeCreated", "2020-01-01T00:00:00Z")),
    "another dependency": ("transformed", put(P, "buildDefinition", "resolvedDependencies", [])),
    "derived from a text": ("derived", put(P, B, "derivedFrom", "signs")),
    "derived without snapshot": ("derived", drop(P, B, "derivedFrom", "snapshot")),
    "was with a short digest": ("transformed", put(P, B, "was", 0, "sha256", "ab")),
    "was a text": ("transformed", put(P, B, "was", 0, "x")),
    "was twice": ("transformed", lambda d: d[P][B]["was"].append(d[P][B]["was"][0])),
    "a record twice": ("quarantined", twice),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_malformed(name: str) -> None:
    kind, change = BAD[name]
    broken = copy.deepcopy(document(kind))
    change(broken)
    with pytest.raises(InputError) as raised:
        read(json.dumps(broken).encode())
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "event",
    [
        replace(EVENTS["quarantined"], records=()),
        replace(EVENTS["quarantined"], after=ONE),
        replace(EVENTS["sealed"], parts=()),
        replace(EVENTS["reviewed"], origin="x"),
        replace(EVENTS["reviewed"], parts=PARTS),
        replace(EVENTS["reviewed"], dataset=""),
        replace(EVENTS["quarantined"], records=(STOP, STOP)),
        replace(
            EVENTS["quarantined"],
            records=tuple(Leaf(str(n), None, b"\0" * 32, 0, {}) for n in range(MAX_RECORDS + 1)),
        ),
        replace(EVENTS["trained"], reason="x" * 10_001),
        replace(EVENTS["trained"], time=TIME.replace(tzinfo=None)),
    ],
)
def test_what_is_no_event_is_not_written(event: Event) -> None:
    with pytest.raises(UsageError):
        statement_of(event)


def test_hostile_texts_survive_and_stay_text() -> None:
    event = read(statement_of(EVENTS["acquired"]).to_bytes())
    assert event.records[1].label == HOSTILE
    assert event.origin == HOSTILE


def test_fuzz_events() -> None:
    fuzz(read, [statement_of(event).to_bytes() for event in EVENTS.values()])
