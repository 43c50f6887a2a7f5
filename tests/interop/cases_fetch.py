"""Fetching beside other people's tools: a real proxy that rewrites bodies, readers of our output, readers of img2dataset's."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from environments import Environment
from parties import bezoar
from table import Table, note

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent))  # the loopback servers of the other tests

from acquire.servers import Authority, Server, page, serve  # noqa: E402

OURS = "bezoar"
PICTURES = 30
FORMATS = ("webdataset", "parquet", "files")


def run(
    table: Table, mitmproxy: Environment, readers: Environment, img2dataset: Environment, folder: Path
) -> None:
    folder.mkdir()
    authority = Authority.at(folder)
    contents = {f"/{number}.jpg": _jpeg(number) for number in range(PICTURES)}
    site = {path: page(content) for path, content in contents.items()}
    with serve(site) as plain, serve(site, tls=authority.context("127.0.0.1")) as secure:
        listed = _list(folder / "list.csv", [plain, secure], contents)
        _proxied(table, mitmproxy, authority, listed, folder)
        single = _list(folder / "single.csv", [plain], contents)
        expected = sorted(hashlib.sha256(content).hexdigest() for content in contents.values())
        _read_by_others(table, readers, single, expected, folder)
        _of_img2dataset(table, img2dataset, single, expected, folder)


def _proxied(
    table: Table, environment: Environment, authority: Authority, listed: Path, folder: Path
) -> None:
    """Half of the rows come over http, half over TLS that ends at the proxy, whose authority the victim trusts."""
    table.heading("mitmproxy between us and the servers, http and TLS")
    rows = 2 * PICTURES
    direct = ("--ca-file", authority.ca_file)
    with _mitmproxy(environment, authority, folder, "rewrite") as (port, trusted):
        through = ("--proxy", f"http://127.0.0.1:{port}", "--ca-file", trusted)
        found = _fetch(listed, folder / "rewritten", *through)
        table.row("it rewrites every body: accepted", OURS, "0", str(found["kept"]))
        table.row("  in quarantine", OURS, str(rows), str(found["quarantined"]))
        found = _fetch(listed, folder / "distrusted", "--proxy", f"http://127.0.0.1:{port}", *direct)
        table.row("  we do not trust its authority: accepted", OURS, "0", str(found["kept"]))
        table.row("  refused for TLS", OURS, str(PICTURES), str(found["rejected"].get("tls", 0)))
    with _mitmproxy(environment, authority, folder, "pass") as (port, trusted):
        through = ("--proxy", f"http://127.0.0.1:{port}", "--ca-file", trusted)
        found = _fetch(listed, folder / "passed", *through)
        table.row("it rewrites nothing: accepted", OURS, str(rows), str(found["verified"]))
    found = _fetch(listed, folder / "direct", *direct)
    table.row("without it: accepted", OURS, str(rows), str(found["verified"]))
    found = _fetch(listed, folder / "rewritten", "--retry-failed", "all", *direct)
    table.row("without it, what was rewritten before: accepted", OURS, str(rows), str(found["verified"]))


def _read_by_others(
    table: Table, readers: Environment, listed: Path, expected: list[str], folder: Path
) -> None:
    table.heading("our output, read by others")
    for form in FORMATS:
        out = folder / f"ours-{form}"
        _fetch(listed, out, "--output_format", form)
        for party in {"webdataset": ("datasets", "webdataset"), "parquet": ("datasets",)}.get(form, ()):
            found = _json(readers, HERE / "fetch_peer.py", party, form, out, folder / "cache")
            table.row(f"{form}: all pictures", party, f"{PICTURES} right", _told(found, expected))
        table.row(f"{form}: all pictures", OURS, f"{PICTURES} right", _told(_opened(out), expected))


def _of_img2dataset(
    table: Table, environment: Environment, listed: Path, expected: list[str], folder: Path
) -> None:
    table.heading("img2dataset's output, read by us")
    for form in FORMATS:
        out = folder / f"theirs-{form}"
        command = [
            environment.program("img2dataset"), "--url_list", listed, "--input_format", "csv", "--url_col", "url",
            "--caption_col", "caption", "--output_format", form, "--output_folder", out, "--processes_count", 1, "--thread_count",
            4, "--number_sample_per_shard", 10, "--verify_hash", '["sha256","sha256"]', "--disable_all_reencoding", True,
        ]  # fmt: skip
        done = subprocess.run(
            [str(part) for part in command],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "NO_ALBUMENTATIONS_UPDATE": "1"},
        )
        if done.returncode:
            note(f"      img2dataset: {done.stderr.strip()[-600:]}")
        table.row(f"{form}: all pictures", OURS, f"{PICTURES} right", _told(_opened(out), expected))


def _fetch(listed: Path, out: Path, *more: object) -> dict[str, Any]:
    done = bezoar(
        "fetch", listed, out, "--allow-host", "127.0.0.1", "--number_sample_per_shard", 10, "--retries", 1, "--format",
        "json", *more,
    )  # fmt: skip
    if done.returncode not in (0, 1):
        note(f"      bezoar: {done.stderr.strip()}")
        return {"kept": "error", "verified": "error", "quarantined": "error", "rejected": {}}
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _opened(out: Path) -> list[str] | None:
    """SHA-256 of every record, as `bezoar.open` has them."""
    import bezoar as package
    from bezoar.errors import BezoarError

    try:
        return [hashlib.sha256(content).hexdigest() for content in package.open(out).contents()]
    except BezoarError as error:
        note(f"      bezoar: {error}")
        return None


def _told(found: list[str] | None, expected: list[str]) -> str:
    if found is None:
        return "error"
    return f"{len(found)} {'right' if sorted(found) == expected else 'that differ'}"


def _json(environment: Environment, *command: object) -> list[str] | None:
    done = subprocess.run(
        [str(environment.python), *(str(part) for part in command)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        note(f"      {done.stderr.strip()[-600:]}")
        return None
    found: list[str] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


@contextmanager
def _mitmproxy(
    environment: Environment, authority: Authority, folder: Path, mode: str
) -> Iterator[tuple[int, Path]]:
    """mitmproxy, running; its port and the certificate of its authority."""
    port = _free_port()
    state = folder / "mitmproxy"
    command = [
        environment.program("mitmdump"), "--quiet", "--listen-host", "127.0.0.1", "--listen-port", port, "--set",
        f"confdir={state}", "--set", f"ssl_verify_upstream_trusted_ca={authority.ca_file}", "--scripts",
        HERE / "rewriting_addon.py",
    ]  # fmt: skip
    environ = {**os.environ, "REWRITE": mode}
    with subprocess.Popen([str(part) for part in command], env=environ, stdout=subprocess.DEVNULL) as process:
        try:
            _wait_for(port)
            yield port, state / "mitmproxy-ca-cert.pem"
        finally:
            process.terminate()


def _list(path: Path, servers: list[Server], contents: Mapping[str, bytes]) -> Path:
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["url", "caption", "sha256"])
        for server in servers:
            for name, content in contents.items():
                rows.writerow([server.url + name, f"picture {name}", hashlib.sha256(content).hexdigest()])
    return path


def _jpeg(number: int) -> bytes:
    from cli.support import jpeg

    return jpeg(number, 32)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_for(port: int) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise SystemExit("mitmproxy does not answer")
