"""Exact k-NN on CIFAR-10's default-encoder features: Bezoar, the matrix product that bounds it, and other libraries.

    python benchmarks/knn.py                    # 50,000 rows, 5 repeats; peers are installed from PyPI into --venv
    python benchmarks/knn.py --rows 10000 --repeats 1 --only floor bezoar
    python benchmarks/knn.py --million          # also: 1,000,000 x 512 memory-mapped rows, a slice of queries

Every run is a process of its own, contenders take turns, and medians count; the results on disk are kept per number of rows.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from peer_environment import FOLDER, python_with

HERE = Path(__file__).parent
PACKS = Path(os.environ.get("BEZOAR_DATA", HERE.parent.parent / "shared" / "data"))
RESULTS = HERE / "results" / "knn.json"
PEERS = ("scikit-learn", "faiss-cpu", "pyod", "cleanlab")
K, THREADS = 10, int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1))


def floor(rows: Any) -> None:
    """The whole product, by blocks."""
    for start in range(0, len(rows), 1024):
        rows[start : start + 1024] @ rows.T


def bezoar(rows: Any) -> None:
    """What the scan calls."""
    from bezoar.scan.functional.neighbours import nearest

    nearest(rows, K, n_jobs=THREADS)


def bezoar_64(rows: Any) -> None:
    """The scan's own k."""
    from bezoar.scan.functional.neighbours import nearest

    nearest(rows, 64, n_jobs=THREADS)


def scikit_learn(rows: Any) -> None:
    """Brute force, Euclidean on unit rows: the same neighbours."""
    from sklearn.neighbors import NearestNeighbors

    NearestNeighbors(n_neighbors=K, algorithm="brute", n_jobs=THREADS).fit(rows).kneighbors()


def faiss_cpu(rows: Any) -> None:
    """IndexFlatIP; finds each row itself, so one more."""
    import faiss

    faiss.omp_set_num_threads(THREADS)
    index = faiss.IndexFlatIP(rows.shape[1])
    index.add(rows)
    index.search(rows, K + 1)


def pyod(rows: Any) -> None:
    """Its k-NN detector by brute force."""
    from pyod.models.knn import KNN

    KNN(n_neighbors=K, algorithm="brute", n_jobs=THREADS).fit(rows)


def cleanlab(rows: Any) -> None:
    """OutOfDistribution at its defaults."""
    from cleanlab.outlier import OutOfDistribution

    OutOfDistribution().fit_score(features=rows, verbose=False)


CONTENDERS: dict[str, Callable[[Any], None]] = {
    "floor": floor,
    "bezoar": bezoar,
    "bezoar k=64": bezoar_64,
    "scikit-learn": scikit_learn,
    "faiss-cpu": faiss_cpu,
    "pyod": pyod,
    "cleanlab": cleanlab,
}


def main() -> None:
    """Run the contenders in turns and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    parser.add_argument("--venv", type=Path, default=FOLDER)
    parser.add_argument("--million", action="store_true")
    parser.add_argument("--run", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.run:
        print(json.dumps(_run(*args.run)))
        return
    done: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    runs: dict[str, list[Any]] = {name: [] for name in args.only}
    with tempfile.TemporaryDirectory() as folder:
        features = Path(folder) / "features.npy"
        np.save(features, _features(args.rows))
        for _ in range(args.repeats):
            for name in args.only:
                runs[name].append(_apart(name, features, args.venv))
                print(name, runs[name][-1], flush=True)
        done[str(args.rows)] = {
            **done.get(str(args.rows), {}),
            **{
                name: {key: float(np.median([run[key] for run in each])) for key in each[0]}
                for name, each in runs.items()
            },
        }
        if args.million:
            done["million"] = _apart("million", Path(folder) / "million.npy", args.venv)
    done["machine"] = (
        f"{platform.machine()}, {os.cpu_count()} cores, {THREADS} threads, load {os.getloadavg()[0]:.1f}"
    )
    RESULTS.write_text(json.dumps(done, indent=1) + "\n")
    table = _table(done)
    RESULTS.with_suffix(".md").write_text(table)
    print(table)


def _features(n: int) -> Any:
    """Unit rows, in the order of the pack."""
    import bezoar as package
    from bezoar.embed import default_cache, features, resolve
    from bezoar.scan.functional.neighbours import unit_rows

    dataset = package.open(PACKS / "cifar10" / "train.parquet")
    rows, _ = features(dataset, resolve("default"), seed=0, cache=default_cache())
    return unit_rows(rows[:n])


def _apart(name: str, features: Path, folder: Path) -> Any:
    """One contender in its own process: seconds and peak memory."""
    python = python_with(PEERS, folder) if name in PEERS else Path(sys.executable)
    command = [str(python), __file__, "--run", name, str(features)]
    return json.loads(
        subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1]
    )


def _run(name: str, path: str) -> dict[str, float]:
    if name == "million":
        return _million(Path(path))
    rows = np.load(path)
    CONTENDERS[name](rows[:300])  # imports are not counted
    wall, cpu = time.perf_counter(), time.process_time()
    CONTENDERS[name](rows)
    return {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall, "peak_gb": _peak()}


def _million(path: Path) -> dict[str, float]:
    """Queries of 8,192 rows among a million; `hours_extrapolated` is what all queries would take at that speed."""
    from bezoar.scan.functional.neighbours import nearest_among

    n, slice_ = 1_000_000, 8192
    rng = np.random.default_rng(0)
    mapped = np.lib.format.open_memmap(path, "w+", np.float32, (n, 512))
    for start in range(0, n, 10_000):
        mapped[start : start + 10_000] = rng.standard_normal((10_000, 512), np.float32)
    del mapped
    rows = np.load(path, mmap_mode="r")
    wall, cpu = time.perf_counter(), time.process_time()
    nearest_among(rows[:slice_], rows, 64, n_jobs=THREADS)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return {
        "queries": slice_,
        "cpu": cpu,
        "wall": wall,
        "cpu_hours_extrapolated": cpu * n / slice_ / 3600,
        "peak_gb": _peak(),
    }


def _peak() -> float:
    """Peak resident memory of this program in GB (`ru_maxrss` would count the parent's, inherited by fork)."""
    line = next(
        line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")
    )
    return int(line.split()[1]) / 2**20


def _table(done: dict[str, Any]) -> str:
    lines = [
        f"# Exact k-NN, D = 512, k = {K}\n\n`python benchmarks/knn.py`, {done['machine']}; medians, a process each.\n"
    ]
    for rows in (key for key in done if key.isdigit()):
        lines += [
            f"## {rows} rows\n",
            "| contender | CPU s | of the floor | wall s | peak GB |",
            "|---|---|---|---|---|",
        ]
        least = done[rows].get("floor", {}).get("cpu", float("nan"))
        lines += [
            f"| {name} | {run['cpu']:.1f} | {run['cpu'] / least:.2f} | {run['wall']:.1f} | {run['peak_gb']:.2f} |"
            for name, run in done[rows].items()
        ]
        lines.append("")
    if million := done.get("million"):
        lines.append(
            f"1,000,000 memory-mapped rows, k = 64: {million['queries']:.0f} queries: {million['cpu']:.0f} CPU s, peak "
            f"{million['peak_gb']:.2f} GB (mapped file included); all rows: about {million['cpu_hours_extrapolated']:.1f} CPU h."
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
