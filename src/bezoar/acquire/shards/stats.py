"""Whether a shard is complete: its stats name its files, and these have the digests that the stats say."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bezoar.acquire.shards.naming import shard_name
from bezoar.acquire.shards.provenance import PROVENANCE_FOLDER
from bezoar.acquire.shards.writing import STATS_SUFFIX, ShardWriter
from bezoar.data.formats.paths import is_clean
from bezoar.errors import InputError
from bezoar.files import read_file

_MAX_STATS = 256 * 2**20


def read_stats(folder: Path, number: int) -> dict[str, Any] | None:
    """What NNNNN_stats.json says; None when it is missing or is no such file."""
    try:
        value = json.loads(read_file(folder / f"{shard_name(number)}{STATS_SUFFIX}", _MAX_STATS))
    except (InputError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def is_complete(folder: Path, number: int, writer: ShardWriter) -> bool:
    """Whether shard `number` lies in `folder` as `writer` wrote it, each file with the bytes that it was committed with.

    Files are hashed, not trusted for being there. A file more in the shard's own folder, one that is no ordinary file, or a link
    in the place of a folder makes it incomplete.
    """
    stats = read_stats(folder, number) or {}
    files = stats.get("files")
    if stats.get("output_format") != writer.name or not isinstance(files, dict) or not files:
        return False
    own = folder / shard_name(number)
    if own.is_symlink() or (folder / PROVENANCE_FOLDER).is_symlink():
        return False
    if own.is_dir() and {f"{own.name}/{entry.name}" for entry in own.iterdir()} - set(files):
        return False
    return all(is_clean(name) and _is_as_written(folder / name, entry) for name, entry in files.items())


def _is_as_written(path: Path, entry: Any) -> bool:
    if not isinstance(entry, Mapping) or path.is_symlink() or not path.is_file():
        return False
    if path.stat().st_size != entry.get("size"):
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == entry.get("sha256")
