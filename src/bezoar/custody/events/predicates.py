"""The predicate of each kind of event: those of in-toto and SLSA where one fits, else our own.

| kind | predicate type |
|---|---|
| reviewed | Simple Verification Result, https://in-toto.io/attestation/svr/v0.2 |
| scanned | Test Result, https://in-toto.io/attestation/test-result/v0.1 |
| transformed | SLSA Provenance, https://slsa.dev/provenance/v1 |
| sealed | Reference, https://in-toto.io/attestation/reference/v0.1 |
| audited | the auditor's statement, urn:bezoar:audit-statement:v1 |
| all others | urn:bezoar:custody-event:v1 |

The custody block (schema/custody-event-1.json) is the predicate of our own type, and in the others a member that is named by that
type, as in-toto's rules for extensions ask: other tools read the standard members and pass over it.
"""

from __future__ import annotations

from typing import Any

from bezoar.custody.events.event import (
    AUDITED,
    FAILED,
    REVIEWED,
    SCANNED,
    SEALED,
    TRANSFORMED,
    Event,
    ScanFinding,
)
from bezoar.custody.events.times import time_text
from bezoar.custody.seal.leaves import Leaf

CUSTODY_EVENT = "urn:bezoar:custody-event:v1"
AUDIT_STATEMENT = "urn:bezoar:audit-statement:v1"
PREDICATE_TYPES = {
    REVIEWED: "https://in-toto.io/attestation/svr/v0.2",
    SCANNED: "https://in-toto.io/attestation/test-result/v0.1",
    TRANSFORMED: "https://slsa.dev/provenance/v1",
    SEALED: "https://in-toto.io/attestation/reference/v0.1",
    AUDITED: AUDIT_STATEMENT,
}
REVIEW_PROPERTY = "BEZOAR_REVIEWED"
_TOOL = "urn:bezoar:tool:v1"
_TRANSFORMATION = "urn:bezoar:transformation:v1"


def predicate_type(kind: str) -> str:
    """The predicate type of a kind of event."""
    return PREDICATE_TYPES.get(kind, CUSTODY_EVENT)


def predicate(event: Event) -> dict[str, Any]:
    """The predicate that says what `event` says, JSON types only."""
    custody = block(event)
    if predicate_type(event.kind) == CUSTODY_EVENT:
        return custody
    return {**_standard(event), CUSTODY_EVENT: custody}


def block(event: Event) -> dict[str, Any]:
    """The custody block; members that say nothing are left out."""
    members = {
        "after": event.after,
        "before": event.before,
        "count": event.count,
        "derivedFrom": {"dataset": event.derived[0], "snapshot": event.derived[1]} if event.derived else None,
        "kind": event.kind,
        "origin": event.origin,
        "parts": [
            {"mediaType": part.media_type, "name": part.name, "sha256": part.sha256} for part in event.parts
        ],
        "query": event.query,
        "reason": event.reason or None,
        "records": [_record(leaf) for leaf in event.records],
        "scan": _scan(event),
        "time": time_text(event.time),
        "was": [{**_record(leaf), "sha256": leaf.sha256.hex()} for leaf in event.was],
    }
    return {name: value for name, value in members.items() if value is not None and value != []}


def _record(leaf: Leaf) -> dict[str, Any]:
    """What a subject, a name and a digest, leaves out of a record."""
    return {"key": leaf.key, "label": leaf.label, "size": leaf.size, "source": dict(leaf.source)}


def _scan(event: Event) -> dict[str, Any] | None:
    if event.scan is None:
        return None
    findings = [
        {"keys": list(found.keys), "severity": found.severity, "title": found.title}
        for found in event.scan.findings
    ]
    return {"findings": findings, "result": event.scan.result, "status": event.scan.status}


def _standard(event: Event) -> dict[str, Any]:
    """The members that the standard asks for."""
    if event.kind == REVIEWED:
        return {
            "properties": [REVIEW_PROPERTY],
            "timeCreated": time_text(event.time),
            "verifier": {"id": _TOOL},
        }
    if event.kind == SCANNED:
        return _test_result(event)
    if event.kind == TRANSFORMED:
        return _provenance(event)
    if event.kind == SEALED:
        return {
            "attester": {"id": _TOOL},
            "references": [
                {
                    "digest": {"sha256": part.sha256},
                    "downloadLocation": part.name,
                    "mediaType": part.media_type,
                }
                for part in event.parts
            ],
        }
    return dict(event.statement or {})


def _test_result(event: Event) -> dict[str, Any]:
    scan = event.scan
    findings: tuple[ScanFinding, ...] = scan.findings if scan else ()
    return {
        "configuration": [{"digest": {"sha256": scan.result if scan else ""}, "name": "result.json"}],
        "failedTests": [found.title for found in findings if found.severity == "poison"],
        "passedTests": [],
        "result": scan.outcome if scan else FAILED,
        "warnedTests": [found.title for found in findings if found.severity != "poison"],
    }


def _provenance(event: Event) -> dict[str, Any]:
    name, snapshot = event.derived or (event.dataset, event.before)
    before = {"digest": {"bezoarSnapshot": snapshot}, "name": name}
    replaced = [{"digest": {"sha256": leaf.sha256.hex()}, "name": leaf.key} for leaf in event.was]
    return {
        "buildDefinition": {
            "buildType": _TRANSFORMATION,
            "externalParameters": {"reason": event.reason},
            "resolvedDependencies": [before, *replaced],
        },
        "runDetails": {
            "builder": {"id": _TOOL},
            "metadata": {"finishedOn": time_text(event.time)},
        },
    }
