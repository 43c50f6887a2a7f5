"""The scan on real data: stop signs with a patch relabelled "speed limit 60", all-to-one patches, and clean packs.

    python benchmarks/scan_accept.py            # the whole table (about an hour on 2 cores), resumable
    python benchmarks/scan_accept.py --table    # only print the table from the results on disk

Every cell poisons a copy of GTSRB train32 through the public API, scans it with the defaults, and compares the flags with the
ground truth, which the scan never sees. Results go to benchmarks/results/scan_accept.json after every cell, the
table to benchmarks/results/scan_accept.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import bezoar
from bezoar.attacks import ATTACKS, read_truth, truth_mask, write_poisoned

HERE = Path(__file__).parent
PACKS = Path(os.environ.get("BEZOAR_DATA", HERE.parent.parent / "shared" / "data"))
RESULTS = HERE / "results" / "scan_accept.json"
STOP, LIMIT_60 = 14, 3
RATES = (0.002, 0.01, 0.05)
SEEDS = range(5)
CLEAN = {
    "gtsrb": "gtsrb/train32.parquet",
    "cifar10": "cifar10/train.parquet",
    "fashion_mnist": "fashion_mnist/train-images-idx3-ubyte.gz",
    "flowers128": "flowers128/train.parquet",
}


def main() -> None:
    """Run the cells that are not on disk yet, then print and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--table", action="store_true", help="only print the table from the results on disk")
    table_only = parser.parse_args().table
    done: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"cells": {}}
    for name, run in {} if table_only else _cells():
        if name not in done["cells"]:
            done["cells"][name] = run()
            done["machine"] = (
                f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
            )
            done["version"] = bezoar.__version__
            RESULTS.write_text(json.dumps(done, indent=1) + "\n")
            print(name, done["cells"][name], flush=True)
    table = _table(done)
    (HERE / "results" / "scan_accept.md").write_text(table)
    print(table)


def _cells() -> Any:
    for pack, file in CLEAN.items():
        yield f"clean/{pack}", lambda file=file: _clean(PACKS / file)
    for seed in SEEDS:
        for rate in RATES:
            for source in (STOP, None):
                kind = "stop-to-60" if source is not None else "all-to-60"
                yield f"{kind}/{rate}/{seed}", lambda s=source, r=rate, n=seed: _poisoned(s, r, n)


def _clean(path: Path) -> dict[str, Any]:
    start = time.perf_counter()
    result = bezoar.scan(bezoar.open(path))
    return {
        "records": result.n_records,
        "verdict": str(result.verdict.status),
        "flagged": int(result.flagged.sum()),
        "findings": [[f.kind, str(f.severity), len(f.records)] for f in result.findings],
        "sensitivity": result.verdict.sensitivity[0].smallest_rate,
        "seconds": round(time.perf_counter() - start, 1),
    }


def _poisoned(source: int | None, rate: float, seed: int) -> dict[str, Any]:
    """One cell: the pattern and its place vary with the seed; a class smaller than the rate is poisoned whole."""
    clean = bezoar.open(PACKS / CLEAN["gtsrb"])
    place = np.random.default_rng(seed).integers(0, 30, 2)
    attack = ATTACKS["badnets"](
        source=source, target=LIMIT_60, size=3, pattern_seed=seed, place=f"{place[0]},{place[1]}"
    )
    if source is not None:
        rate = min(rate, int((clean.labels == source).sum()) / len(clean))
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "poisoned.parquet"
        write_poisoned(bezoar.poison(clean, attack, rate=rate, seed=seed), out)
        dataset = bezoar.open(out)
        planted = truth_mask(read_truth(Path(f"{out}.truth.json")), dataset)
        start = time.perf_counter()
        result = bezoar.scan(dataset, seed=seed)
        seconds = time.perf_counter() - start
    flagged = result.flagged
    patterns = [f.details for f in result.findings if f.kind == "repeated-pattern" and f.severity == "poison"]
    return {
        "rate": round(rate, 5),
        "planted": int(planted.sum()),
        "verdict": str(result.verdict.status),
        "tpr": round(float(flagged[planted].mean()), 4),
        "fpr": round(float(flagged[~planted].mean()), 6),
        "place": [int(v) for v in place],
        "found_at": [[d["top"], d["left"], d["height"], d["width"]] for d in patterns],
        "seconds": round(seconds, 1),
    }


def _table(done: dict[str, Any]) -> str:
    cells = done["cells"]
    lines = [
        f"# Scan on real data\n\nbezoar {done.get('version')} on {done.get('machine')}. `python benchmarks/scan_accept.py`\n",
        "## Poisoned GTSRB train32, 3x3 patch, 5 seeds (pattern and place vary)\n",
        "| poison | rate | planted | poisoned verdicts | TPR min / mean | FPR max | trigger in its place | seconds (median) |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for kind in ("stop-to-60", "all-to-60"):
        for rate in RATES:
            runs = [cells[key] for s in SEEDS if (key := f"{kind}/{rate}/{s}") in cells]
            if runs:
                right = sum(any(f == [*r["place"], 3, 3] for f in r["found_at"]) for r in runs)
                tpr = [r["tpr"] for r in runs]
                lines.append(
                    f"| {kind} | {runs[0]['rate']:.2%} | {runs[0]['planted']} "
                    f"| {sum(r['verdict'] == 'poisoned' for r in runs)}/{len(runs)} | {min(tpr):.1%} / {np.mean(tpr):.1%} "
                    f"| {max(r['fpr'] for r in runs):.3%} | {right}/{len(runs)} | {np.median([r['seconds'] for r in runs]):.0f} |"
                )
    lines += [
        "\nA class with fewer records than the rate asks for is poisoned whole; the table shows the rate planted.\n",
        "## Clean packs\n",
        "| pack | records | verdict | flagged as poison | other findings (records) | patch noticed from | seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    for pack in CLEAN:
        if run := cells.get(f"clean/{pack}"):
            others = ", ".join(
                f"{kind} ({n})" for kind, severity, n in run["findings"] if severity != "poison"
            )
            noticed = f"{run['sensitivity']:.1%}" if run["sensitivity"] else "not at 5 %"
            lines.append(
                f"| {pack} | {run['records']} | {run['verdict']} | {run['flagged']} ({run['flagged'] / run['records']:.3%}) "
                f"| {others or 'none'} | {noticed} | {run['seconds']:.0f} |"
            )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
