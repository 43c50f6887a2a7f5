"""Which inspections a benchmark consists of, and running them: each in a process of its own, every outcome on disk."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from bezoar.bench.inspection import Inspection, Outcome, known, truth
from bezoar.bench.processes import outcomes
from bezoar.bench.store import Entry, Log, newest, read_entries, replace
from bezoar.bench.zoo.recipes import Recipe
from bezoar.errors import InputError
from bezoar.progress import track

_REQUIRED = {
    "data": {"truth", "verdict", "p_value", "findings", "cpu_seconds"},
    "data-free": {"truth", "verdict", "p_value", "findings", "cpu_seconds"},
    "calibration": {"truth", "statistics"},
    "repair": {"truth", "repair"},
}  # of a measured outcome


def plan(recipes: Sequence[Recipe], zoo: Path, repair: int) -> list[Inspection]:
    """All judged models, with clean images and without, then `repair` of those whose attack took, kind by kind in turn."""
    tested = [recipe.name for recipe in recipes if recipe.role != "calibration"]
    return [
        *(Inspection(name, "data") for name in tested),
        *(Inspection(name, "data-free") for name in tested),
        *(Inspection(name, "repair") for name in (_to_repair(recipes, zoo)[:repair] if repair else ())),
    ]


def calibrations(recipes: Sequence[Recipe]) -> list[Inspection]:
    """The calibration models."""
    return [Inspection(recipe.name, "calibration") for recipe in recipes if recipe.role == "calibration"]


def run(
    inspections: Sequence[Inspection],
    recipes: Sequence[Recipe],
    zoo: Path,
    packs: Path | None,
    log: Log,
    version: str,
    jobs: int,
) -> list[str]:
    """Measure `inspections`, `jobs` at a time, appending each outcome to `log`; the errors of those that failed."""
    by_name = {recipe.name: recipe for recipe in recipes}
    work = partial(_measure, recipes=by_name, zoo=zoo, packs=packs)
    failures = []
    with track("inspect", len(inspections)) as bar:
        for inspection, outcome in outcomes(iter(inspections), work, jobs):
            log.append(Entry(inspection.key, version, inspection.fields(), outcome))
            if outcome["status"] == "failed":
                failures.append(f"{inspection.key}: {outcome['error']}")
            bar.advance()
    return failures


def read(path: Path) -> list[Entry]:
    """A log of inspections; InputError when it is none."""
    return read_entries(path, _check)


def measured(entries: list[Entry], version: str | None = None) -> dict[str, Entry]:
    """Per key the last entry, of `version` or of any, that has figures."""
    return {
        key: entry for key, entry in newest(entries, version).items() if entry.outcome["status"] == "measured"
    }


def write_calibration(done: Mapping[str, Entry], path: Path) -> int:
    """Fit the nulls of the calibration models in `done` and write them to `path`; how many models they rest on."""
    from bezoar.inspect.calibration import calibrate

    models = [
        {name: np.array(values, np.float64) for name, values in entry.outcome["statistics"].items()}
        for entry in done.values()
        if entry.cell["mode"] == "calibration"
    ]
    if not models:
        raise InputError("no calibration model was measured; there is nothing to calibrate with")
    replace(path, (json.dumps(calibrate(models), indent=1, allow_nan=False) + "\n").encode())
    return len(models)


def _measure(inspection: Inspection, recipes: Mapping[str, Recipe], zoo: Path, packs: Path | None) -> Outcome:
    """In the process of one inspection."""
    from bezoar.bench.inspection import measure

    return measure(inspection, recipes[inspection.model], zoo, packs)


def _to_repair(recipes: Sequence[Recipe], zoo: Path) -> list[str]:
    by_kind: dict[Any, list[str]] = {}
    for recipe in recipes:
        if recipe.poison is not None and (record := known(zoo, recipe))["took"]:
            by_kind.setdefault(truth(record)["kind"], []).append(recipe.name)
    turns = zip_longest(*by_kind.values())
    return [name for turn in turns for name in turn if name is not None]


def _check(entry: Entry) -> None:
    """ValueError, KeyError or TypeError for an entry that lacks what its readers need."""
    inspection, outcome = Inspection(**entry.cell), entry.outcome
    if inspection.key != entry.key:
        raise ValueError("the key is another inspection's")
    if outcome["status"] not in ("measured", "impossible", "failed"):
        raise ValueError("an unknown status")
    if outcome["status"] == "measured" and (missing := _REQUIRED[inspection.mode] - outcome.keys()):
        raise ValueError(f"lacks {missing}")
