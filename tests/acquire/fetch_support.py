"""A site of small pictures, the list that promises them, and what an output holds in the end."""

from __future__ import annotations

import csv
import hashlib
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from acquire.servers import Page, page
from bezoar.acquire import Columns, FetchOptions, Limits, Policy, UrlList
from bezoar.acquire.fetching import FetchReport, fetch
from bezoar.acquire.shards.provenance import PROVENANCE_FOLDER
from cli.support import jpeg

LOOPBACK = Policy(allowed=("127.0.0.1",))
VARYING = (  # provenance that may differ from run to run
    "http_status", "final_url", "redirects", "peer", "tls_verified", "fetched", "etag", "last_modified", "run_id", "attempts",
)  # fmt: skip


def pictures(count: int, first: int = 0) -> dict[str, bytes]:
    """Small pictures by path."""
    return {f"/{number}.jpg": jpeg(first + number) for number in range(count)}


def site_of(contents: Mapping[str, bytes], **other: Page) -> dict[str, Page]:
    """Honest pages, and instead of some `other` ones: `_3=...` is for /3.jpg."""
    site: dict[str, Page] = {path: page(content) for path, content in contents.items()}
    return {**site, **{f"/{name[1:]}.jpg": one for name, one in other.items()}}


def write_list(
    path: Path, base: str, contents: Mapping[str, bytes], promised: Mapping[str, str | None] | None = None
) -> Path:
    """A CSV of these pictures with their hashes, or, by path, with what is promised instead of them."""
    instead = promised or {}
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["url", "caption", "sha256"])
        for name, content in contents.items():
            digest = instead.get(name, hashlib.sha256(content).hexdigest())
            rows.writerow([name if "://" in name else base + name, f"picture {name}", digest])
    return path


def options(**more: Any) -> FetchOptions:
    """For a loopback server, in this process, ten rows a shard."""
    limits = more.pop("limits", Limits(timeout_s=5.0, deadline_s=10.0, connections=8, per_host=8))
    return FetchOptions(**{"policy": LOOPBACK, "limits": limits, "per_shard": 10, "processes": 1, **more})


def run(path: Path, out: Path, columns: Columns = Columns(), **more: Any) -> FetchReport:  # noqa: B008 - frozen
    return fetch(UrlList.open(path, columns), out, options(**more))


def contents_of(out: Path) -> dict[str, bytes]:
    """Every member of every tar, or every file in a shard's folder, by name; a name that occurs twice fails."""
    found: dict[str, bytes] = {}
    for path in sorted(out.glob("*.tar")):
        with tarfile.open(path) as archive:
            for member in archive:
                assert member.name not in found, member.name
                file = archive.extractfile(member)
                assert file is not None
                found[member.name] = file.read()
    for path in sorted(out.glob("*/*")):
        if path.parent.name.isdecimal():
            found[path.name] = path.read_bytes()
    for path in sorted(out.glob("*.parquet")):
        if "image" in pq.read_schema(path).names:
            for image in pq.read_table(path, columns=["image"])["image"].to_pylist():
                found[image["path"]] = image["bytes"]
    return found


def images_of(out: Path) -> dict[str, bytes]:
    """The pictures alone, by key."""
    suffixes = (".json", ".txt")
    return {
        name.split(".")[0]: content
        for name, content in contents_of(out).items()
        if not name.endswith(suffixes)
    }


def provenance_of(out: Path) -> pa.Table:
    """The provenance of all rows in their order."""
    beside = out / PROVENANCE_FOLDER
    files = sorted((beside if beside.is_dir() else out).glob("*.parquet"))
    return pa.concat_tables([pq.ParquetFile(file).read() for file in files])


def rows_of(out: Path, *columns: str) -> list[Any]:
    """Cells of the provenance, row by row; of one column, the cells themselves."""
    cells = [provenance_of(out)[name].to_pylist() for name in columns]
    return cells[0] if len(cells) == 1 else list(zip(*cells, strict=True))


def data_files(out: Path) -> dict[str, str]:
    """SHA-256 of each file that must be the same after every run, by name."""
    tables = "image" in pq.read_schema(next(iter(sorted(out.glob("*.parquet"))))).names
    names = [p for p in out.rglob("*") if p.is_file() and not p.name.endswith("_stats.json")]
    kept = [p for p in names if p.suffix != ".parquet" or (tables and p.parent == out)]
    return {str(p.relative_to(out)): hashlib.sha256(p.read_bytes()).hexdigest() for p in kept}


def stable_provenance(out: Path) -> list[dict[str, Any]]:
    """The provenance without what may differ from run to run."""
    rows: list[dict[str, Any]] = provenance_of(out).drop_columns(list(VARYING)).to_pylist()
    return rows


def remnants(out: Path) -> Sequence[Path]:
    """What is half-written, in the output and beside it."""
    state = out.with_name(f"{out.name}.fetch")
    return [p for root in (out, state) for p in root.rglob("*") if p.name.endswith(".partial")]
