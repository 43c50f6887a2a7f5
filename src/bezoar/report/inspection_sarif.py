"""An inspection as SARIF 2.1.0 (OASIS Standard, 27 March 2020), for code scanning services, IDEs and other viewers.

One result per finding, at the model's file. Severities are levels: a backdoor is an error, review a warning, a shortcut a note;
`kind` is then "fail" for all (§3.27.9). The inspection's own notes are notifications of the tool.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from bezoar.inspect.result import Finding, InspectionResult, Severity
from bezoar.inspect.saved import as_json
from bezoar.report import inspection_words as words
from bezoar.report.sarif_parts import Json, descriptor, digest, driver, encoded, log, message
from bezoar.report.text import count, shown

BASE = "MODELS"
MAX_NOTES = 100
SHORTCUT = "shortcut"

_LEVEL = {Severity.BACKDOOR: "error", Severity.REVIEW: "warning", Severity.SHORTCUT: "note"}
_RANK = {Severity.BACKDOOR: 100.0, Severity.REVIEW: 50.0, Severity.SHORTCUT: 10.0}
_REPAIR = "Do not use the model as it is. `bezoar repair` writes one without the backdoor, and says what that costs in accuracy."


class _Rule(NamedTuple):
    kind: str
    short: str
    full: str
    help: str
    level: str = "error"


_RULES = (
    _Rule(
        "all-to-one",
        "One trigger turns every image into one label",
        "One small change, the same for all images, is enough to make the model give them all the same label.",
        _REPAIR,
    ),
    _Rule(
        "source-specific",
        "A trigger turns some labels into another",
        "A small change, the same for all images, makes the model take some labels for another, and leaves the others alone.",
        _REPAIR,
    ),
    _Rule(
        "all-to-all",
        "A trigger turns every label into another",
        "A small change, the same for all images, makes the model take each label for a different one.",
        _REPAIR,
    ),
    _Rule(
        SHORTCUT,
        "Two classes are nearly alike",
        "A small change turns one class into another. Clean models have such ways between classes that resemble each other.",
        "Nothing has to be done against a backdoor.",
        "note",
    ),
)
_KNOWN = {rule.kind: rule for rule in _RULES}


def inspection_to_sarif(result: InspectionResult) -> Json:
    """The inspection as a SARIF log with one run; JSON types only, all text well-formed Unicode."""
    path = Path(os.path.abspath(result.path.replace("\0", "\ufffd")))  # without `..`
    kinds = list(dict.fromkeys(_kind(finding) for finding in result.findings))
    document = as_json(result)
    run = {
        "tool": {"driver": driver(result.version, [descriptor(*_rule(kind)) for kind in kinds])},
        "automationDetails": {"id": f"bezoar-inspect/{encoded(path.name)}/"},
        "invocations": [
            {"executionSuccessful": True, "toolExecutionNotifications": _notifications(result)},
        ],
        "originalUriBaseIds": {BASE: {"uri": f"file://{encoded(path.parent.as_posix(), '/').rstrip('/')}/"}},
        "results": [
            _result(finding, document["findings"][number], kinds, result, path)
            for number, finding in enumerate(result.findings)
        ],
        "properties": {
            name: document[name] for name in ("model", "data", "settings", "verdict", "label_names")
        },
    }
    return log(run)


def _kind(finding: Finding) -> str:
    return SHORTCUT if finding.severity is Severity.SHORTCUT else finding.kind


def _rule(kind: str) -> _Rule:
    what = f"Finding of kind {kind}"
    return _KNOWN.get(kind) or _Rule(kind, what, f"{what}: see the message of each result.", _REPAIR)


def _result(finding: Finding, facts: Json, kinds: list[str], result: InspectionResult, path: Path) -> Json:
    kind = _kind(finding)
    text = f"{shown(finding.title, 300)}. {shown(finding.explanation, 2000)}"
    trial = words.success(finding)
    return {
        "ruleId": kind,
        "ruleIndex": kinds.index(kind),
        "kind": "fail",
        "level": _LEVEL[finding.severity],
        "rank": _RANK[finding.severity],
        "message": {"text": message(f"{text} The recovered trigger {trial}." if trial else text)},
        "locations": [
            {"physicalLocation": {"artifactLocation": {"uri": encoded(path.name) or ".", "uriBaseId": BASE}}}
        ],
        "partialFingerprints": {"bezoarFinding/v1": _fingerprint(finding, result)},
        "properties": {
            **facts,
            "target_name": None if finding.target is None else words.name(result, finding.target),
            "source_names": [words.name(result, label) for label in finding.sources],
        },
    }


def _fingerprint(finding: Finding, result: InspectionResult) -> str:
    """The same for the same claim on the same labels, whatever the seed, the version or the weights (hex SHA-256)."""
    names = sorted(result.label_names[label] for label in finding.sources)
    target = "" if finding.target is None else f"={result.label_names[finding.target]}"
    return digest(_kind(finding), target, *names)


def _notifications(result: InspectionResult) -> list[Json]:
    rows = [
        {"level": "warning", "message": {"text": message(shown(note, 400))}}
        for note in result.notes[:MAX_NOTES]
    ]
    hidden = len(result.notes) - len(rows)
    if hidden > 0:
        rows.append({"level": "warning", "message": {"text": f"{count(hidden, 'further note')}."}})
    return rows
