"""`bezoar index` on a large list: rows a second and peak memory, on a generated one whose every finding is known.

    python benchmarks/index.py                      # 1,000,000 rows, half a minute
    python benchmarks/index.py --rows 10000000      # some minutes, 1 GB of list and 0.5 GB of temporary files in --folder

Domains follow a power law, as those of LAION and COYO do. Planted rows are counted and compared with what is found; a wrong count
ends the run. Every measurement is a process of its own, whose peak memory the kernel tells. Results of one number of rows
replace those of the same number in benchmarks/results/index.json; index.md is the table of all.
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
from datetime import UTC, date, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

RESULTS = Path(__file__).parent / "results" / "index.json"
CHUNK = 1 << 17
EVERY = 50_000  # rows of which one is planted, of each kind
KINDS = (
    "bad_scheme",
    "userinfo",
    "ip_host",
    "local_host",
    "odd_port",
    "hidden_characters",
    "hash_malformed",
    "two_hashes",
    "again",
)
ODD = {
    "bad_scheme": "file:///etc/passwd?{n}",
    "userinfo": "http://user@example.com/{n}",
    "ip_host": "http://93.184.216.34/{n}",
    "local_host": "http://169.254.169.254/{n}",
    "odd_port": "https://example.com:8443/{n}",
    "hidden_characters": "https://example.com/\u202e{n}",
}
SUFFIXES = (
    "com",
    "com",
    "com",
    "net",
    "org",
    "de",
    "co.uk",
    "com.br",
    "ru",
    "jp",
    "fr",
    "it",
    "nl",
    "pl",
    "com.au",
)

Row = dict[str, Any]


def main() -> None:
    """Generate, measure, write the table."""
    args = _arguments()
    if args.measure:
        print(json.dumps(_measure(args.measure, args.list)))
        return
    with tempfile.TemporaryDirectory(prefix="bezoar-index-", dir=args.folder) as folder:
        path = Path(folder) / "list.parquet"
        planted = generate(path, args.rows)
        row: Row = {"rows": args.rows, "bytes": path.stat().st_size, **_machine()}
        for what in ("analyze", "sign"):
            runs = [_run(what, path, folder) for _ in range(args.repeats)]
            row[what] = sorted(runs, key=lambda run: run["seconds"])[len(runs) // 2]
            print(f"{what}: {row[what]}", file=sys.stderr)
        _check(planted, row["analyze"].pop("found"))
    known = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    rows = sorted(
        [*(each for each in known if each["rows"] != args.rows), row], key=lambda each: each["rows"]
    )
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n")
    RESULTS.with_suffix(".md").write_text(table(rows))
    print(table(rows))


def generate(path: Path, rows: int) -> dict[str, int]:
    """A list of so many rows, and how many of each kind were planted."""
    rng = np.random.default_rng(0)
    domains = max(100, rows // 60)
    planted = dict.fromkeys(KINDS, 0)
    schema = pa.schema([("url", pa.string()), ("caption", pa.string()), ("sha256", pa.string())])
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for start in range(0, rows, CHUNK):
            count = min(CHUNK, rows - start)
            ranks = np.minimum((domains * rng.random(count) ** 3).astype(int), domains - 1).tolist()
            hosts = rng.integers(0, 3, count).tolist()
            plain = (rng.random(count) < 0.2).tolist()
            digests = _hex(rng, count)
            urls = [
                f"{'http' if plain[i] else 'https'}://{('www.', 'img.', '')[hosts[i]]}site-{ranks[i]}."
                f"{SUFFIXES[ranks[i] % len(SUFFIXES)]}/uploads/2021/05/{start + i}-a-picture-of-something.jpg"
                for i in range(count)
            ]
            _plant(start, urls, digests, planted)
            captions = [f"a picture of something, number {start + i}" for i in range(count)]
            writer.write_table(pa.table([urls, captions, digests], schema=schema))
    return planted


def _hex(rng: np.random.Generator, count: int) -> list[str]:
    text = rng.bytes(32 * count).hex()
    return [text[64 * i : 64 * i + 64] for i in range(count)]


def _plant(start: int, urls: list[str], digests: list[str], planted: dict[str, int]) -> None:
    """One row of each kind in `EVERY`, each beside an ordinary one."""
    for place in range(-start % EVERY, len(urls) - 2 * len(KINDS), EVERY):
        for step, kind in enumerate(KINDS):
            row = place + 2 * step + 1
            if kind in ODD:
                urls[row] = ODD[kind].format(n=start + row)
            elif kind == "hash_malformed":
                digests[row] = digests[row][:32]
            else:
                urls[row] = urls[row - 1]
                if kind == "again":
                    digests[row] = digests[row - 1]
            planted[kind] += 1


def _check(planted: dict[str, int], found: dict[str, int]) -> None:
    expected = {
        **planted,
        "two_hashes": 2 * planted["two_hashes"],
        "again": planted["again"] + planted["two_hashes"],
    }
    if found != expected:
        raise SystemExit(f"found {found}\ninstead of {expected}")


def _run(what: str, path: Path, folder: str) -> Row:
    """The measurement in a process of its own."""
    argv = [sys.executable, __file__, "--measure", what, "--list", str(path)]
    start = time.perf_counter()
    with subprocess.Popen(
        argv, stdout=subprocess.PIPE, text=True, env=os.environ | {"TMPDIR": folder}
    ) as process:
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        text = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{what} failed")
    return {
        "seconds": time.perf_counter() - start,
        "processor_s": usage.ru_utime + usage.ru_stime,
        "peak_mib": usage.ru_maxrss / 1024,
        **json.loads(text),
    }


def _measure(what: str, path: Path) -> Row:
    from bezoar.acquire.lists.reading import UrlList

    source = UrlList.open(path)
    if what == "analyze":
        from bezoar.acquire.lists.analysis import analyze
        from bezoar.acquire.lists.domains import suffix_list

        analysis = analyze(source, suffix_list(), day=date(2026, 11, 25))
        found = {str(each.oddity): each.rows for each in analysis.findings}
        return {"domains": analysis.concentration.domains, "found": found | {"again": analysis.repeats.rows}}
    from cryptography.hazmat.primitives.asymmetric import ec

    from bezoar.acquire.lists.signing import sign_index, verify_index
    from bezoar.custody.signing.signers import KeySigner, KeyVerifier

    key = ec.generate_private_key(ec.SECP256R1())
    signature = path.with_name(f"{os.getpid()}.sig")
    try:
        sign_index(source, KeySigner(key), signature)
    except Exception as error:  # the planted rows without a hash: all rows were looked at
        return {"said": str(error)[:60]}
    verify_index(source, KeyVerifier(key.public_key()), signature)
    return {}


def table(rows: list[Row]) -> str:
    """The page."""
    lines = {
        "list, MB": lambda r: f"{r['bytes'] / 1e6:,.0f}",
        "domains": lambda r: f"{r['analyze']['domains']:,}",
        "analyze, s": lambda r: f"{r['analyze']['seconds']:.1f} [{r['analyze']['processor_s']:.1f}]",
        "analyze, rows/s": lambda r: (
            f"{r['rows'] / r['analyze']['seconds']:,.0f} [{r['rows'] / r['analyze']['processor_s']:,.0f}]"
        ),
        "analyze, peak memory, MiB": lambda r: f"{r['analyze']['peak_mib']:,.0f}",
        "analyze, temporary files, bytes a row": lambda r: "48",
        "look at every hash, sign, verify, s": lambda r: (
            f"{r['sign']['seconds']:.1f} [{r['sign']['processor_s']:.1f}]"
        ),
        "sign, peak memory, MiB": lambda r: f"{r['sign']['peak_mib']:,.0f}",
    }
    head = ["rows", *(f"{row['rows']:,}" for row in rows)]
    body = [[name, *(show(row) for row in rows)] for name, show in lines.items()]
    text = [f"| {' | '.join(cells)} |" for cells in (head, ["---", *("--:" for _ in rows)], *body)]
    where = {
        f"{row['machine']}, Python {row['python']}, pyarrow {row['pyarrow']}, {row['date']}" for row in rows
    }
    return "\n".join(
        [
            "# Lists of URLs",
            "",
            "Made by `python benchmarks/index.py --rows N`; medians, of whole processes in one thread, start included. In "
            "brackets: processor time, which does not count other work that the machine did meanwhile. The generated list has "
            "planted rows of every kind, and each run found exactly these.",
            "",
            *text,
            "",
            *sorted(where),
            "",
        ]
    )


def _machine() -> Row:
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    return {
        "machine": model,
        "python": platform.python_version(),
        "pyarrow": version("pyarrow"),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000, help="how many (default: 1,000,000)")
    parser.add_argument("--repeats", type=int, default=1, help="of which the median counts (default: 1)")
    parser.add_argument(
        "--folder", type=Path, help="where the temporary folder is made (default: the system's)"
    )
    parser.add_argument("--measure", choices=("analyze", "sign"), help=argparse.SUPPRESS)
    parser.add_argument("--list", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
