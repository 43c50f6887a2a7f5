"""A scan as SARIF 2.1.0 (OASIS Standard, 27 March 2020), for code scanning services, IDEs and other viewers.

One result per finding and one location per record: all of a finding's records would have to change to settle it (§3.27.12).
Severities are levels: poison is an error, review a warning, natural a note; `kind` is then "fail" for all (§3.27.9 wants
that of every result with a level). Keys, labels and titles come from the dataset, so they are hostile: URIs are percent-encoded
and never lead out of the dataset's folder, and messages contain nothing that a viewer would take for a link or a placeholder.
"""

from __future__ import annotations

import os
import re
from glob import has_magic
from pathlib import Path, PurePosixPath

import numpy as np

from bezoar.files import plain
from bezoar.report.json import to_json
from bezoar.report.rules import Rule, rule
from bezoar.report.sarif_parts import Json, descriptor, digest, driver, encoded, log, message
from bezoar.report.text import count, shown
from bezoar.scan.result import Finding, ScanResult, Severity, Unreadable

MAX_LOCATIONS = 1_000  # of one finding; also of unreadable records
BASE = "DATASET"

_LEVEL = {Severity.POISON: "error", Severity.REVIEW: "warning", Severity.NATURAL: "note"}
_RANK = {Severity.POISON: 100.0, Severity.REVIEW: 50.0, Severity.NATURAL: 10.0}
_UNREADABLE = {
    "id": "unreadable-record",
    "shortDescription": {"text": "A record could not be decoded and so could not be judged"},
    "defaultConfiguration": {"level": "warning"},
}


def to_sarif(result: ScanResult) -> Json:
    """The scan as a SARIF log with one run; JSON types only, all text well-formed Unicode."""
    rules: dict[str, Rule] = {}
    for finding in result.findings:
        rules.setdefault(finding.kind, rule(finding.kind, finding.severity))
    index = {kind: place for place, kind in enumerate(rules)}
    places = _Places(result)
    run = {
        "tool": {
            "driver": driver(
                result.version,
                [descriptor(r.kind, r.short, r.full, r.help, _LEVEL[r.severity]) for r in rules.values()],
                [_UNREADABLE],
            )
        },
        "automationDetails": {"id": f"bezoar-scan/{encoded(PurePosixPath(result.path).name)}/"},
        "invocations": [
            {
                "executionSuccessful": True,
                "toolExecutionNotifications": _notifications(result.unreadable, places),
            }
        ],
        "originalUriBaseIds": {BASE: {"uri": places.base}},
        "results": [
            _result(finding, index[finding.kind], number, result, places)
            for number, finding in enumerate(result.findings)
        ],
        "properties": _properties(result),
    }
    return log(plain(run))


class _Places:
    """Where records lie: files below a folder, or rows in a container (a file, or a folder or glob of shards)."""

    def __init__(self, result: ScanResult) -> None:
        self._keys, self._labels = result.scores["key"], result.scores["label"]
        self._one_file_each = result.format == "folder"
        path = Path(os.path.abspath(result.path.replace("\0", "\ufffd")))  # without `..`
        while has_magic(str(path)) and not path.exists() and path != path.parent:
            path = path.parent
        folder = path if self._one_file_each else path.parent
        self.base = f"file://{encoded(folder.as_posix(), '/').rstrip('/')}/"
        self._container = encoded(path.name) or "."

    def key(self, record: int) -> str:
        return str(self._keys[record].as_py())

    def location(self, record: int) -> Json:
        """A SARIF location: the record's own file, or its container and its name in there."""
        key = self.key(record)
        properties = {"record": record, "label": self._labels[record].as_py()}
        if self._one_file_each and _stays_inside(key):
            return {"physicalLocation": _artifact(encoded(key, "/")), "properties": properties}
        return {
            "physicalLocation": _artifact(self._container),
            "logicalLocations": [{"name": shown(key), "fullyQualifiedName": key, "kind": "record"}],
            "properties": properties,
        }


def _artifact(uri: str) -> Json:
    return {"artifactLocation": {"uri": uri, "uriBaseId": BASE}}


def _stays_inside(key: str) -> bool:
    """Whether a key is a relative path that cannot leave its folder."""
    return not any(part in ("", ".", "..") for part in re.split(r"[/\\]", key))


def _result(finding: Finding, rule_index: int, number: int, result: ScanResult, places: _Places) -> Json:
    listed = finding.records[:MAX_LOCATIONS].tolist()
    target = None if finding.target is None else result.label_names[finding.target]
    return {
        "ruleId": finding.kind,
        "ruleIndex": rule_index,
        "kind": "fail",
        "level": _LEVEL[finding.severity],
        "rank": _RANK[finding.severity],
        "message": {"text": message(f"{shown(finding.title, 300)}. {shown(finding.explanation, 2000)}")},
        "locations": [places.location(record) for record in listed],
        "partialFingerprints": {"bezoarFinding/v1": _fingerprint(finding, target, result)},
        "properties": {
            "finding": number,
            "severity": str(finding.severity),
            "p_value": finding.p_value,
            "target": target,
            "origins": [result.label_names[label] for label in finding.origins],
            "records": len(finding.records),
            "records_not_listed": len(finding.records) - len(listed),
            "details": finding.details,
        },
    }


def _fingerprint(finding: Finding, target: str | None, result: ScanResult) -> str:
    """The same for the same claim on the same records, whatever their order, the seed or the version (hex SHA-256)."""
    keys = sorted(result.scores["key"].take(np.sort(finding.records)).to_pylist())
    return digest(finding.kind, "" if target is None else f"={target}", *keys)


def _notifications(unreadable: tuple[Unreadable, ...], places: _Places) -> list[Json]:
    descriptor = {"id": "unreadable-record", "index": 0}
    rows: list[Json] = [
        {
            "descriptor": descriptor,
            "level": "warning",
            "message": {"text": message(f"{shown(places.key(row.index))}: {shown(row.reason, 300)}")},
            "locations": [places.location(row.index)],
        }
        for row in unreadable[:MAX_LOCATIONS]
    ]
    hidden = len(unreadable) - len(rows)
    if hidden:
        text = f"{count(hidden, 'further record')} could not be decoded."
        rows.append({"descriptor": descriptor, "level": "warning", "message": {"text": text}})
    return rows


def _properties(result: ScanResult) -> Json:
    """The verdict and what one needs to scan again: the parts of the JSON result that SARIF has no place for."""
    document = to_json(result)
    dataset = {name: document["dataset"][name] for name in ("path", "format", "digest", "records")}
    return {
        "dataset": dataset,
        "settings": document["settings"],
        "verdict": document["verdict"],
        "flagged": document["flagged"],
    }
