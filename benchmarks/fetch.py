"""Fetching against img2dataset: wall and CPU time of whole command lines, and what hashing costs.

    python benchmarks/fetch.py                # 20,000 pictures, 5 repeats; the peer is installed from PyPI into --venv
    python benchmarks/fetch.py --count 2000 --repeats 1
    python benchmarks/fetch.py --only hashing

Both get the same list with the SHA-256 of every row, from a server on loopback in a process of its own (nginx where installed),
have 64 connections or threads in all, keep the bytes as they came, and write WebDataset tar, Parquet and stats.
They take turns, medians count. CPU time is that of all their processes; the server's is not in it.

Every picture is one of CIFAR-10, enlarged to 80 x 80 and saved as a JPEG of about 3 KB (BEZOAR_DATA, see the tests).
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import os
import platform
import shutil
import socket
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import peer_environment
from bezoar.acquire import FetchOptions
from bezoar.acquire.fetching import default_processes

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "fetch.json"
PACKS = Path(os.environ.get("BEZOAR_DATA", HERE.parent.parent / "shared" / "data"))
VENV = Path.home() / ".cache" / "bezoar" / "peers" / "img2dataset"
PEER = {"img2dataset": "img2dataset==1.47.0"}
CONTENDERS = ("bezoar fetch", "img2dataset")
AS_MANY = "bezoar fetch, 2 processes"
PROCESSES, CONNECTIONS, PER_SHARD = 2, 32, 1000
SIDE, QUALITY = 80, 95
GOALS = {"cpu_s": ("CPU time", 0.4), "wall_s": ("wall time", 0.6)}
HASHING = ("as it is", "arriving bytes not hashed", "nothing hashed")
MOST_OF_HASHING = 0.05


def main() -> None:
    """Measure what was asked for and write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument(
        "--only", choices=("peer", "hashing", "processes"), nargs="*", default=["peer", "hashing"]
    )
    parser.add_argument("--venv", type=Path, default=VENV)
    parser.add_argument("--unhashed", choices=HASHING, help=argparse.SUPPRESS)
    parser.add_argument("command", nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.unhashed:
        sys.exit(_fetch_unhashed(options.unhashed, options.command))
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    results["machine"] = _machine()
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        work.chmod(0o755)  # nginx gives up root
        size = _pictures(work / "site", options.count)
        with _server(work) as base:
            rows = _list(work, base)
            results["site"] = {"pictures": rows, "bytes": size, "server": _server_name()}
            if "peer" in options.only:
                _put(results, options, "peer", _against_peer(work, options.venv, options.repeats, rows))
            if "hashing" in options.only:
                _put(results, options, "hashing", _hashing(work, options.repeats, rows))
            if "processes" in options.only:
                _put(results, options, "processes", _processes(work, options.repeats, rows))


def _put(results: dict[str, Any], options: argparse.Namespace, part: str, found: dict[str, Any]) -> None:
    results[part] = {"repeats": options.repeats, **found}
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    RESULTS.with_suffix(".md").write_text(_page(results))


def _against_peer(work: Path, venv: Path, repeats: int, rows: int) -> dict[str, Any]:
    peer_environment.RELEASES.update(PEER)
    peer = peer_environment.python_with(PEER, venv).with_name("img2dataset")
    commands = {
        "bezoar fetch": [_bezoar(), *_ours(work, None)],
        "img2dataset": [str(peer), *_theirs(work)],
        AS_MANY: [_bezoar(), *_ours(work, PROCESSES)],
    }
    return _measure(work, commands, repeats, rows)


def _hashing(work: Path, repeats: int, rows: int) -> dict[str, Any]:
    """In one process, so that the change that leaves the hashing out reaches all of it."""
    ours = _ours(work, 1)
    commands = {how: [sys.executable, __file__, "--unhashed", how, "--", *ours] for how in HASHING}
    return _measure(work, commands, repeats, rows)


def _processes(work: Path, repeats: int, rows: int) -> dict[str, Any]:
    """How many processes the default should be."""
    return _measure(work, {str(n): [_bezoar(), *_ours(work, n)] for n in (1, 2, 3, 4)}, repeats, rows)


def _fetch_unhashed(how: str, command: list[str]) -> int:
    """`bezoar` with parts of its hashing left out; what it says of its rows then means nothing."""
    import bezoar.acquire.http.slot as slot
    import bezoar.acquire.shard_fetch as shard_fetch
    from bezoar.acquire.judging import VERIFIED
    from bezoar.cli import main as bezoar

    none = SimpleNamespace(update=lambda _: None, digest=lambda: bytes(32), hexdigest=lambda: "0" * 64)
    unhashed = SimpleNamespace(sha256=lambda *_: none, file_digest=lambda *_: none)
    if how != HASHING[0]:
        slot.hashlib = unhashed  # type: ignore[assignment]
        shard_fetch.judge = lambda *_: VERIFIED
    if how == HASHING[2]:
        from bezoar.acquire.shards import durable

        durable.hashlib = unhashed  # type: ignore[assignment]
    return bezoar(command)


def _ours(work: Path, processes: int | None) -> list[str]:
    """With as many connections in all as img2dataset has threads; None: as many processes as it chooses by itself."""
    chosen = [] if processes is None else ["--processes_count", str(processes)]
    count = processes or default_processes(FetchOptions())
    connections = str(max(1, PROCESSES * CONNECTIONS // count))
    return [
        "fetch", str(work / "list.parquet"), str(work / "out"), *chosen, "--thread_count", connections, "--per-host",
        connections, "--number_sample_per_shard", str(PER_SHARD), "--allow-host", "127.0.0.1", "--verify_hash",
        '["sha256","sha256"]', "--caption_col", "caption", "--retries", "0",
    ]  # fmt: skip


def _theirs(work: Path) -> list[str]:
    return [
        "--url_list", str(work / "list.parquet"), "--input_format", "parquet", "--url_col", "url", "--caption_col", "caption",
        "--output_format", "webdataset", "--output_folder", str(work / "out"), "--processes_count", str(PROCESSES),
        "--thread_count", str(CONNECTIONS), "--number_sample_per_shard", str(PER_SHARD), "--verify_hash", '["sha256","sha256"]',
        "--disable_all_reencoding", "True", "--retries", "0",
    ]  # fmt: skip


def _bezoar() -> str:
    return str(Path(sys.executable).with_name("bezoar"))


def _measure(work: Path, commands: dict[str, list[str]], repeats: int, rows: int) -> dict[str, Any]:
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in commands}
    for repeat in range(-1, repeats):  # the first round fills the page cache
        for name, command in commands.items():
            for leftover in ("out", "out.fetch"):
                shutil.rmtree(work / leftover, ignore_errors=True)
            os.sync()
            run = _timed(command, work / "said")
            _check(work / "out", rows)
            if repeat >= 0:
                runs[name].append(run)
                print(name, run, flush=True)
    medians = {
        name: {key: statistics.median(run[key] for run in them) for key in them[0]}
        for name, them in runs.items()
    }
    return {"runs": runs, "medians": medians}


def _check(out: Path, rows: int) -> None:
    """Every picture is there, in the tars."""
    found = 0
    for path in out.glob("*.tar"):
        with tarfile.open(path) as archive:
            found += sum(name.endswith(".jpg") for name in archive.getnames())
    if found != rows:
        raise SystemExit(f"{found:,} of {rows:,} pictures are there")


def _timed(command: list[str], said: Path) -> dict[str, float]:
    """Wall and CPU seconds of a command with all processes that it waited for."""
    environment = {**os.environ, "NO_ALBUMENTATIONS_UPDATE": "1"}  # it would ask PyPI for its latest release
    with said.open("wb") as file:
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=file, stderr=file, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - started
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}: exit code {process.returncode}\n{said.read_text()[-2000:]}")
    return {"wall_s": wall, "cpu_s": usage.ru_utime + usage.ru_stime}


def _pictures(site: Path, count: int) -> int:
    """Write the pictures; how many bytes they have."""
    import pyarrow.parquet as pq
    from PIL import Image

    total = 0
    pack = PACKS / "cifar10" / "train.parquet"
    if not pack.is_file():
        sys.exit(f"{pack}: is not there; BEZOAR_DATA names the folder of the data packs")
    images = pq.read_table(pack, columns=["image"])["image"]
    for number in range(count):
        folder = site / f"{number // 1000:03d}"
        if number % 1000 == 0:
            folder.mkdir(parents=True)
        image = Image.open(io.BytesIO(images[number]["bytes"].as_py())).resize(
            (SIDE, SIDE), Image.Resampling.BICUBIC
        )
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=QUALITY)
        (folder / f"{number:06d}.jpg").write_bytes(buffer.getvalue())
        total += buffer.tell()
    return total


def _list(work: Path, base: str) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    files = sorted((work / "site").glob("*/*.jpg"))
    table = {
        "url": [f"{base}/{file.parent.name}/{file.name}" for file in files],
        "caption": [f"picture {file.stem}" for file in files],
        "sha256": [hashlib.sha256(file.read_bytes()).hexdigest() for file in files],
    }
    pq.write_table(pa.table(table), work / "list.parquet")
    return len(files)


@contextlib.contextmanager
def _server(work: Path) -> Iterator[str]:
    """The site on loopback, served by a process of its own; its address."""
    port = _free_port()
    nginx = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
    if nginx:
        (work / "nginx.conf").write_text(_NGINX.format(work=work, port=port))
        command = [nginx, "-p", str(work), "-c", str(work / "nginx.conf"), "-e", str(work / "error.log")]
    else:
        command = [
            sys.executable,
            "-m",
            "http.server",
            str(port),
            "--bind",
            "127.0.0.1",
            "-d",
            str(work / "site"),
        ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            _wait_for(port)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


_NGINX = """
daemon off; worker_processes 1; pid {work}/nginx.pid; error_log {work}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off; sendfile on; tcp_nodelay on; types {{ image/jpeg jpg; }}
  client_body_temp_path {work}/t1; proxy_temp_path {work}/t2; fastcgi_temp_path {work}/t3; uwsgi_temp_path {work}/t4;
  scgi_temp_path {work}/t5;
  server {{ listen 127.0.0.1:{port} backlog=1024; root {work}/site; }}
}}
"""


def _server_name() -> str:
    return "nginx" if shutil.which("nginx") or shutil.which("/usr/sbin/nginx") else "http.server"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_for(port: int) -> None:
    until = time.monotonic() + 20
    while time.monotonic() < until:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise SystemExit("the server does not answer")


def _machine() -> dict[str, Any]:
    return {
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 1),
    }


def _page(results: dict[str, Any]) -> str:
    machine, site = results["machine"], results["site"]
    each = site["bytes"] / site["pictures"]
    lines = [
        "# Fetching a list of small pictures",
        "",
        f"`python benchmarks/fetch.py`, {machine['processor']}, {machine['cores']} cores, Python {machine['python']}, load "
        f"{machine['load']} at the start; medians, whole command lines, taking turns.",
        "",
        f"{site['pictures']:,} JPEG of {each:,.0f} bytes on average, from {site['server']} on loopback in a process of its own,",
        "whose time is not counted. A list in Parquet with the SHA-256 of each; WebDataset tar, Parquet and stats,",
        f"{PER_SHARD:,} rows a shard; bytes kept as they came. CPU time is that of all processes of a command.",
    ]
    if "peer" in results:
        lines += ["", *_peer_table(results["peer"], site["pictures"])]
    if "hashing" in results:
        lines += ["", *_hashing_table(results["hashing"])]
    if "processes" in results:
        lines += ["", *_processes_table(results["processes"])]
    return "\n".join(lines) + "\n"


def _peer_table(found: dict[str, Any], rows: int) -> list[str]:
    ours, theirs = (found["medians"][name] for name in CONTENDERS)
    lines = [
        "## Beside img2dataset 1.47.0",
        "",
        f"`--verify_hash` and `--disable_all_reencoding`, {PROCESSES} processes with {CONNECTIONS} threads; `bezoar fetch` with",
        "as many connections, and as many processes as it chooses by itself, which is one for two cores. It also checks every",
        "address, parses every picture's container, hashes what it writes, and waits until it is on the disk.",
        f"{found['repeats']} repeats.",
        "",
        "| | wall s | CPU s | CPU ms a picture |",
        "|---|---|---|---|",
    ]
    for name in (*CONTENDERS, AS_MANY):
        one = found["medians"][name]
        each = 1000 * one["cpu_s"] / rows
        lines.append(f"| {name} | {one['wall_s']:.2f} | {one['cpu_s']:.2f} | {each:.3f} |")
    ratio = {key: ours[key] / theirs[key] for key in ours}
    lines.append(
        f"| ratio of the first two | {ratio['wall_s']:.2f} | {ratio['cpu_s']:.2f} | {ratio['cpu_s']:.2f} |"
    )
    for key, (words, goal) in GOALS.items():
        lines += ["", f"Goal: {goal} x the peer's {words}: {'met' if ratio[key] <= goal else 'missed'}."]
    return lines


def _hashing_table(found: dict[str, Any]) -> list[str]:
    medians = found["medians"]
    lines = [
        "## What hashing costs",
        "",
        f"One process, hashing left out by the benchmark. {found['repeats']} repeats.",
        "",
        "| | wall s | CPU s |",
        "|---|---|---|",
    ]
    lines += [f"| {how} | {medians[how]['wall_s']:.2f} | {medians[how]['cpu_s']:.2f} |" for how in HASHING]
    for how in HASHING[1:]:
        over = medians[HASHING[0]]["cpu_s"] / medians[how]["cpu_s"] - 1
        verdict = "met" if over <= MOST_OF_HASHING else "missed"
        lines += [
            "",
            f'Overhead against "{how}": {100 * over:.1f} % CPU; goal {100 * MOST_OF_HASHING:.0f} %: {verdict}.',
        ]
    return lines


def _processes_table(found: dict[str, Any]) -> list[str]:
    lines = [
        "## Processes",
        "",
        f"{found['repeats']} repeats.",
        "",
        "| processes | wall s | CPU s |",
        "|---|---|---|",
    ]
    for count, one in found["medians"].items():
        lines.append(f"| {count} | {one['wall_s']:.2f} | {one['cpu_s']:.2f} |")
    return lines


if __name__ == "__main__":
    main()
