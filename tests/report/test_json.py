from __future__ import annotations

import json
from importlib import resources
from typing import Any

import jsonschema
import numpy as np
import pytest

from bezoar.errors import InputError
from bezoar.report import from_json, to_json
from bezoar.report.json import MAX_LISTED
from bezoar.scan.result import ScanResult, Severity, Unreadable
from report.builders import scan_result, source_finding, text_finding, trigger_finding


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    source = resources.files("bezoar.report") / "schema" / "scan-1.json"
    document: dict[str, Any] = json.loads(source.read_text())
    jsonschema.Draft202012Validator.check_schema(document)
    return document


RESULTS = {
    "empty": scan_result(),
    "poisoned": scan_result(
        (
            trigger_finding(np.arange(0, 30, 3)),
            trigger_finding(
                np.array([1, 4]), severity=Severity.REVIEW, p_value=None, target=None, origins=()
            ),
        ),
        unreadable=(Unreadable(59, "truncated"),),
    ),
    "text": scan_result(
        (text_finding(np.arange(3), ["a cf mn b", "c"], [2, 7]), source_finding(np.arange(2)))
    ),
    "hostile": scan_result(labels=("<script>", "\u202e", "\x1b"), path="/data/\udcff\n"),
}


@pytest.mark.parametrize("result", RESULTS.values(), ids=RESULTS)
def test_fits_the_schema_and_reads_back(result: ScanResult, schema: dict[str, Any]) -> None:
    document = json.loads(json.dumps(to_json(result), allow_nan=False))
    jsonschema.validate(document, schema)
    back = from_json(document, result.scores)
    assert (back.path, back.digest, back.verdict) == (result.path, result.digest, result.verdict)
    assert (back.label_names, back.label_counts) == (result.label_names, result.label_counts)
    assert (back.unreadable, back.seconds) == (result.unreadable, result.seconds)
    assert (back.depth, back.views, back.trusted) == (result.depth, result.views, result.trusted)
    for mine, theirs in zip(back.findings, result.findings, strict=True):
        np.testing.assert_array_equal(mine.records, theirs.records)
        assert (mine.kind, mine.severity, mine.p_value, mine.target, mine.origins, mine.details) == (
            theirs.kind,
            theirs.severity,
            theirs.p_value,
            theirs.target,
            theirs.origins,
            theirs.details,
        )


def test_numbers_that_json_lacks_become_null(schema: dict[str, Any]) -> None:
    details = {"ratio": np.float32("nan"), "sizes": np.array([1, 2]), "n": np.int64(3), "ok": np.True_}
    document = to_json(scan_result((trigger_finding(np.array([0]), details=details, p_value=float("nan")),)))
    jsonschema.validate(document, schema)
    assert document["findings"][0]["details"] == {"ratio": None, "sizes": [1, 2], "n": 3, "ok": True}
    assert document["findings"][0]["p_value"] is None


def test_long_findings_are_cut_and_completed_from_the_scores() -> None:
    order = np.random.default_rng(0).permutation(MAX_LISTED + 500)
    result = scan_result((trigger_finding(order),), n=MAX_LISTED + 600)
    document = to_json(result)
    records = document["findings"][0]["records"]
    assert records["count"] == len(order)
    assert len(records["keys"]) == len(records["indices"]) == MAX_LISTED
    back = from_json(document, result.scores).findings[0].records
    np.testing.assert_array_equal(back[:MAX_LISTED], order[:MAX_LISTED])
    assert set(back.tolist()) == set(order.tolist())


def _changed(path: list[str | int], value: object) -> Any:
    document = to_json(RESULTS["poisoned"])
    place: Any = document
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return document


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {},
        "text",
        _changed(["schema"], "bezoar-scan-2"),
        _changed(["dataset", "records"], -1),
        _changed(["dataset", "labels"], {"name": "x"}),
        _changed(["verdict", "status"], "fine"),
        _changed(["settings", "alpha"], None),
        _changed(["findings", 0, "target"], 99),
        _changed(["findings", 0, "records", "indices"], [10**9]),
        _changed(["findings", 0, "records", "indices"], [True]),
        _changed(["findings", 0, "severity"], ["poison"]),
        _changed(["settings", "depth"], "abyss"),
        _changed(["settings", "views"], "patterns"),
        _changed(["settings", "trusted"], 1),
        _changed(["seconds"], []),
        _changed(["unreadable", "listed"], [{"index": "5"}]),
    ],
)
def test_malformed_documents_are_input_errors(document: Any) -> None:
    with pytest.raises(InputError, match="not a scan result"):
        from_json(document, RESULTS["poisoned"].scores)
