from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

import jsonschema
import numpy as np
import pytest

from bezoar.report import to_sarif
from bezoar.report.sarif import MAX_LOCATIONS
from bezoar.scan.result import ScanResult, Severity, Unreadable
from report.builders import scan_result, trigger_finding
from report.test_html import HOSTILE, hostile_result

# The OASIS schema, for these tests only: see sarif-schema.md
SCHEMA = json.loads((Path(__file__).parent / "sarif-schema-2.1.0.json").read_text())
# RFC 3986: unreserved, percent-encoded, and the delimiters that a file URI or a relative path needs
URI = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*")

FILES = [
    "a b.png",
    "ü/速度.png",
    "100%.png",
    "x:y?z#w.png",
    "dir/\u202egpj.exe",
    "tab\t\n.png",
    "q'\"<&>.png",
]
ESCAPES = ["../../etc/passwd", "/etc/passwd", "a/../../b", "..\\..\\b", "a//b", ".", ""]


def result_of(format_: str, keys: list[str], path: str = "/data/signs", **changes: Any) -> ScanResult:
    findings = (trigger_finding(np.arange(len(keys)), **changes),)
    result = scan_result(findings, n=len(keys), keys=keys, path=path)
    return ScanResult(**{**{name: getattr(result, name) for name in vars(result)}, "format": format_})


def run_of(result: ScanResult) -> dict[str, Any]:
    """The log's one run, through JSON text, valid by the schema and in what the schema cannot say."""
    text = json.dumps(to_sarif(result), allow_nan=False)
    log: dict[str, Any] = json.loads(text)
    text.encode("ascii")
    json.dumps(log, ensure_ascii=False).encode("utf-8")  # fails on a lone surrogate
    jsonschema.Draft7Validator(SCHEMA).validate(log)
    (run,) = log["runs"]
    base = run["originalUriBaseIds"]["DATASET"]["uri"]
    assert base.startswith("file:///")
    assert base.endswith("/")
    assert "/../" not in base
    for uri in [base, *uris(run)]:
        assert URI.fullmatch(uri), uri
    for uri in uris(run):
        parts = urlsplit(uri)
        assert (parts.scheme, parts.netloc, parts.query, parts.fragment) == ("", "", "", ""), uri
        assert not uri.startswith("/")
        assert b".." not in unquote_to_bytes(uri).replace(b"\\", b"/").split(b"/")
    rules = run["tool"]["driver"]["rules"]
    for row in run["results"]:
        assert rules[row["ruleIndex"]]["id"] == row["ruleId"]
    return run  # type: ignore[no-any-return]


def uris(run: dict[str, Any]) -> list[str]:
    rows = run["results"] + run["invocations"][0]["toolExecutionNotifications"]
    places = [place["physicalLocation"] for row in rows for place in row.get("locations", [])]
    assert all(place["artifactLocation"]["uriBaseId"] == "DATASET" for place in places)
    return [place["artifactLocation"]["uri"] for place in places]


def test_the_schema_is_one_that_rejects() -> None:
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    log = to_sarif(scan_result((trigger_finding(np.arange(3)),)))
    log["runs"][0]["results"][0]["level"] = "fatal"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft7Validator(SCHEMA).validate(log)


@pytest.mark.parametrize(
    "result",
    [scan_result(), hostile_result(), scan_result(path="/data/\udcff\x00 \ud800"), scan_result(path="signs")],
    ids=["empty", "hostile", "odd path", "relative path"],
)
def test_every_scan_is_valid(result: ScanResult) -> None:
    run = run_of(result)
    assert len(run["results"]) == len(result.findings)


def test_severities_become_levels() -> None:
    findings = tuple(
        trigger_finding(np.array([n]), severity=severity, kind=kind)
        for n, (severity, kind) in enumerate(
            zip(Severity, ("repeated-pattern", "suspect-source", "third party's"), strict=True)
        )
    )
    run = run_of(scan_result(findings))
    assert [row["level"] for row in run["results"]] == ["error", "warning", "note"]
    assert {row["kind"] for row in run["results"]} == {"fail"}
    ranks = [row["rank"] for row in run["results"]]
    assert ranks == sorted(ranks, reverse=True)
    rules = run["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == ["repeated-pattern", "suspect-source", "third party's"]
    assert [rule["defaultConfiguration"]["level"] for rule in rules] == ["error", "warning", "note"]
    assert all(rule["shortDescription"]["text"] and rule["help"]["text"] for rule in rules)


def test_says_what_was_found() -> None:
    run = run_of(scan_result((trigger_finding(np.arange(0, 30, 3)),)))
    (row,) = run["results"]
    assert row["message"]["text"].startswith("A 3x3 pattern repeats at one place. Records that share")
    assert row["properties"]["p_value"] == 2.1e-9
    assert row["properties"]["target"] == "Speed limit (60km/h)"
    assert row["properties"]["details"] == {"place": [2, 3], "patch": 3}
    assert run["properties"]["verdict"]["status"] == "poisoned"
    assert run["properties"]["flagged"] == 10
    assert run["tool"]["driver"]["semanticVersion"] == "0.1.0"


def test_files_are_named_by_encoded_uris_below_the_dataset() -> None:
    run = run_of(result_of("folder", FILES))
    assert run["originalUriBaseIds"]["DATASET"]["uri"] == "file:///data/signs/"
    assert [unquote_to_bytes(uri).decode() for uri in uris(run)] == FILES
    assert "logicalLocations" not in run["results"][0]["locations"][0]


def test_names_that_lead_out_of_the_folder_are_no_uris() -> None:
    run = run_of(result_of("folder", ESCAPES))
    assert set(uris(run)) == {"signs"}
    names = [place["logicalLocations"][0] for place in run["results"][0]["locations"]]
    assert [name["fullyQualifiedName"] for name in names] == ESCAPES


def test_rows_are_named_within_their_container(tmp_path: Path) -> None:
    keys = [*FILES, *ESCAPES, *HOSTILE]
    run = run_of(result_of("parquet", keys, f"{tmp_path}/x/../my data.parquet"))
    assert run["originalUriBaseIds"]["DATASET"]["uri"] == f"{tmp_path.as_uri()}/"
    assert set(uris(run)) == {"my%20data.parquet"}
    places = run["results"][0]["locations"]
    assert [place["logicalLocations"][0]["fullyQualifiedName"] for place in places] == keys
    assert not re.search(
        "[\u202a-\u202e\x00-\x1f]", "".join(p["logicalLocations"][0]["name"] for p in places)
    )
    assert places[3]["properties"]["record"] == 3
    shards = run_of(result_of("webdataset", ["a"], f"{tmp_path}/train-*.tar"))
    assert uris(shards) == [tmp_path.name]


def test_file_names_that_are_not_utf8() -> None:
    path = os.fsdecode(b"/data/gr\xf6\xdfe")
    assert run_of(result_of("folder", ["a.png"], path))["originalUriBaseIds"]["DATASET"]["uri"] == (
        "file:///data/gr%F6%DFe/"
    )


def test_messages_hold_no_links_and_no_placeholders() -> None:
    title = "[click](https://evil.invalid) {0} \u202e"
    run = run_of(result_of("parquet", ["k"], title=title, details={"label": title + "\udc80"}))
    text = run["results"][0]["message"]["text"]
    assert r"\[click\](https://evil.invalid) {{0}} \u202e." in text
    assert not re.search(r"(?<!\\)\[", text)


def test_long_findings_are_cut_and_say_so() -> None:
    n = MAX_LOCATIONS + 500
    unreadable = tuple(Unreadable(row, "truncated") for row in range(n))
    result = scan_result((trigger_finding(np.arange(n)),), n=n, unreadable=unreadable)
    run = run_of(result)
    (row,) = run["results"]
    assert len(row["locations"]) == MAX_LOCATIONS
    assert (row["properties"]["records"], row["properties"]["records_not_listed"]) == (n, 500)
    notes = run["invocations"][0]["toolExecutionNotifications"]
    assert len(notes) == MAX_LOCATIONS + 1
    assert notes[0]["message"]["text"] == "row-00000.png: truncated"
    assert notes[-1]["message"]["text"] == "500 further records could not be decoded."


def test_fingerprints_are_those_of_the_claim() -> None:
    def fingerprint(records: list[int], **changes: object) -> str:
        run = run_of(scan_result((trigger_finding(np.array(records), **changes),)))
        value: str = run["results"][0]["partialFingerprints"]["bezoarFinding/v1"]
        return value

    first = fingerprint([1, 2, 3])
    assert first == fingerprint([3, 1, 2], p_value=0.001, title="other words", severity=Severity.REVIEW)
    others = [
        fingerprint([1, 2]),
        fingerprint([1, 2, 3], kind="label-disagreement"),
        fingerprint([1, 2, 3], target=None),
        fingerprint([1, 2, 3], target=2),
    ]
    assert len({first, *others}) == 5
