"""Sealing against signing with `model_signing`: wall time, CPU time and memory, as whole command lines.

    python benchmarks/seal.py                       # three datasets, 5 repeats; the peer is installed from PyPI into --venv
    python benchmarks/seal.py --only small --repeats 1
    python benchmarks/seal.py --rows 10000000       # also: a manifest and tree of this many generated rows

Every run is a process of its own, the two take turns, and medians count. `bezoar seal` does more than the peer: it also hashes
every record, writes the manifest and the snapshot tree, and describes the dataset. Both start with the files in the page cache.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peer_environment

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "seal.json"
VENV = Path.home() / ".cache" / "bezoar" / "peers" / "model-signing"
PEERS = {
    "model-signing": "model-signing==1.1.1",
    "pyopenssl": "pyopenssl",
}  # it imports the second and does not ask for it
CONTENDERS = ("bezoar seal", "model_signing sign")


def large(folder: Path) -> None:
    """1 GB in 8 files."""
    for number in range(8):
        source = random.Random(number)  # noqa: S311 - content, not secrets
        with (folder / f"part-{number}.bin").open("wb") as file:
            for _ in range(125):
                file.write(source.randbytes(1_000_000))


def small(folder: Path) -> None:
    """20,000 files of 3 KB in 100 classes."""
    _files(folder, 20_000)


def many(folder: Path) -> None:
    """200,000 files of 3 KB in 100 classes."""
    _files(folder, 200_000)


DATASETS: dict[str, Callable[[Path], None]] = {"large": large, "small": small, "many": many}
GOALS = {
    ("large", "wall_s"): 0.5,
    ("small", "wall_s"): 0.25,
    ("many", "cpu_s"): 0.2,
}


def main() -> None:
    """Measure what was asked for and write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", nargs="*", choices=DATASETS, default=list(DATASETS))
    parser.add_argument("--rows", type=int, help="Also a manifest and tree of this many generated rows.")
    parser.add_argument("--venv", type=Path, default=VENV)
    parser.add_argument("--generated", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.generated:
        print(json.dumps(generated(options.generated)))
        return
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    results["machine"] = _machine()
    if options.only:
        peer = _peer(options.venv)
        for name in options.only:
            results[name] = _measure(name, peer, options.repeats)
            _save(results)
    if options.rows:
        results["generated"] = _run_generated(options.rows)
        _save(results)


def generated(count: int) -> dict[str, Any]:
    """Write a manifest and the tree of `count` rows, check them, and prove records; rows a second, peak memory."""
    import hashlib

    import numpy as np
    import pyarrow as pa

    from bezoar.custody.seal.manifest import GROUP_ROWS, Manifest, ManifestWriter, digests
    from bezoar.custody.seal.snapshot import leaf_hashes
    from bezoar.custody.seal.tile_check import TileCheck
    from bezoar.custody.tlog.merkle import leaf_hash, verify_inclusion
    from bezoar.custody.tlog.storage import Folder
    from bezoar.custody.tlog.tiles import TileTree, TileWriter

    found: dict[str, Any] = {"rows": count}
    source = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        started = time.perf_counter()
        tiles = TileWriter(folder)
        with (
            (folder / "manifest.parquet").open("wb") as file,
            ManifestWriter(file, ["url"], {"format": "x"}) as out,
        ):
            for start in range(0, count, GROUP_ROWS):
                rows = range(start, min(start + GROUP_ROWS, count))
                sha256 = source.integers(0, 256, (len(rows), 32), dtype=np.uint8)
                columns = [
                    pa.array([f"class-{row % 7}/{row:012d}.jpg"[8:] for row in rows]),
                    digests(sha256),
                    pa.array(np.full(len(rows), 3072, np.int64)),
                    pa.array(["image/jpeg"] * len(rows)),
                    pa.array([f"class-{row % 7}" for row in rows]),
                    pa.array([f"https://example.org/{row % 1000}" for row in rows]),
                ]
                for batch in out.write(columns):
                    tiles.extend(leaf_hashes(batch))
        tiles.flush()
        tree = TileTree(Folder(folder), count)
        root = tree.root()
        found["write_rows_per_s"] = count / (time.perf_counter() - started)
        found["manifest_bytes_per_row"] = (folder / "manifest.parquet").stat().st_size / count
        started = time.perf_counter()
        manifest, check = Manifest.open(folder / "manifest.parquet"), TileCheck(Folder(folder))
        for batch in manifest.batches():
            check.extend(leaf_hashes(batch))
        assert check.finish() == root  # noqa: S101
        assert not check.damaged  # noqa: S101
        found["check_rows_per_s"] = count / (time.perf_counter() - started)
        picks = source.integers(0, count, 200).tolist()
        lookups, proofs, sizes = [], [], []
        for pick in [*picks[:50], *picks]:  # the first fifty warm up
            key = manifest.key(pick)
            started = time.perf_counter()
            assert manifest.find(key) == pick  # noqa: S101
            lookups.append(time.perf_counter() - started)
            started = time.perf_counter()
            proof = tree.inclusion(pick)
            verify_inclusion(leaf_hash(manifest.row(pick).leaf()), pick, count, proof, root)
            proofs.append(time.perf_counter() - started)
            sizes.append(32 * len(proof))
        found["find_ms"] = 1000 * statistics.median(lookups[50:])
        found["prove_and_check_ms"] = 1000 * statistics.median(proofs[50:])
        found["proof_bytes"] = max(sizes)
        found["digest"] = hashlib.sha256(root).hexdigest()[:16]
    found["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return found


def _run_generated(count: int) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, __file__, "--generated", str(count)], check=True, capture_output=True, text=True
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _peer(venv: Path) -> Path:
    peer_environment.RELEASES.update(PEERS)
    return peer_environment.python_with(PEERS, venv).with_name("model_signing")


def _measure(name: str, peer: Path, repeats: int) -> dict[str, Any]:
    runs: dict[str, list[dict[str, float]]] = {contender: [] for contender in CONTENDERS}
    with tempfile.TemporaryDirectory() as work_name:
        work = Path(work_name)
        data = work / "data"
        data.mkdir()
        DATASETS[name](data)
        _keys(work)
        os.sync()
        commands = _commands(data, work, peer)
        for repeat in range(-1, repeats):  # the first round fills the page cache
            for contender, command in commands.items():
                shutil.rmtree(work / "data.seal", ignore_errors=True)
                (work / "data.sig").unlink(missing_ok=True)
                os.sync()
                run = _timed(command)
                if repeat >= 0:
                    runs[contender].append(run)
                    print(name, contender, run, flush=True)
        sizes = {
            "bezoar seal": sum(f.stat().st_size for f in (work / "data.seal").rglob("*") if f.is_file())
            if (work / "data.seal").exists()
            else 0,
        }
    medians = {
        contender: {key: statistics.median(run[key] for run in them) for key in them[0]}
        for contender, them in runs.items()
    }
    return {
        "what": DATASETS[name].__doc__,
        "repeats": repeats,
        "runs": runs,
        "medians": medians,
        "sizes": sizes,
    }


def _commands(data: Path, work: Path, peer: Path) -> dict[str, list[str]]:
    bezoar = Path(sys.executable).with_name("bezoar")
    return {
        "bezoar seal": [str(bezoar), "seal", str(data), "--key", str(work / "k.key"), "--full"],
        "model_signing sign": [
            str(peer), "sign", "key", "--private_key", str(work / "k.key"), "--signature", str(work / "data.sig"), str(data),
        ],
    }  # fmt: skip


def _timed(command: list[str]) -> dict[str, float]:
    """Wall and CPU seconds and peak memory (MB) of one process."""
    started = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - started
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}: exit code {process.returncode}")
    return {"wall_s": wall, "cpu_s": usage.ru_utime + usage.ru_stime, "peak_mb": usage.ru_maxrss / 1024}


def _keys(work: Path) -> None:
    from bezoar.custody.signing.keys import generate

    (work / "k.key").write_bytes(generate("p256", None)[0])


def _files(folder: Path, count: int) -> None:
    content = random.Random(0).randbytes(3064)  # noqa: S311 - content, not secrets
    for number in range(100):
        (folder / f"class-{number:02d}").mkdir()
    for number in range(count):
        (folder / f"class-{number % 100:02d}" / f"{number:07d}.png").write_bytes(
            number.to_bytes(8, "big") + content
        )


def _machine() -> dict[str, Any]:
    return {
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 1),
    }


def _save(results: dict[str, Any]) -> None:
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    RESULTS.with_suffix(".md").write_text(_page(results))


def _page(results: dict[str, Any]) -> str:
    machine = results["machine"]
    lines = [
        "# Sealing and signing",
        "",
        f"`python benchmarks/seal.py`, {machine['processor']}, {machine['cores']} cores, Python {machine['python']}, load "
        f"{machine['load']} at the start; medians, whole command lines, taking turns, files in the page cache.",
        "",
        "The peer is `model-signing` 1.1.1, which hashes and signs the files. `bezoar seal --full` does that, and besides hashes",
        "every record, writes the manifest (one row per record), the snapshot tree and a Croissant description, and waits until",
        "all of it is on the disk.",
    ]
    for name in DATASETS:
        if name in results:
            lines += ["", *_table(name, results[name])]
    if "generated" in results:
        lines += ["", *_generated_table(results["generated"])]
    return "\n".join(lines) + "\n"


def _table(name: str, found: dict[str, Any]) -> list[str]:
    medians = found["medians"]
    ours, theirs = (medians[contender] for contender in CONTENDERS)
    lines = [
        f"## {found['what'].removesuffix('.')}",
        "",
        f"{found['repeats']} repeats",
        "",
        "| | wall s | CPU s | peak MB |",
        "|---|---|---|---|",
    ]
    for contender in CONTENDERS:
        one = medians[contender]
        lines.append(f"| {contender} | {one['wall_s']:.2f} | {one['cpu_s']:.2f} | {one['peak_mb']:.0f} |")
    ratios = {key: ours[key] / theirs[key] for key in ours}
    lines.append(f"| ratio | {ratios['wall_s']:.2f} | {ratios['cpu_s']:.2f} | {ratios['peak_mb']:.2f} |")
    for (dataset, key), goal in GOALS.items():
        if dataset == name:
            verdict = "met" if ratios[key] <= goal else "missed"
            lines += [
                "",
                f"Goal: {goal} x the peer's {'wall' if key == 'wall_s' else 'CPU'} time: {verdict}.",
            ]
    if name == "many":
        lines.append(f"Goal: 200 MB: {'met' if ours['peak_mb'] <= 200 else 'missed'}.")
    return lines


def _generated_table(found: dict[str, Any]) -> list[str]:
    return [
        f"## A manifest of {found['rows']:,} generated rows",
        "",
        "| | |",
        "|---|---|",
        f"| written, with its tree: rows a second | {found['write_rows_per_s']:,.0f} |",
        f"| read and checked against the tiles: rows a second | {found['check_rows_per_s']:,.0f} |",
        f"| peak memory, MB | {found['peak_mb']:.0f} |",
        f"| manifest, bytes a row | {found['manifest_bytes_per_row']:.1f} |",
        f"| a key found, ms (warm) | {found['find_ms']:.2f} |",
        f"| a record proved and checked, ms (warm) | {found['prove_and_check_ms']:.2f} |",
        f"| inclusion proof, bytes | {found['proof_bytes']} |",
    ]


if __name__ == "__main__":
    main()
