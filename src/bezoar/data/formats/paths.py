"""Paths of a dataset on disk: one file, a folder or a glob of shards; names that cannot escape a folder."""

from __future__ import annotations

import glob
import hashlib
import os
import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from bezoar.errors import InputError

_SPLITS = ("train", "test", "validation", "valid", "val", "dev")
_UNSAFE = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|%]')
_MAX_NAME = 120  # characters; a file name may hold 255 bytes


def is_glob(path: Path) -> bool:
    """Whether `path` is a pattern and not itself the name of something that exists."""
    return glob.has_magic(str(path)) and not path.exists()


def shards(path: Path, *suffixes: str) -> list[Path]:
    """Sorted files with these suffixes: `path` itself, in the folder (or its `data/`), or of a glob."""
    if is_glob(path):
        found = [Path(name) for name in glob.glob(str(path), recursive=True)]
    elif path.is_dir():
        found = [p for folder in (path, path / "data") if folder.is_dir() for p in folder.iterdir()]
    else:
        found = [path]
    return sorted(
        p for p in found if p.name.endswith(suffixes) and not p.name.startswith(".") and p.is_file()
    )


def one_split(path: Path, files: list[Path]) -> list[Path]:
    """`files` again; InputError when the folder holds several splits, because mixing them is never meant."""
    if path.is_dir():
        found = {split: file for file in files if (split := split_of(file.name))}
        if len(found) > 1:
            example = next(iter(found.values()))
            raise InputError(
                f"{path}: holds several splits ({', '.join(sorted(found))}); name one, e.g. {example}"
            )
    return files


def split_of(name: str) -> str | None:
    """The split that a file or folder name tells of ("train-00000-of-00005.parquet" -> "train")."""
    head = re.split(r"[-_.]", name.lower())[0]
    return head if head in _SPLITS else None


def shard_names(files: list[Path]) -> list[str]:
    """Unique short names: each file's path below the folder that they share."""
    root = Path(os.path.commonpath([file.absolute().parent for file in files]))
    return [file.absolute().relative_to(root).as_posix() for file in files]


def is_clean(key: str) -> bool:
    """Whether `key` is a normalised relative POSIX path without `..`, control characters or backslashes."""
    parts = key.split("/")
    return (
        0 < len(key) <= 1024
        and not any(part in ("", ".", "..") for part in parts)
        and "\\" not in key
        and key.isprintable()
    )


def safe_name(name: str) -> str:
    """`name` as one harmless path component: unsafe characters percent-encoded, long names cut and hashed."""
    safe = _UNSAFE.sub(lambda match: f"%{ord(match.group()):02X}", name)
    safe = safe.encode("utf-8", "replace").decode()
    if safe.startswith("."):
        safe = "%2E" + safe[1:]
    if not safe:
        safe = "%"  # stands for no other name: a real % is encoded
    if len(safe.encode()) > _MAX_NAME:
        digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:8]
        safe = f"{safe.encode()[: _MAX_NAME - 9].decode('utf-8', 'ignore')}-{digest}"
    return safe


def unused(name: str, taken: set[str]) -> str:
    """`name`, or a variant `stem-<number>.ext` that is not in `taken` (letter case ignored); added to it."""
    path = PurePosixPath(name)
    candidate, number = name, len(taken)
    while candidate.casefold() in taken:
        candidate = str(path.with_name(f"{path.stem}-{number}{path.suffix}"))
        number += 1
    taken.add(candidate.casefold())
    return candidate


def row_keys(shard: str, rows: Iterable[int]) -> list[str]:
    """Keys of records that have no name of their own: `shard#000012`."""
    return [f"{shard}#{row:06d}" for row in rows]
