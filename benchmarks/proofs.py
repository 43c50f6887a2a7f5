"""Snapshots of millions of records: writing them, proving and checking records, telling two of them apart.

    python benchmarks/proofs.py                          # 1,000,000 records, about a minute
    python benchmarks/proofs.py --records 10000000       # about ten minutes and 2.5 GB in --folder

The records are made up (no content is hashed: that is `bezoar seal`'s time, measured elsewhere); manifest and tree are written,
read, proved and compared by the code that seals use. Everything lies in a temporary folder. Results of one number of records
replace those of the same number in benchmarks/results/proofs.json; proofs.md is the table of all.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bezoar.custody.seal.absence import AbsenceProof
from bezoar.custody.seal.checking import Content, check_absent, check_record
from bezoar.custody.seal.diffing import Counts, differences
from bezoar.custody.seal.layout import MANIFEST
from bezoar.custody.seal.manifest import GROUP_ROWS, Manifest, digests
from bezoar.custody.seal.proving import prove, prove_absent, sign_snapshot
from bezoar.custody.seal.records import Layout
from bezoar.custody.seal.sealing import write_tables
from bezoar.custody.tlog.keys import ed25519_signer
from bezoar.custody.tlog.proof import TlogProof
from bezoar.custody.tlog.storage import Folder
from bezoar.custody.tlog.tiles import TileTree

RESULTS = Path(__file__).parent / "results" / "proofs.json"
PROOFS, WARM_UP, LABELS, SITES = 1000, 3000, 1000, 9973
CHANGES = (1, 10, 1000)
SIGNER = ed25519_signer(Ed25519PrivateKey.generate(), "example.org/benchmark")

Row = dict[str, Any]


@dataclass(frozen=True)
class MadeUp:
    """`count` records as `write_tables` takes them. `relabelled` get another label; `extra` more come before the first."""

    count: int
    relabelled: frozenset[int] = frozenset()
    extra: int = 0
    format: str = "folder"
    sources: tuple[str, ...] = ("url",)

    def __len__(self) -> int:
        return self.count + self.extra

    def blocks(self) -> Iterator[list[pa.Array]]:
        """The columns of the manifest, a row group at a time."""
        for start in range(-self.extra, self.count, GROUP_ROWS):
            numbers = range(start, min(start + GROUP_ROWS, self.count))
            yield [
                pa.array([key(n) for n in numbers]),
                digests(np.concatenate([_digests(block, numbers) for block in _blocks(numbers)])),
                pa.array([size(n) for n in numbers], pa.int64()),
                pa.array(["image/png"] * len(numbers)),
                pa.array([self._label(n) for n in numbers]),
                pa.array([f"https://site{n % SITES}.example/{n}.png" for n in numbers]),
            ]

    def _label(self, number: int) -> str:
        return "planted" if number in self.relabelled else f"class {number % LABELS}"


def key(number: int) -> str:
    """Keys sort as their numbers do; negative ones come first."""
    return f"images/{number:09d}.png" if number >= 0 else f"images/!{number + 10**9:09d}.png"


def size(number: int) -> int:
    """Bytes that the record is said to have."""
    return 2000 + number % 5000


class Snapshot:
    """What diffs and proofs read of a seal."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def manifest(self) -> Manifest:
        """The rows."""
        return Manifest.open(self.folder / MANIFEST)

    @cached_property
    def tree(self) -> TileTree:
        """The tree."""
        return TileTree(Folder(self.folder), len(self.manifest))


def main() -> None:
    """Measure one number of records and write the table of all."""
    args = _arguments()
    with tempfile.TemporaryDirectory(prefix="bezoar-proofs-", dir=args.folder) as folder:
        row = measure(args.records, Path(folder))
    known = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    rows = sorted(
        [*(each for each in known if each["records"] != args.records), row], key=lambda each: each["records"]
    )
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n")
    RESULTS.with_suffix(".md").write_text(table(rows))
    print(table(rows))


def measure(records: int, folder: Path) -> Row:
    """All figures of one number of records; times in seconds unless the name says otherwise."""
    base = folder / "base"
    written = _write(base, MadeUp(records))
    row: Row = {
        "records": records,
        "write_s": written[0],
        "records_per_s": records / written[0],
        "records_per_processor_s": records / written[1],
        "write_peak_mib": _peak_mib(),
        "manifest_bytes": (base / MANIFEST).stat().st_size,
        "tile_bytes": sum(
            path.stat().st_size for path in base.rglob("*") if path.is_file() and path.name != MANIFEST
        ),
    }
    row |= _proofs(base, records)
    row["diff"] = dict(_diffs(base, records, folder))
    return row | {"peak_mib": _peak_mib(), **_machine()}


def _proofs(base: Path, records: int) -> Row:
    """Proofs of random records: from a snapshot opened a moment ago, and from one that has been asked before."""
    numbers = [int(n) for n in np.random.default_rng(0).integers(0, records, PROOFS)]
    snapshot = Snapshot(base)
    note = sign_snapshot(snapshot, SIGNER)
    _, cold = _timed(numbers[:20], lambda n: prove(Snapshot(base), key(n), note))
    for number in np.random.default_rng(1).integers(0, records, WARM_UP):
        prove(snapshot, key(int(number)), note)
    texts, made = _timed(numbers, lambda n: prove(snapshot, key(n), note).to_bytes())
    gaps, gaps_made = _timed(numbers, lambda n: prove_absent(snapshot, key(n) + "!", note).to_bytes())
    contents = {n: Content(_digest(n), size(n)) for n in numbers}
    by_number = dict(zip(numbers, texts, strict=True))
    absences = dict(zip(numbers, gaps, strict=True))
    _, checked = _timed(
        numbers, lambda n: check_record(TlogProof.parse(by_number[n]), SIGNER.key, contents[n], key=key(n))
    )
    _, gaps_checked = _timed(
        numbers, lambda n: check_absent(AbsenceProof.parse(absences[n]), SIGNER.key, key(n) + "!")
    )
    return {
        "proof_bytes": _spread([len(text) for text in texts]),
        "absence_bytes": _spread([len(text) for text in gaps]),
        "hashes": _spread([len(TlogProof.parse(text).hashes) for text in texts]),
        "prove_cold_ms": cold,
        "prove_ms": made,
        "check_ms": checked,
        "prove_absent_ms": gaps_made,
        "check_absent_ms": gaps_checked,
    }


def _diffs(base: Path, records: int, folder: Path) -> Iterator[tuple[str, Row]]:
    """Another snapshot for each case, compared from files that were closed in between."""
    rng = np.random.default_rng(2)
    cases = {
        **{
            f"{n:,} relabelled": MadeUp(records, frozenset(rng.choice(records, n, replace=False).tolist()))
            for n in CHANGES
        },
        "1 added before all": MadeUp(records, extra=1),
    }
    other = folder / "other"
    for name, made_up in cases.items():
        _write(other, made_up)
        counts = Counts()
        start, used = time.perf_counter(), time.process_time()
        for each in differences(Snapshot(base), Snapshot(other)):
            counts.add(each)
        seconds, processor = time.perf_counter() - start, time.process_time() - used
        expected = len(made_up.relabelled) + made_up.extra
        if counts.total != expected:
            raise SystemExit(f"{name}: found {counts.total} differences instead of {expected}")
        yield name, {"seconds": seconds, "processor_s": processor, "differences": counts.total}
        shutil.rmtree(other)


def _write(folder: Path, records: MadeUp) -> tuple[float, float]:
    """Seconds of the clock, and of the processor."""
    folder.mkdir()
    start, used = time.perf_counter(), time.process_time()
    write_tables(folder, records, Layout())  # type: ignore[arg-type]
    return time.perf_counter() - start, time.process_time() - used


def _blocks(numbers: range) -> range:
    return range(numbers.start // GROUP_ROWS, (numbers.stop - 1) // GROUP_ROWS + 1)


def _digests(block: int, numbers: range) -> Any:
    """Random bytes in place of digests, shape (N, 32), for those of `numbers` that are in this block."""
    values = np.random.default_rng(block + 10**6).integers(0, 256, (GROUP_ROWS, 32), np.uint8)
    start = block * GROUP_ROWS
    return values[max(numbers.start - start, 0) : numbers.stop - start]


def _digest(number: int) -> bytes:
    return _digests(number // GROUP_ROWS, range(number, number + 1))[0].tobytes()


def _timed(numbers: list[int], action: Callable[[int], Any]) -> tuple[list[Any], Row]:
    """What the action gives for each number, and the spread of its milliseconds: of the clock, and of the processor."""
    results, clock, processor = [], [], []
    for number in numbers:
        start, used = time.perf_counter(), time.process_time()
        results.append(action(number))
        clock.append(1000 * (time.perf_counter() - start))
        processor.append(1000 * (time.process_time() - used))
    return results, {**_spread(clock), "processor": statistics.median(processor)}


def _spread(values: list[float] | list[int]) -> Row:
    ordered = sorted(values)
    return {
        "median": statistics.median(ordered),
        "p95": ordered[int(0.95 * (len(ordered) - 1))],
        "max": ordered[-1],
    }


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _machine() -> Row:
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    packages = {name: version(name) for name in ("pyarrow", "cryptography")}
    return {
        "machine": model,
        "python": platform.python_version(),
        "packages": packages,
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
    }


def table(rows: list[Row]) -> str:
    """The page: a column per number of records."""
    lines = {
        "manifest and tree written, records/s": lambda r: (
            f"{r['records_per_s']:,.0f} [{r['records_per_processor_s']:,.0f}]"
        ),
        "memory of the process while writing, MiB": lambda r: f"{r['write_peak_mib']:,.0f}",
        "manifest, bytes per record": lambda r: f"{r['manifest_bytes'] / r['records']:.1f}",
        "tiles, bytes per record": lambda r: f"{r['tile_bytes'] / r['records']:.1f}",
        "proof of a record, bytes": lambda r: (
            f"{r['proof_bytes']['median']:,.0f} (largest {r['proof_bytes']['max']:,})"
        ),
        "hashes in it": lambda r: f"{r['hashes']['median']:.0f}",
        "made, ms": lambda r: _times(r["prove_ms"]),
        "made from a snapshot that was not open yet, ms": lambda r: _times(r["prove_cold_ms"]),
        "checked, ms": lambda r: _times(r["check_ms"]),
        "proof of absence, bytes": lambda r: (
            f"{r['absence_bytes']['median']:,.0f} (largest {r['absence_bytes']['max']:,})"
        ),
        "absence made, ms": lambda r: _times(r["prove_absent_ms"]),
        "absence checked, ms": lambda r: _times(r["check_absent_ms"]),
        **{f"diff, {name}, s": _diff_of(name) for name in rows[0]["diff"]},
    }
    head = ["records", *(f"{row['records']:,}" for row in rows)]
    body = [[name, *(show(row) for row in rows)] for name, show in lines.items()]
    text = [f"| {' | '.join(cells)} |" for cells in (head, ["---", *("--:" for _ in rows)], *body)]
    where = {f"{row['machine']}, Python {row['python']}, {row['date']}" for row in rows}
    return "\n".join(
        [
            "# Proofs and diffs of large snapshots",
            "",
            "Made by `python benchmarks/proofs.py --records N`. Times are median / 95 % / longest of "
            f"{PROOFS:,} random records (20 where the snapshot was not open yet), in one thread. In brackets: "
            "processor time (its median), which does not count other work that the machine did meanwhile.",
            f"Snapshots are warm after {WARM_UP:,} other proofs.",
            "",
            *text,
            "",
            *sorted(where),
            "",
        ]
    )


def _times(spread: Mapping[str, float]) -> str:
    clock = " / ".join(f"{spread[name]:.2f}" for name in ("median", "p95", "max"))
    return f"{clock} [{spread['processor']:.2f}]"


def _diff_of(name: str) -> Callable[[Row], str]:
    return lambda row: f"{row['diff'][name]['seconds']:.2f} [{row['diff'][name]['processor_s']:.2f}]"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--records", type=int, default=1_000_000, help="how many (default: 1,000,000)")
    parser.add_argument(
        "--folder", type=Path, help="where the temporary folder is made (default: the system's)"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
