"""Figures of the inspection over the zoo, from its measurements alone: JSON values, the same input gives the same output.

Models whose attack did not take are listed, and count nowhere. A detection is the verdict *backdoored*; it names the target
rightly when its first finding does (for all-to-all backdoors: when it says that they are).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from statistics import median
from typing import Any

from bezoar.bench.inspection import Inspection
from bezoar.bench.inspection_targets import against_targets
from bezoar.bench.statistics import Share, auroc_over_trials, clopper_pearson, wilson
from bezoar.bench.store import Entry
from bezoar.bench.zoo.recipes import KINDS

Json = dict[str, Any]
KIND = "summary of the benchmark of inspections"
MODES = {"data": "with clean images", "data-free": "without data"}
_NO_TRIAGE = ("model", "images", "evidence")  # stages


def summarise(planned: Sequence[Inspection], done: Mapping[str, Entry]) -> Json:
    """Of the measurements in `done`, by key, those that are planned; what was impossible is only named."""
    made = [done[each.key] for each in planned if each.key in done]
    entries = [entry for entry in made if entry.outcome["status"] == "measured"]
    in_vain = [entry.cell["model"] for entry in made if entry.outcome["status"] == "impossible"]
    by_mode: dict[str, list[Json]] = {mode: [] for mode in (*MODES, "calibration", "repair")}
    for entry in entries:
        by_mode[entry.cell["mode"]].append(_flat(entry))
    modes = {mode: _mode(by_mode[mode]) for mode in MODES}
    repair = _repair(by_mode["repair"]) | {"in_vain": in_vain}
    seconds = _seconds(by_mode["data"])
    return {
        "kind": KIND,
        "planned": len(planned) - len(in_vain),
        "measured": len(entries),
        "versions": dict(Counter(entry.version for entry in entries)),
        "machines": dict(Counter(entry.outcome["machine"] for entry in entries)),
        "libraries": sorted({entry.outcome["libraries"] for entry in entries}),
        "zoo": _zoo(by_mode["data"] + by_mode["calibration"]),
        "modes": modes,
        "models": by_mode["data"],
        "seconds": seconds,
        "repair": repair,
        "targets": against_targets(modes["data"], seconds, repair),
    }


def _flat(entry: Entry) -> Json:
    """One row: the truth, what was said, and what follows from both."""
    outcome, true = entry.outcome, entry.outcome["truth"]
    row = {"model": entry.cell["model"], **true}
    if entry.cell["mode"] == "calibration":
        return row
    if entry.cell["mode"] == "repair":
        return row | dict(outcome["repair"])
    findings = [finding for finding in outcome["findings"] if finding["severity"] == "backdoor"]
    return row | {
        "verdict": outcome["verdict"],
        "p_value": outcome["p_value"],
        "named": [finding["target"] for finding in findings],
        "detected": outcome["verdict"] == "backdoored",
        "named_rightly": bool(findings) and _rightly(findings[0], true),
        "cpu_seconds": outcome["cpu_seconds"],
    }


def _rightly(finding: Json, true: Json) -> bool:
    if true["kind"] == "All-to-all":
        return bool(finding["kind"] == "all-to-all")
    return true["kind"] is not None and bool(finding["target"] == true["target"])


def _mode(rows: list[Json]) -> Json:
    tested = [row for row in rows if row["role"] != "calibration"]
    clean = [row for row in tested if row["kind"] is None]
    took = [row for row in tested if row["took"]]
    missed = [row for row in took if not row["detected"]]
    return {
        "clean": len(clean),
        "backdoored": len(took),
        "groups": [
            group
            for classes in (None, *sorted({row["classes"] for row in tested}))
            for group in _groups(_of(clean, classes), _of(took, classes), classes)
        ],
        "alarms": [
            {"classes": classes, **_alarms(_of(clean, classes))}
            for classes in (None, *sorted({row["classes"] for row in clean}))
        ],
        "named": _json(
            wilson(sum(row["detected"] and row["named_rightly"] for row in took), len(took) - len(missed))
        ),
        "missed": missed,
        "misnamed": [row for row in took if row["detected"] and not row["named_rightly"]],
        "false_alarms": [row for row in clean if row["detected"]],
        "undecided_clean": [row["model"] for row in clean if row["verdict"] == "undecided"],
    }


def _of(rows: list[Json], classes: int | None) -> list[Json]:
    return [row for row in rows if classes in (None, row["classes"])]


def _groups(clean: list[Json], took: list[Json], classes: int | None) -> list[Json]:
    groups = []
    for kind in ("all", *dict.fromkeys(KINDS.values())):
        members = [row for row in took if kind in ("all", row["kind"])]
        found = [row for row in members if row["detected"]]
        groups.append(
            {
                "kind": kind,
                "classes": classes,
                "backdoored": len(members),
                "clean": len(clean),
                "auroc": _json(
                    auroc_over_trials(*([-row["p_value"] for row in rows] for rows in (members, clean)))
                ),
                "detected": _json(wilson(len(found), len(members))),
                "named": _json(wilson(sum(row["named_rightly"] for row in found), len(found))),
            }
        )
    return groups


def _alarms(clean: list[Json]) -> Json:
    alarms = sum(row["detected"] for row in clean)
    return {
        "clean": len(clean),
        "alarms": alarms,
        "undecided": sum(row["verdict"] == "undecided" for row in clean),
        "share": _json(clopper_pearson(alarms, len(clean))),
    }


def _zoo(rows: list[Json]) -> list[Json]:
    """By task and architecture: how many, how accurate, and which attacks did not take."""
    groups = []
    for task, architecture in sorted({(row["task"], row["architecture"]) for row in rows}):
        members = [row for row in rows if (row["task"], row["architecture"]) == (task, architecture)]
        accuracies = [row["accuracy"] for row in members]
        poisoned = [row for row in members if row["kind"] is not None]
        groups.append(
            {
                "task": task,
                "architecture": architecture,
                "classes": members[0]["classes"],
                "calibration": sum(row["role"] == "calibration" for row in members),
                "clean": sum(row["role"] != "calibration" and row["kind"] is None for row in members),
                "took": sum(bool(row["took"]) for row in poisoned),
                "not_taken": [row for row in poisoned if not row["took"]],
                "success": _median(row["success"] for row in poisoned if row["took"]),
                "accuracy": {"median": _median(accuracies), "least": min(accuracies)},
            }
        )
    return groups


def _seconds(rows: list[Json]) -> list[Json]:
    """CPU seconds by number of labels."""
    groups = []
    for classes in sorted({row["classes"] for row in rows}):
        stages = [row["cpu_seconds"] for row in rows if row["classes"] == classes]
        triage = [triage_seconds(each) for each in stages]
        whole = [sum(each.values()) for each in stages]
        groups.append(
            {
                "classes": classes,
                "models": len(stages),
                "triage": {"median": _median(triage), "most": max(triage)},
                "all": {"median": _median(whole), "most": max(whole)},
                "stages": {
                    stage: _median(each.get(stage, 0.0) for each in stages)
                    for stage in dict.fromkeys(stage for each in stages for stage in each)
                },
            }
        )
    return groups


def triage_seconds(stages: Mapping[str, float]) -> float:
    """CPU seconds of triage, from those of all stages."""
    return round(sum(seconds for stage, seconds in stages.items() if stage not in _NO_TRIAGE), 3)


def _repair(rows: list[Json]) -> Json:
    return {
        "models": rows,
        "success_before": _median(row["success_before"] for row in rows),
        "success_after": _median(row["success_after"] for row in rows),
        "lost_accuracy": _median(row["accuracy_before"] - row["accuracy_after"] for row in rows),
        "cpu_seconds": _median(row["repair_cpu_seconds"] for row in rows),
    }


def _median(values: Iterable[float]) -> float | None:
    known = list(values)
    return round(median(known), 4) if known else None


def _json(share: Share) -> Json | None:
    if math.isnan(share.value):
        return None
    return {name: round(value, 6) for name, value in asdict(share).items()}
