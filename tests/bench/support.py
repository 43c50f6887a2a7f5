"""Small datasets and made-up measurements."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bezoar.bench.inspection import Inspection
from bezoar.bench.plan import Cell
from bezoar.bench.store import Entry
from bezoar.data import Dataset, from_arrays, open  # noqa: A004 - its documented name


def blobs(per_class: int, seed: int, side: int = 20) -> Dataset:
    """Three classes of one colour each, in noise."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(3), per_class)
    colours = np.array([[200, 60, 60], [60, 200, 60], [60, 60, 200]], np.float64)
    pixels = colours[labels][:, None, None] + rng.normal(0, 40, (len(labels), side, side, 3))
    return from_arrays(np.clip(pixels, 0, 255).astype(np.uint8), labels, ("red", "green", "blue"))


def opinions(path: Path, count: int, seed: int) -> Dataset:
    """Texts of two classes, each with words of its own among common ones, in a new file."""
    rng = np.random.default_rng(seed)
    common = [f"word{n}" for n in range(60)]
    own = (["dull", "slow", "bland", "weak"], ["bright", "quick", "rich", "strong"])
    texts = [
        " ".join(rng.permutation([*rng.choice(common, 8), *rng.choice(own[n % 2], 2)])) for n in range(count)
    ]
    pq.write_table(pa.table({"text": texts, "label": [n % 2 for n in range(count)]}), path)
    return open(path)


def attack_entry(cell: Cell, version: str = "1", took: bool | None = True, **changes: Any) -> Entry:
    """A measured attack, in which 9 of 10 poisoned records are flagged."""
    outcome = {
        "status": "measured",
        "potency": {"clean_accuracy": 0.9, "attack_success": 0.8, "control": 0.1, "took": took},
        "verdict": "poisoned",
        "planted": 10,
        "flagged_planted": 9,
        "clean": 90,
        "flagged_clean": 0,
        "detected": True,
        "auroc": {"label_disagreement": 0.75, "lid": 0.5},
        "scan_seconds": 3.0,
        "seconds": 5.0,
        "peak_mib": 300,
        "machine": "a machine",
        **changes,
    }
    return Entry(cell.key, version, cell.fields(), outcome)


def trained_entry(cell: Cell, version: str = "1", trial: str = "t", took: bool | None = False) -> Entry:
    """An attack that was trained on and not scanned."""
    outcome = {
        "status": "trained",
        "attack": {"name": "badnets", "source": None, "target": 0},
        "poisoning_seconds": 0.5,
        "potency": {"clean_accuracy": 0.8, "attack_success": 0.2, "control": 0.1, "took": took},
        "potency_seconds": 2.0,
        "seconds": 3.0,
        "trial": trial,
        "machine": "a machine",
    }
    return Entry(cell.key, version, cell.fields(), outcome)


def clean_entry(cell: Cell, version: str = "1", alarm: bool = False) -> Entry:
    outcome = {
        "status": "measured",
        "records": 1000,
        "verdict": "poisoned" if alarm else "clean",
        "flagged": 20 if alarm else 0,
        "mislabelled": 0,
        "flagged_mislabelled": 0,
        "scan_seconds": 3.0,
        "seconds": 5.0,
        "peak_mib": 300,
        "machine": "a machine",
    }
    return Entry(cell.key, version, cell.fields(), outcome)


def power_entry(cell: Cell, found: list[bool | None], kind: str = "patch") -> Entry:
    canaries = [
        {"kind": kind, "poison": "a patch", "rate": None if each is None else 0.01, "found": each}
        for each in found
    ]
    outcome = {"status": "measured", "canaries": canaries, "seconds": 5.0, "machine": "a machine"}
    return Entry(cell.key, "1", cell.fields(), outcome)


def inspection_entry(
    model: str, mode: str = "data", *, kind: str | None = None, p_value: float = 0.5, **changes: Any
) -> Entry:
    """An inspection of a clean CIFAR-10 test model, or of one whose backdoor towards label 3 took and is found."""
    inspection = Inspection(model, mode)  # type: ignore[arg-type]
    true = {
        "task": "cifar10",
        "architecture": "resnet",
        "classes": 10,
        "role": "test",
        "accuracy": 0.7,
        "kind": kind,
        "setting": None,
        "rate": None if kind is None else 0.05,
        "target": None if kind is None else 3,
        "sources": [],
        "success": None if kind is None else 0.95,
        "control": None if kind is None else 0.05,
        "took": None if kind is None else True,
    }
    finding = {"kind": "all-to-one", "severity": "backdoor", "target": 3}
    outcome = {
        "status": "measured",
        "truth": true | changes.pop("truth", {}),
        "verdict": "clean" if kind is None else "backdoored",
        "p_value": p_value,
        "findings": [] if kind is None else [finding],
        "cpu_seconds": {"model": 1.0, "margin": 0.5, "patch": 2.0, "evidence": 4.0},
        "machine": "a machine",
        "libraries": "numpy 1",
    }
    return Entry(inspection.key, "1", inspection.fields(), outcome | changes)
