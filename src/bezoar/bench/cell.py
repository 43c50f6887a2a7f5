"""One measurement: make the data, train on it to see whether the poison works, scan it, compare.

The scan gets the dataset alone; the ground truth is used afterwards, to count.
"""

from __future__ import annotations

import tempfile
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bezoar.attacks import cover_mask, truth_mask
from bezoar.bench.honest import honest
from bezoar.bench.packs import PACKS, Sample, load
from bezoar.bench.plan import Cell, Task
from bezoar.bench.power import canaries
from bezoar.bench.statistics import auroc
from bezoar.bench.store import failed_to_take
from bezoar.bench.trial import attempt, kept
from bezoar.bench.version import library_versions, machine
from bezoar.data import Dataset
from bezoar.embed import Encoder, Fitted
from bezoar.errors import UsageError
from bezoar.scan.pipeline import scan
from bezoar.scan.result import ScanResult, Status

Outcome = dict[str, Any]
_NOT_SCORES = ("key", "label", "readable", "finding", "flagged")
_MEMORY = Path("/proc/self/status")


def measure(task: Task, packs: Path | None) -> Outcome:
    """What came of it: JSON values. `status` is "measured", "impossible" with a `reason`, or "trained": without a scan.

    Peak memory is that of this process so far, imports included: measure each cell in a process of its own.
    """
    cell, start, cpu = task.cell, time.perf_counter(), time.process_time()
    sample = load(PACKS[cell.pack], cell.records, cell.seed, packs)
    with tempfile.TemporaryDirectory(prefix="bezoar-bench-") as scratch:
        match cell.kind:
            case "clean":
                outcome = _clean(cell, sample.train)
            case "power":
                outcome = {"canaries": canaries(sample.train, cell.seed, partial(_scan, cell))}
            case _:
                outcome = _attacked(task, sample, packs, Path(scratch))
    outcome.setdefault("status", "measured")
    outcome["seconds"] = round(time.perf_counter() - start, 2)
    outcome["cpu_seconds"] = round(time.process_time() - cpu, 2)
    outcome["peak_mib"] = _peak_mib()
    outcome["machine"] = machine()
    outcome["libraries"] = library_versions()
    return outcome


def _attacked(task: Task, sample: Sample, packs: Path | None, scratch: Path) -> Outcome:
    cell = task.cell
    if task.trained is not None and failed_to_take(task.trained):
        return {"status": "trained", **kept(task.trained)}
    try:
        trial = attempt(cell, sample, packs, scratch, task.trained)
    except UsageError as error:  # the attack itself was built: it does not fit this dataset at this rate
        return {"status": "impossible", "reason": str(error)}
    if not task.scanned or failed_to_take(trial.outcome):
        return {"status": "trained", **trial.outcome}
    copy, encoder = trial.copy, trial.encoder
    result = _scan(cell, copy.dataset, None if encoder is None else Fitted(encoder), canaries=False)
    planted, cover = truth_mask(copy.truth, copy.dataset), cover_mask(copy.truth, copy.dataset)
    return {**trial.outcome, **against_truth(result, planted, cover)}


def _clean(cell: Cell, dataset: Dataset) -> Outcome:
    data = honest(cell.setting, dataset, cell.seed)
    result = _scan(cell, data.dataset)
    flagged = result.flagged
    return {
        **_said(result),
        "flagged": int(flagged[~data.mislabelled].sum()),
        "mislabelled": int(data.mislabelled.sum()),
        "flagged_mislabelled": int(flagged[data.mislabelled].sum()),
    }


def against_truth(result: ScanResult, planted: NDArray[np.bool_], cover: NDArray[np.bool_]) -> Outcome:
    """Counts and ranks of the flagged records; masks (N,). Cover records are neither right nor wrong to flag."""
    flagged, honest_ones = result.flagged, ~planted & ~cover
    counted = planted | honest_ones
    scores = {
        name: auroc(np.asarray(result.scores[name].to_numpy(zero_copy_only=False), np.float64)[counted], planted[counted])
        for name in result.scores.column_names
        if name not in _NOT_SCORES
    }  # fmt: skip
    return {
        **_said(result),
        "planted": int(planted.sum()),
        "flagged_planted": int(flagged[planted].sum()),
        "clean": int(honest_ones.sum()),
        "flagged_clean": int(flagged[honest_ones].sum()),
        "cover": int(cover.sum()),
        "flagged_cover": int(flagged[cover].sum()),
        "detected": result.verdict.status is Status.POISONED and bool(flagged[planted].any()),
        "auroc": {name: round(value, 4) for name, value in scores.items() if value is not None},
    }


def _said(result: ScanResult) -> Outcome:
    return {
        "records": result.n_records,
        "verdict": str(result.verdict.status),
        "findings": _counted(result),
        "views": list(result.views),
        "stages": {stage: round(seconds, 2) for stage, seconds in result.seconds.items()},
        "scan_seconds": round(sum(result.seconds.values()), 2),
    }


def _counted(result: ScanResult) -> dict[str, list[int]]:
    """By severity and kind: how many findings, and records in them."""
    counts: dict[str, list[int]] = {}
    for finding in result.findings:
        count = counts.setdefault(f"{finding.severity} {finding.kind}", [0, 0])
        count[0] += 1
        count[1] += len(finding.records)
    return counts


def _scan(
    cell: Cell, dataset: Dataset, encoder: Encoder | None = None, *, canaries: bool = True
) -> ScanResult:
    """Without a cache: no cell may profit from another. Canaries find nothing: attacks are scanned without them."""
    return scan(dataset, encoder=encoder or "default", depth=cell.depth, seed=cell.seed, canaries=canaries)


def _peak_mib() -> int | None:
    """The largest resident set of this process, where the system says it (Linux)."""
    with suppress(OSError):
        for line in _MEMORY.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) >> 10
    return None
