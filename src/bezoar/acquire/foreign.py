"""What lies in an output and was not brought by its fetch: whoever seals the output would vouch for it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from bezoar.acquire.shards.naming import shard_name
from bezoar.acquire.shards.provenance import PROVENANCE_FOLDER
from bezoar.acquire.shards.stats import read_stats
from bezoar.acquire.shards.writing import STATS_SUFFIX
from bezoar.custody.signing.resources import DEFAULT_IGNORES
from bezoar.errors import InputError


def refuse_foreign(out: Path, foreign: str | None) -> None:
    """InputError that names this path in `out`, unless it is None."""
    if foreign is not None:
        raise InputError(
            f"{out}: holds {foreign[:200]!r}, which this fetch did not bring; take it out, then the output can be sealed"
        )


def foreign_to_shards(out: Path, output_format: str, shards: int) -> str | None:
    """A path in `out` that belongs to none of its finished `shards`, None when there is none.

    Which files a shard has, its format says; only for the names of single pictures its stats are asked.
    """
    names = {shard_name(number): number for number in range(shards)}
    known = {path for name in names for path in _files(output_format, name)}
    folders = names if output_format == "files" else {}
    at, own = "", frozenset[str]()  # the folder of a shard, and what belongs there; one is held at a time
    for path in paths(out):
        top, slash, _ = path.partition("/")
        if slash and top in folders:
            if top != at:
                at, own = top, frozenset((read_stats(out, folders[top]) or {}).get("files") or ())
            if path in own:
                continue
        if path not in known:
            return path
    return None


def paths(out: Path) -> Iterator[str]:
    """The paths of all that is no folder below `out`, but for what no seal covers; links are not followed."""
    for folder, below, names in os.walk(out):
        prefix = "" if Path(folder) == out else Path(folder).relative_to(out).as_posix() + "/"
        linked = [name for name in below if os.path.islink(os.path.join(folder, name))]
        if not prefix:
            below[:] = [name for name in below if name not in DEFAULT_IGNORES]
            names = [name for name in names if name not in DEFAULT_IGNORES]
        yield from (prefix + name for name in (*names, *linked))


def _files(output_format: str, name: str) -> tuple[str, ...]:
    own = {
        "webdataset": (f"{name}.tar", f"{name}.parquet"),
        "parquet": (f"{name}.parquet", f"{PROVENANCE_FOLDER}/{name}.parquet"),
    }
    return (*own.get(output_format, (f"{name}.parquet",)), f"{name}{STATS_SUFFIX}")
