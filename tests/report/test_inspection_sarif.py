from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import jsonschema
import pytest

from bezoar.inspect.result import InspectionResult, Severity
from bezoar.report.inspection_sarif import MAX_NOTES, inspection_to_sarif
from report.inspection_builders import backdoor, inspection, shortcut
from report.test_html import HOSTILE
from report.test_inspection_html import hostile_inspection
from report.test_sarif import SCHEMA, URI


def run_of(result: InspectionResult) -> dict[str, Any]:
    """The log's one run, through JSON text, valid by the schema and in what the schema cannot say."""
    text = json.dumps(inspection_to_sarif(result), allow_nan=False)
    log: dict[str, Any] = json.loads(text)
    json.dumps(log, ensure_ascii=False).encode("utf-8")  # fails on a lone surrogate
    jsonschema.Draft7Validator(SCHEMA).validate(log)
    (run,) = log["runs"]
    base = run["originalUriBaseIds"]["MODELS"]["uri"]
    assert base.startswith("file:///")
    assert base.endswith("/")
    assert "/../" not in base
    rules = run["tool"]["driver"]["rules"]
    for row in run["results"]:
        assert rules[row["ruleIndex"]]["id"] == row["ruleId"]
        (place,) = row["locations"]
        artifact = place["physicalLocation"]["artifactLocation"]
        assert artifact["uriBaseId"] == "MODELS"
        assert URI.fullmatch(artifact["uri"])
        assert "/" not in artifact["uri"]
    assert URI.fullmatch(base)
    return run  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "result",
    [
        inspection(),
        hostile_inspection(),
        inspection((backdoor(),), path="/models/\udcff\x00 \ud800"),
        inspection((backdoor(),), path="model.pt2"),
        inspection((backdoor(),), path="/"),
    ],
    ids=["clean", "hostile", "odd path", "relative path", "root"],
)
def test_every_inspection_is_valid(result: InspectionResult) -> None:
    assert len(run_of(result)["results"]) == len(result.findings)


def test_severities_become_levels_and_shortcuts_a_rule_of_their_own() -> None:
    findings = (
        backdoor(),
        backdoor(kind="source-specific", severity=Severity.REVIEW, sources=(0,)),
        shortcut(),
        backdoor(kind="third party's", severity=Severity.REVIEW),
    )
    run = run_of(inspection(findings))
    assert [row["level"] for row in run["results"]] == ["error", "warning", "note", "warning"]
    assert {row["kind"] for row in run["results"]} == {"fail"}
    rules = run["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == ["all-to-one", "source-specific", "shortcut", "third party's"]
    assert rules[2]["defaultConfiguration"]["level"] == "note"
    assert all(rule["shortDescription"]["text"] and rule["help"]["text"] for rule in rules)


def test_says_what_was_found(tmp_path: Path) -> None:
    run = run_of(inspection((backdoor(sources=(0, 3)),), path=f"{tmp_path}/x/../my model.onnx"))
    (row,) = run["results"]
    assert row["message"]["text"].startswith(
        "A small patch turns every image into 'Speed limit (60km/h)'. One"
    )
    assert row["message"]["text"].endswith(
        "The recovered trigger flips 98.5 % of 200 held-out images; random patterns of equal size flip 1.2 %."
    )
    facts = row["properties"]
    assert (facts["p_value"], facts["success"], facts["target"]) == (2.1e-9, 0.985, 1)
    assert (facts["target_name"], facts["source_names"]) == ("Speed limit (60km/h)", ["Stop", "No entry"])
    assert run["properties"]["verdict"]["status"] == "backdoored"
    assert run["originalUriBaseIds"]["MODELS"]["uri"] == f"{tmp_path.as_uri()}/"
    assert row["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "my%20model.onnx"


def test_file_names_that_are_not_utf8() -> None:
    run = run_of(inspection((backdoor(),), path=os.fsdecode(b"/gr\xf6\xdfe/m\xf6.onnx")))
    uri = run["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert unquote_to_bytes(uri) == b"m\xf6.onnx"


def test_messages_hold_no_links_and_no_placeholders() -> None:
    title = "[click](https://evil.invalid) {0} \u202e"
    run = run_of(inspection((backdoor(title=title),), notes=(title,)))
    notes = run["invocations"][0]["toolExecutionNotifications"]
    for text in (run["results"][0]["message"]["text"], notes[0]["message"]["text"]):
        assert r"\[click\](https://evil.invalid) {{0}} \u202e" in text
        assert not re.search(r"(?<!\\)\[", text)


def test_long_lists_of_notes_are_cut_and_say_so() -> None:
    run = run_of(inspection(notes=("note",) * (MAX_NOTES + 5)))
    notes = run["invocations"][0]["toolExecutionNotifications"]
    assert len(notes) == MAX_NOTES + 1
    assert notes[-1]["message"]["text"] == "5 further notes."


def test_fingerprints_are_those_of_the_claim() -> None:
    def fingerprint(**changes: object) -> str:
        run = run_of(inspection((backdoor(**changes),)))
        value: str = run["results"][0]["partialFingerprints"]["bezoarFinding/v1"]
        return value

    first = fingerprint()
    assert first == fingerprint(p_value=0.001, title="other words", severity=Severity.REVIEW, success=0.9)
    others = [
        fingerprint(target=2),
        fingerprint(target=None),
        fingerprint(kind="source-specific"),
        fingerprint(severity=Severity.SHORTCUT),
        fingerprint(sources=(0,)),
    ]
    assert len({first, *others}) == 6
    assert fingerprint(sources=(0, 3)) == fingerprint(sources=(3, 0))


def test_names_of_hostile_labels_come_without_what_a_viewer_would_obey() -> None:
    run = run_of(inspection((backdoor(target=5, sources=tuple(range(len(HOSTILE)))),), names=HOSTILE))
    facts = run["results"][0]["properties"]
    assert facts["target_name"] == r"gpj.\u202eexe\u2066"
    assert not re.search("[\u202a-\u202e\x00-\x1f]", "".join(facts["source_names"]))
