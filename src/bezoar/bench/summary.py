"""From measurements to shares with intervals: JSON values that say themselves how much of the plan they rest on."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from statistics import median
from typing import Any

from bezoar.bench.packs import PACKS
from bezoar.bench.plan import Cell
from bezoar.bench.settings import SETTINGS, unavailable
from bezoar.bench.statistics import Share, clopper_pearson, over_trials, wilson
from bezoar.bench.store import Entry, failed_to_take
from bezoar.bench.targets import (
    FALSE_ALARMS,
    FLAGGED_CLEAN,
    LEAST_CLEAN_RUNS,
    LEAST_POWER_TRIALS,
    LEAST_SEEDS,
    POWER,
    TARGETS,
    Target,
)
from bezoar.bench.weak import Weak
from bezoar.report.text import percent

KIND = "bezoar-bench-scan-1"
Json = dict[str, Any]


def summarise(cells: Sequence[Cell], done: Mapping[str, Entry]) -> Json:
    """What is known of `cells`, by the entry of each key; entries of other cells are left out.

    Trials of power statements count whatever their seed, where they are of a planned pack and size: ten take more seeds than
    the matrix has.

    Settings that the installed attacks do not offer are named, and their cells left out as well. `done` is in the order of
    measurement, so that the last of `versions` is the newest.

    Shares are `{"value", "low", "high", "n"}` at 95 %: Wilson for detected trials, Clopper-Pearson for false alarms and
    power, a bootstrap over trials for TPR and FPR. A figure that nothing was measured for is None.
    """
    missing = {
        name: reason
        for name in dict.fromkeys(cell.setting for cell in cells if cell.kind == "attack")
        if (reason := unavailable(SETTINGS[name]))
    }
    cells = [cell for cell in cells if cell.setting not in missing]
    seeds = sorted({cell.seed for cell in cells})
    cells += _further_trials(cells, done)
    keys = {cell.key for cell in cells}
    entries = [entry for key, entry in done.items() if key in keys]
    status = Counter(entry.outcome["status"] for entry in entries)
    attacks = _attacks(cells, done)
    clean, power = _clean(cells, done), _power(cells, done)
    return {
        "kind": KIND,
        "records": max((cell.records for cell in cells), default=0),
        "depth": sorted({cell.depth for cell in cells}),
        "epochs": sorted({cell.epochs for cell in cells}),
        "seeds": seeds,
        "packs": {name: PACKS[name].title for name in dict.fromkeys(cell.pack for cell in cells)},
        "cells": {
            "planned": len(cells),
            "measured": status["measured"] + status["trained"],
            "impossible": status["impossible"],
            "implied": sum(group["implied"] for group in attacks),
        },
        "versions": _by_age(entry.version for entry in entries),
        "machines": dict(sorted(Counter(entry.outcome.get("machine", "unknown") for entry in entries).items())),
        "unavailable": missing,
        "attacks": attacks,
        "clean": clean,
        "power": power,
        "targets": [
            *(_target(target, name, attacks) for target in TARGETS for name in target.settings),
            *_clean_targets(clean),
            _power_target(power),
        ],
    }  # fmt: skip


def _by_age(versions: Iterable[str]) -> dict[str, int]:
    """How many entries each version made, in the order of the last one of each."""
    counts: dict[str, int] = {}
    for version in versions:
        counts[version] = counts.pop(version, 0) + 1
    return counts


def _further_trials(cells: Sequence[Cell], done: Mapping[str, Entry]) -> list[Cell]:
    """Cells of power statements that were measured with other seeds than those of `cells`."""
    planned = {replace(cell, seed=0) for cell in cells if cell.kind == "power"}
    known = {cell.key for cell in cells}
    measured = [Cell(**entry.cell) for key, entry in done.items() if key not in known]
    return [cell for cell in measured if replace(cell, seed=0) in planned]


def _attacks(cells: Iterable[Cell], done: Mapping[str, Entry]) -> list[Json]:
    """One group per setting, pack and rate; shares of poison over the trials in which the attack took."""
    groups: dict[tuple[str, str, float], list[Cell]] = {}
    for cell in cells:
        if cell.kind == "attack":
            groups.setdefault((cell.setting, cell.pack, cell.rate), []).append(cell)
    weak = Weak(done.values())
    return [
        {
            "setting": setting,
            "title": SETTINGS[setting].title,
            "pack": pack,
            "rate": rate,
            "planned": len(trials),
            "implied": sum(cell.key not in done and weak.implies(cell) for cell in trials),
            **_attack([done[cell.key] for cell in trials if cell.key in done]),
        }
        for (setting, pack, rate), trials in groups.items()
    ]


def _attack(entries: list[Entry]) -> Json:
    tried = [entry.outcome for entry in entries if entry.outcome["status"] != "impossible"]
    scanned = [outcome for outcome in tried if outcome["status"] == "measured"]
    reasons = [entry.outcome["reason"] for entry in entries if entry.outcome["status"] == "impossible"]
    counted = [outcome for outcome in scanned if not failed_to_take(outcome)]
    columns = sorted({name for outcome in counted for name in outcome["auroc"]})
    ranks = {
        name: _median(outcome["auroc"][name] for outcome in counted if name in outcome["auroc"])
        for name in columns
    }
    return {
        "trials": len(tried),
        "impossible": len(reasons),
        "reason": reasons[0] if reasons else None,
        "took": len(counted),
        "detected": _json(wilson(sum(outcome["detected"] for outcome in counted), len(counted))),
        "tpr": _json(over_trials(*_pairs(counted, "flagged_planted", "planted"))),
        "fpr": _json(over_trials(*_pairs(scanned, "flagged_clean", "clean"))),
        "auroc": ranks,
        "best_auroc": max(ranks, key=lambda name: ranks[name] or 0.0) if ranks else None,
        "clean_accuracy": _median(outcome["potency"]["clean_accuracy"] for outcome in tried),
        "attack_success": _median(
            outcome["potency"]["attack_success"]
            for outcome in tried
            if outcome["potency"]["attack_success"] is not None
        ),
        "scan_seconds": _median(outcome["scan_seconds"] for outcome in scanned),
        "seconds": _median(outcome["seconds"] for outcome in scanned),
        "peak_mib": max((outcome["peak_mib"] or 0 for outcome in scanned), default=None),
    }


def _clean(cells: Iterable[Cell], done: Mapping[str, Entry]) -> list[Json]:
    """One group per fault and pack, then per pack's modality all together."""
    groups: dict[tuple[str, str], list[Json]] = {}
    for cell in cells:
        if cell.kind == "clean":
            for key in ((cell.setting, cell.pack), ("all", f"all {PACKS[cell.pack].modality}")):
                groups.setdefault(key, [])
                if entry := done.get(cell.key):
                    groups[key].append(entry.outcome)
    return [
        {
            "setting": setting,
            "pack": pack,
            "runs": len(runs),
            "alarms": sum(run["verdict"] == "poisoned" for run in runs),
            "alarm": _json(
                clopper_pearson(sum(run["verdict"] == "poisoned" for run in runs), len(runs))
            ),
            "flagged": _json(over_trials(*_flagged(runs))),
            "scan_seconds": _median(run["scan_seconds"] for run in runs),
        }
        for (setting, pack), runs in sorted(groups.items(), key=lambda item: item[0][0] == "all")
    ]  # fmt: skip


def _flagged(runs: list[Json]) -> tuple[list[int], list[int]]:
    """Flagged records and all records, without those that are mislabelled on purpose."""
    return [run["flagged"] for run in runs], [run["records"] - run["mislabelled"] for run in runs]


def _power(cells: Iterable[Cell], done: Mapping[str, Entry]) -> list[Json]:
    """One group per kind of canary and pack, then per kind over all packs."""
    trials: dict[tuple[str, str], list[Json]] = {}
    for cell in cells:
        if cell.kind == "power" and (entry := done.get(cell.key)):
            for trial in entry.outcome["canaries"]:
                for pack in (cell.pack, "all"):
                    trials.setdefault((trial["kind"], pack), []).append(trial)
    groups = []
    for (kind, pack), each in sorted(trials.items(), key=lambda item: (item[0][1] == "all", item[0])):
        tried = [trial for trial in each if trial["found"] is not None]
        found = sum(trial["found"] for trial in tried)
        groups.append(
            {
                "canary": kind,
                "pack": pack,
                "unstated": len(each) - len(tried),
                "rate": _median(trial["rate"] for trial in tried),
                "trials": len(tried),
                "found": found,
                "share": _json(clopper_pearson(found, len(tried))),
            }
        )
    return groups


def _target(target: Target, setting: str, attacks: list[Json]) -> Json:
    """Met where every pack and rate reaches it on average, over at least `LEAST_SEEDS` trials each that took.

    "met where it took" when nothing is left to measure, but the attack did not take so often; "met so far" until then.
    """
    groups = [
        group for group in attacks if target.speaks_of(setting, group["rate"]) and group["setting"] == setting
    ]
    possible = [group for group in groups if group["impossible"] < group["planned"]]
    counted = [group for group in possible if group["took"]]
    short = [group for group in counted if group["tpr"]["value"] < target.tpr]
    complete = bool(groups) and all(
        group["trials"] + group["impossible"] + group["implied"] == group["planned"] >= LEAST_SEEDS
        for group in groups
    )
    always = all(group["took"] >= LEAST_SEEDS for group in possible)
    state = _state(bool(short), bool(counted), complete=complete)
    return {
        "title": SETTINGS[setting].title,
        "setting": setting,
        "asked": f"TPR of at least {percent(target.tpr)} at {target.names}",
        "state": "met where it took" if state == "met" and not always else state,
        "trials": sum(group["took"] for group in counted),
        "groups": len(counted),
        "possible": len(possible),
        "worst": min((group["tpr"]["value"] for group in counted), default=None),
        "missed": [{name: group[name] for name in ("pack", "rate", "tpr", "took")} for group in short],
    }  # fmt: skip


def _clean_targets(clean: list[Json]) -> list[Json]:
    """False alarms and flagged records, of images and of texts."""
    rows = []
    for group in (group for group in clean if group["setting"] == "all"):
        n, complete = group["runs"], group["runs"] >= LEAST_CLEAN_RUNS
        for title, share, most in (
            ("False alarms", group["alarm"], FALSE_ALARMS),
            ("Flagged clean records", group["flagged"], FLAGGED_CLEAN),
        ):
            short = share is not None and share["value"] > most
            rows.append(
                {
                    "title": f"{title}, {group['pack'].removeprefix('all ')}s",
                    "setting": f"clean-{group['pack'].removeprefix('all ')}",
                    "asked": f"at most {percent(most)} over at least {LEAST_CLEAN_RUNS} clean datasets",
                    "state": _state(short, share is not None, complete=complete),
                    "trials": n,
                    "groups": 1 if n else 0,
                    "possible": 1,
                    "worst": None if share is None else share["value"],
                    "missed": [{"pack": group["pack"], "share": share}] if short else [],
                }
            )
    return rows


def _power_target(power: list[Json]) -> Json:
    groups = [group for group in power if group["pack"] == "all" and group["trials"]]
    short = [group for group in groups if group["share"]["value"] < POWER]
    return {
        "title": "Power statements",
        "setting": "power",
        "asked": f"found in at least {percent(POWER)} of fresh trials at the stated rate",
        "state": _state(
            bool(short),
            bool(groups),
            complete=bool(groups) and all(group["trials"] >= LEAST_POWER_TRIALS for group in groups),
        ),
        "trials": sum(group["trials"] for group in groups),
        "groups": len(groups),
        "possible": len(groups),
        "worst": min((group["share"]["value"] for group in groups), default=None),
        "missed": [{"canary": group["canary"], "share": group["share"]} for group in short],
    }


def _state(missed: bool, measured: bool, *, complete: bool) -> str:
    if missed:
        return "missed"
    if not measured:
        return "did not take" if complete else "not measured"
    return "met" if complete else "met so far"


def _pairs(outcomes: Iterable[Json], part: str, whole: str) -> tuple[list[int], list[int]]:
    each = list(outcomes)
    return [outcome[part] for outcome in each], [outcome[whole] for outcome in each]


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(median(known), 4) if known else None


def _json(share: Share) -> Json | None:
    if math.isnan(share.value):
        return None
    return {"value": round(share.value, 6), "low": round(share.low, 6), "high": round(share.high, 6), "n": share.n}  # fmt: skip
