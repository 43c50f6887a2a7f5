"""Building the zoo: every model in a process of its own, some at a time; what is there already is not built again."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from bezoar.bench.processes import Outcome, outcomes
from bezoar.bench.zoo.recipes import Recipe
from bezoar.errors import InputError, OutputError
from bezoar.files import read_file

_MOST_RECORD_BYTES = 2**20


def default_folder() -> Path:
    """`$BEZOAR_CACHE/zoo`, or `~/.cache/bezoar/zoo`."""
    chosen = os.environ.get("BEZOAR_CACHE")
    return (Path(chosen) if chosen else Path.home() / ".cache" / "bezoar") / "zoo"


def model_path(folder: Path, name: str) -> Path:
    """Where a network lies."""
    return folder / "models" / f"{name}.pt2"


def record_path(folder: Path, name: str) -> Path:
    """Where it is said what the network is."""
    return folder / "truth" / f"{name}.json"


def read_record(folder: Path, recipe: Recipe) -> dict[str, Any] | None:
    """What a model is and what came of its training; None where it was not built.

    InputError when the record is of another recipe: the zoo was built by other code.
    """
    path = record_path(folder, recipe.name)
    if not path.is_file():
        return None
    try:
        record: dict[str, Any] = json.loads(read_file(path, _MOST_RECORD_BYTES))
        same = all(record[name] == value for name, value in recipe.fields().items())
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(
            f"{path}: is no record of a model; remove it to have the model built again"
        ) from error
    if not same:
        raise InputError(f"{path}: is of another model of that name; build into another --zoo, or remove it")
    return record


def make(
    recipes: Sequence[Recipe], packs: Path | None, folder: Path, jobs: int, say: Callable[[str], None]
) -> list[str]:
    """Build the models that `folder` lacks; a line to `say` for each. Returns the errors of those that failed."""
    try:
        folder.mkdir(parents=True, exist_ok=True)  # before hours of training, not after
    except OSError as error:
        raise OutputError(f"{folder}: cannot hold a zoo ({error.strerror}); give another folder") from error
    missing = [recipe for recipe in recipes if read_record(folder, recipe) is None]
    failures = []
    for recipe, outcome in outcomes(iter(missing), partial(_build, packs=packs, folder=folder), jobs):
        say(f"{recipe.name}: {_words(outcome)}")
        if outcome.get("status") == "failed":
            failures.append(f"{recipe.name}: {outcome['error']}")
    return failures


def _build(recipe: Recipe, packs: Path | None, folder: Path) -> Outcome:
    """In the process of one model."""
    from bezoar.bench.zoo.building import build

    return build(recipe, packs, folder)


def _words(outcome: Outcome) -> str:
    if outcome.get("status") == "failed":
        return f"failed: {outcome['error']}"
    what = f"{outcome['role']}, accuracy {outcome['accuracy']:.3f}"
    if outcome["attack"] is not None:
        took = "took" if outcome["took"] else "did not take"
        what += f", {outcome['poison']['setting']} {took}: {outcome['success']:.2f} (without: {outcome['control']:.2f})"
    return f"{what}, {outcome['cpu_seconds']:.0f} CPU-s"
