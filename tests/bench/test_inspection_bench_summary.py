from __future__ import annotations

import json
import re
from typing import Any

import pytest

from bench.support import inspection_entry
from bezoar.bench.inspection import Inspection
from bezoar.bench.inspection_page import to_markdown
from bezoar.bench.inspection_summary import summarise
from bezoar.bench.inspection_table import to_terminal
from bezoar.bench.store import Entry
from bezoar.errors import InputError

HOSTILE = "<script>x</script>|`**\x1b[31m"


def _summary(*entries: Entry, missing: int = 0) -> dict[str, Any]:
    planned = [Inspection(**entry.cell) for entry in entries]
    planned += [Inspection(f"missing-{n}", "data") for n in range(missing)]
    return summarise(planned, {entry.key: entry for entry in entries})


def _many(clean: int = 20, backdoored: int = 30, **changes: Any) -> list[Entry]:
    kinds = ("BadNets", "Blended", "SIG")
    return [
        *(inspection_entry(f"c{n}", p_value=0.2 + n / 100) for n in range(clean)),
        *(inspection_entry(f"b{n}", kind=kinds[n % 3], p_value=1e-6, **changes) for n in range(backdoored)),
    ]


def _group(summary: dict[str, Any], kind: str, classes: int | None = None) -> dict[str, Any]:
    groups = summary["modes"]["data"]["groups"]
    return next(group for group in groups if (group["kind"], group["classes"]) == (kind, classes))


def _target(summary: dict[str, Any], title: str) -> dict[str, Any]:
    return next(row for row in summary["targets"] if row["title"].startswith(title))


def test_a_perfect_inspection_meets_its_targets() -> None:
    summary = _summary(*_many())
    assert _group(summary, "all")["auroc"]["value"] == 1
    assert _group(summary, "BadNets")["backdoored"] == 10
    assert _group(summary, "all")["detected"]["n"] == 30
    assert summary["modes"]["data"]["named"]["value"] == 1
    assert summary["seconds"][0]["triage"] == {"median": 2.5, "most": 2.5}
    assert summary["seconds"][0]["all"]["median"] == 7.5
    assert {row["state"] for row in summary["targets"]} == {"met", "not measured"}
    assert _target(summary, "True trigger")["state"] == "not measured"


def test_few_models_meet_a_target_only_so_far() -> None:
    summary = _summary(*_many(clean=19))
    assert _target(summary, "AUROC, all kinds")["state"] == "met so far"


def test_ranks_are_counted_within_a_kind_and_ties_are_half() -> None:
    clean = [inspection_entry(f"c{n}", p_value=p) for n, p in enumerate((0.1, 0.5))]
    badnets = inspection_entry("b0", kind="BadNets", p_value=0.5)
    blended = inspection_entry("b1", kind="Blended", p_value=0.01)
    summary = _summary(*clean, badnets, blended)
    assert _group(summary, "BadNets")["auroc"]["value"] == pytest.approx(0.25)
    assert _group(summary, "Blended")["auroc"]["value"] == 1
    assert _group(summary, "all")["auroc"]["value"] == pytest.approx(0.625)
    low, high = (_group(summary, "all")["auroc"][end] for end in ("low", "high"))
    assert low < 0.625 < high


def test_each_wrong_answer_is_listed_and_counts_against_its_target() -> None:
    other = [{"kind": "all-to-one", "severity": "backdoor", "target": 4}]
    review = [{"kind": "all-to-one", "severity": "review", "target": 3}]
    summary = _summary(
        *_many(),
        inspection_entry("alarm-1", verdict="backdoored", findings=other),
        inspection_entry("alarm-2", verdict="backdoored", findings=other),
        inspection_entry("misnamed", kind="SIG", findings=other, p_value=1e-6),
        inspection_entry("missed", kind="SIG", verdict="undecided", findings=review, p_value=0.9),
    )
    found = summary["modes"]["data"]
    assert [row["model"] for row in found["false_alarms"]] == ["alarm-1", "alarm-2"]
    assert [row["model"] for row in found["misnamed"]] == ["misnamed"]
    assert [row["model"] for row in found["missed"]] == ["missed"]
    assert found["missed"][0]["named"] == []
    assert found["named"]["value"] == pytest.approx(30 / 31)
    assert _target(summary, "False alarms")["state"] == "missed"
    page = to_markdown(summary)
    for name in ("alarm-1", "misnamed", "missed"):
        assert f"| {name} |" in page
    assert "≠" in page


def test_all_to_all_is_right_only_when_it_is_called_that() -> None:
    truth = {"target": None}
    said = [{"kind": "all-to-all", "severity": "backdoor", "target": None}]
    right = inspection_entry("right", kind="All-to-all", truth=truth, findings=said)
    wrong = inspection_entry("wrong", kind="All-to-all", truth=truth)
    summary = _summary(right, wrong)
    assert [row["model"] for row in summary["modes"]["data"]["misnamed"]] == ["wrong"]


def test_attacks_that_did_not_take_are_listed_and_not_counted() -> None:
    weak = inspection_entry(
        "weak", kind="WaNet", verdict="clean", findings=[], truth={"took": False, "success": 0.2}
    )
    summary = _summary(*_many(), weak)
    assert _group(summary, "WaNet")["backdoored"] == 0
    assert summary["modes"]["data"]["backdoored"] == 30
    assert summary["modes"]["data"]["missed"] == []
    assert "| weak | WaNet | 5 % | 20.0 % |" in to_markdown(summary)


def test_calibration_models_count_in_the_zoo_alone() -> None:
    calibrating = inspection_entry("k0", "calibration", truth={"role": "calibration"}, statistics={})
    summary = _summary(inspection_entry("c0"), calibrating)
    assert summary["zoo"][0]["calibration"] == 1
    assert summary["modes"]["data"]["clean"] == 1


def test_what_there_was_nothing_to_repair_in_is_named_and_not_still_to_be_measured() -> None:
    vain = inspection_entry("vain", "repair", kind="SIG", status="impossible", reason="nothing to repair")
    summary = _summary(inspection_entry("c0"), vain)
    assert (summary["planned"], summary["measured"]) == (1, 1)
    assert summary["repair"]["in_vain"] == ["vain"]
    assert summary["repair"]["models"] == []


def test_repair_is_judged_by_the_median() -> None:
    def entry(n: int, after: float) -> Entry:
        figures = {
            "success_before": 0.9,
            "success_after": after,
            "accuracy_before": 0.7,
            "accuracy_after": 0.69,
            "repair_cpu_seconds": 10.0,
        }
        return inspection_entry(f"r{n}", "repair", kind="SIG", repair=figures)

    summary = _summary(*(entry(n, 0.01) for n in range(9)), entry(9, 0.8))
    assert _target(summary, "True trigger")["state"] == "met"
    assert _target(summary, "Accuracy lost")["value"]["value"] == pytest.approx(0.01)
    worse = _summary(*(entry(n, 0.2) for n in range(10)))
    assert _target(worse, "True trigger")["state"] == "missed"
    assert "| r9 | SIG | 90.0 % | 80.0 % |" in to_markdown(summary)


def test_43_labels_have_targets_of_their_own() -> None:
    gtsrb = {"task": "gtsrb", "classes": 43}
    summary = _summary(*_many(), inspection_entry("g", kind="BadNets", p_value=1e-3, truth=gtsrb))
    assert _target(summary, "AUROC, all kinds, 43")["state"] == "not measured"  # no clean model of 43 labels
    summary = _summary(
        *_many(),
        inspection_entry("g", kind="BadNets", p_value=1e-3, truth=gtsrb),
        inspection_entry("h", p_value=1e-4, truth=gtsrb),
    )
    assert _target(summary, "AUROC, all kinds, 43")["state"] == "missed"
    assert _target(summary, "Triage, CPU seconds in the median, 43")["value"]["value"] == 2.5


def test_pages_are_inert_whatever_a_log_holds() -> None:
    entry = inspection_entry(
        HOSTILE, kind="BadNets", verdict=HOSTILE, findings=[], machine=HOSTILE, libraries=HOSTILE
    )
    summary = _summary(entry, inspection_entry("c"))
    page = to_markdown(summary, {"version": HOSTILE, "summary": {HOSTILE: _baseline()}})
    assert "<script" not in page
    assert "\x1b" not in page + to_terminal(summary)
    assert len(set(map(_columns, _rows(page, "attack success")))) == 1


def _baseline() -> dict[str, Any]:
    return {
        "labels": 10,
        "neural_cleanse_cpu_seconds": 700.0,
        "bezoar_cpu_seconds": 7.0,
        "times_faster": 100.0,
        "triage_cpu_seconds": 3.5,
        "times_faster_triage": 200.0,
        "targets_cpu_seconds": 1.75,
        "times_faster_targets": 400.0,
        "outliers": [],
    }


def _rows(page: str, column: str) -> list[str]:
    """The lines of the first table that has this column."""
    lines = page.splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith("|") and column in line)
    end = next(n for n in range(start, len(lines)) if not lines[n].startswith("|"))
    return lines[start:end]


def _columns(row: str) -> int:
    return len(re.findall(r"(?<!\\)\|", row))


def test_nothing_measured_claims_nothing() -> None:
    summary = _summary(missing=3)
    assert {row["state"] for row in summary["targets"]} == {"not measured"}
    page = to_markdown(summary)
    assert "not complete" in page
    assert "Not measured." in page
    json.dumps(summary, allow_nan=False)


def test_the_same_measurements_give_the_same_page_and_others_are_refused() -> None:
    entries = _many()
    assert to_markdown(_summary(*entries)) == to_markdown(_summary(*entries))
    with pytest.raises(InputError, match="bench inspect"):
        to_markdown({"kind": "something else"})
