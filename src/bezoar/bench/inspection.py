"""One measurement of an inspection: open a model of the zoo as a user would, inspect it, and only then read what it is.

The inspector sees the half of the test split that judges nothing (`bezoar.bench.zoo.tasks`).
"""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from bezoar.attacks import ATTACKS
from bezoar.bench.potency import obeyed
from bezoar.bench.version import library_versions, machine
from bezoar.bench.zoo.making import model_path, read_record
from bezoar.bench.zoo.recipes import KINDS, Recipe
from bezoar.bench.zoo.tasks import TASKS
from bezoar.data import Dataset
from bezoar.errors import InputError
from bezoar.inspect.result import Finding, InspectionResult
from bezoar.models.threads import one_thread

if TYPE_CHECKING:
    from torch import nn

    from bezoar.models.opening.model import Model

Mode = Literal["data", "data-free", "calibration", "repair"]
Outcome = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Inspection:
    """A model, and what is measured of it."""

    model: str
    mode: Mode

    @property
    def key(self) -> str:
        """Names the measurement, whatever code makes it."""
        return f"{self.mode}/{self.model}"

    def fields(self) -> dict[str, Any]:
        """For a file."""
        return asdict(self)


def measure(inspection: Inspection, recipe: Recipe, zoo: Path, packs: Path | None) -> Outcome:
    """What came of it: JSON values, with the truth beside what was said."""
    start, cpu = time.perf_counter(), time.process_time()
    half = inspectors_half(recipe.task, packs)
    path = model_path(zoo, recipe.name)
    with one_thread():
        match inspection.mode:
            case "data":
                outcome = inspected(path, half)
            case "data-free":
                outcome = inspected(path, None)
            case "calibration":
                outcome = {"statistics": statistics(path, half)}
            case "repair":
                outcome = repaired(path, half, recipe, zoo, packs)
    return {
        "status": "measured",
        **outcome,
        "truth": truth(known(zoo, recipe)),
        "seconds": round(time.perf_counter() - start, 2),
        "all_cpu_seconds": round(time.process_time() - cpu, 2),
        "machine": machine(),
        "libraries": library_versions(),
    }


def inspectors_half(task: str, packs: Path | None) -> Dataset:
    """The clean images that whoever inspects has."""
    return TASKS[task].halves(packs)[1]


def truth(record: dict[str, Any]) -> dict[str, Any]:
    """What a model is, as far as figures need it; `kind` None for a clean one."""
    poison = record["poison"]
    return {
        "task": record["task"],
        "architecture": record["architecture"],
        "classes": record["classes"],
        "role": record["role"],
        "accuracy": record["accuracy"],
        "kind": None if poison is None else KINDS[poison["setting"]],
        "setting": None if poison is None else poison["setting"],
        "rate": None if poison is None else poison["rate"],
        **{name: record.get(name) for name in ("target", "sources", "success", "control", "took")},
    }


def inspected(path: Path, dataset: Dataset | None) -> Outcome:
    """What the inspection says of the model file at `path`."""
    from bezoar.inspect.pipeline import inspect

    result: InspectionResult = inspect(opened(path), dataset, seed=0)
    return {
        "verdict": str(result.verdict.status),
        "p_value": result.verdict.p_value,
        "findings": [_finding(finding) for finding in result.findings],
        "p_values": [float(f"{label.p_value:.3g}") for label in result.labels],
        "accuracy": result.accuracy,
        "images": result.images,
        "cpu_seconds": {stage: round(seconds, 3) for stage, seconds in result.cpu_seconds.items()},
    }


def statistics(path: Path, dataset: Dataset) -> dict[str, list[float | None]]:
    """Triage's statistics of a clean model, by name, one per label, for `bezoar.inspect.calibration`."""
    from bezoar.inspect.pipeline import inspect

    labels = inspect(opened(path), dataset, seed=0).labels
    names = dict.fromkeys(name for label in labels for name in label.statistics)
    return {name: [_finite(label.statistics.get(name)) for label in labels] for name in names}


def repaired(path: Path, dataset: Dataset, recipe: Recipe, zoo: Path, packs: Path | None) -> Outcome:
    """Inspect, repair by what was found, and only then show the true trigger to both networks."""
    from bezoar.inspect.pipeline import inspect
    from bezoar.inspect.repair import repair, repairable

    model = opened(path)
    inspection = inspect(model, dataset, seed=0)
    if not repairable(inspection):
        return {"status": "impossible", "reason": "the inspection found nothing to repair"}
    done = repair(model, dataset, inspection, seed=0)
    success, accuracy = _judged(model.network(), recipe, zoo, packs)
    success_after, accuracy_after = _judged(done.module.eval(), recipe, zoo, packs)
    return {
        "repair": {
            "success_before": success,
            "success_after": success_after,
            "accuracy_before": accuracy,
            "accuracy_after": accuracy_after,
            "repair_cpu_seconds": round(done.cpu_seconds, 2),
        }
    }


def _judged(network: nn.Module, recipe: Recipe, zoo: Path, packs: Path | None) -> tuple[float, float]:
    """The true trigger's success and the accuracy, on the half of the test split that judges."""
    from bezoar.bench.zoo.training import predict

    record = known(zoo, recipe)
    task = TASKS[recipe.task]
    judging, _ = task.halves(packs)
    attack: Any = ATTACKS[record["attack"]](**record["parameters"])
    seen = obeyed(lambda pixels: predict(network, task.fed(pixels)), judging, attack, recipe.seed)
    pixels, labels = task.samples(judging)
    return seen.success, round(float(np.mean(predict(network, pixels) == labels)), 4)


def known(zoo: Path, recipe: Recipe) -> dict[str, Any]:
    """The record of a model; InputError where it was not built."""
    record = read_record(zoo, recipe)
    if record is None:
        raise InputError(f"{recipe.name}: has no record in {zoo}; build the zoo anew")
    return record


def opened(path: Path) -> Model:
    """As a user would who knows that the network takes images in [0, 1]."""
    from bezoar.models.opening import open_model

    model: Model = open_model(path, preprocessing={"mean": 0.0, "std": 1.0})
    return model


def _finding(finding: Finding) -> Outcome:
    return {
        "kind": finding.kind,
        "severity": str(finding.severity),
        "target": finding.target,
        "sources": list(finding.sources),
        "p_value": finding.p_value,
        "success": finding.success,
        "control": finding.control,
        "trigger": None if finding.trigger is None else finding.trigger.kind,
    }


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(f"{value:.6g}")
