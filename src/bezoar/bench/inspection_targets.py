"""What the inspection is meant to reach on the zoo, set before it was measured, and whether it does."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

AUROC = {
    "all": 0.95,
    "BadNets": 0.99,
    "Blended": 0.99,
}  # at least, by kind of attack; for 43 labels alone, too
FALSE_ALARMS = 0.05  # at most: of clean test models
NAMED = 0.95  # at least: of detections, those that name the target
TRIAGE_SECONDS = {10: 5.0, 43: 30.0}  # at most: CPU seconds of triage, by number of labels
REPAIRED_SUCCESS, LOST_ACCURACY = 0.05, 0.02  # at most, in the median: of the true trigger, of clean accuracy
LEAST_CLEAN, LEAST_BACKDOORED, LEAST_REPAIRED = 20, 30, 10  # models, or else nothing is "met"


def against_targets(mode: Json, seconds: list[Json], repair: Json) -> list[Json]:
    """Targets beside figures, from parts of the summary (`bezoar.bench.inspection_summary`)."""
    enough = mode["clean"] >= LEAST_CLEAN and mode["backdoored"] >= LEAST_BACKDOORED
    rows = []
    for group in mode["groups"]:
        if (least := AUROC.get(group["kind"])) is not None and group["classes"] in (None, 43):
            kind = "all kinds" if group["kind"] == "all" else group["kind"]
            title = f"AUROC, {kind}{_labels(group['classes'])}"
            rows.append(_row(title, group["auroc"], f"at least {least}", least=least, enough=enough))
    for alarms in mode["alarms"]:
        if alarms["classes"] in (None, 43):
            title = f"False alarms on clean models{_labels(alarms['classes'])}"
            asked = f"at most {FALSE_ALARMS:.0%}"
            rows.append(_row(title, alarms["share"], asked, most=FALSE_ALARMS, enough=enough))
    rows.append(
        _row("Target named rightly", mode["named"], f"at least {NAMED:.0%}", least=NAMED, enough=enough)
    )
    for group in seconds:
        if (most := TRIAGE_SECONDS.get(group["classes"])) is not None:
            title = f"Triage, CPU seconds in the median{_labels(group['classes'])}"
            value = _point(group["triage"]["median"])
            rows.append(_row(title, value, f"at most {most:g}", most=most, enough=enough))
    repaired = len(repair["models"]) >= LEAST_REPAIRED
    for title, name, most in (
        ("True trigger's success after repair, median", "success_after", REPAIRED_SUCCESS),
        ("Accuracy lost by repair, median", "lost_accuracy", LOST_ACCURACY),
    ):
        rows.append(_row(title, _point(repair[name]), f"at most {most:.0%}", most=most, enough=repaired))
    return rows


def _row(
    title: str, value: Json | None, asked: str, *, enough: bool, least: float = -1.0, most: float = 1e9
) -> Json:
    if value is None:
        state = "not measured"
    elif not least <= value["value"] <= most:
        state = "missed"
    else:
        state = "met" if enough else "met so far"
    return {"title": title, "asked": asked, "value": value, "state": state}


def _point(value: float | None) -> Json | None:
    return None if value is None else {"value": value}


def _labels(classes: int | None) -> str:
    return "" if classes is None else f", {classes} labels"
