"""Shards as img2dataset lays them out, committed file by file, with provenance for every row of the list."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {
    "Kept": "writing",
    "ShardWriter": "writing",
    "Spool": "spool",
    "WRITERS": "writers",
    "Written": "durable",
    "is_complete": "stats",
    "key_of": "naming",
    "PROVENANCE_SCHEMA": "provenance",
    "provenance_files": "provenance",
    "provenance_schema": "provenance",
    "provenance_table": "provenance",
    "read_stats": "stats",
    "shard_name": "naming",
    "writer_of": "writers",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
