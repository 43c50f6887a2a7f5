"""The files of one commit, as the hub's API lists them (`/api/datasets/OWNER/NAME/tree/COMMIT?recursive=true`)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from bezoar.acquire.archives.names import Names
from bezoar.errors import InputError, LimitError

MAX_SIZE = 2**53
_SHA1 = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class TreeFile:
    """A file of a commit.

    Attributes:
        path: clean and relative.
        size: in bytes.
        oid: id of the git blob (20 bytes); of the pointer, where the file is in LFS.
        sha256: 32 bytes; None for files that git itself keeps.

    """

    path: str
    size: int
    oid: bytes
    sha256: bytes | None


def read_tree(pages: Iterable[Any], where: str, max_files: int) -> list[TreeFile]:
    """The files of a listing, in code-point order of their paths.

    InputError for malformed entries, unsafe, doubled and colliding paths; LimitError for more than `max_files`.
    """
    names, files = Names(where), []
    for entry in _entries(pages, where):
        path, kind = entry.get("path"), entry.get("type")
        if not isinstance(path, str):
            raise InputError(f"{where}: an entry of the tree has no path")
        if kind == "directory":
            names.folder(path)
        elif kind == "file":
            if names.file(path) != path:
                raise InputError(f"{where}: {path[:200]!r} is not a clean path")
            files.append(_file(entry, path, where))
        else:
            raise InputError(f"{where}: {path[:200]!r} is neither a file nor a folder; nothing of it is used")
        if len(files) > max_files:
            raise LimitError(
                f"{where}: lists more than {max_files:,} files; raise --max-entries if that is right"
            )
    return sorted(files, key=lambda file: file.path)


def _entries(pages: Iterable[Any], where: str) -> Iterator[dict[str, Any]]:
    for page in pages:
        if not isinstance(page, list) or not all(isinstance(entry, dict) for entry in page):
            raise InputError(f"{where}: is no listing of a tree; is this a hub?")
        yield from page


def _file(entry: dict[str, Any], path: str, where: str) -> TreeFile:
    oid, size, lfs = entry.get("oid"), entry.get("size"), entry.get("lfs")
    if (
        not isinstance(oid, str)
        or not _SHA1.fullmatch(oid)
        or type(size) is not int
        or not 0 <= size < MAX_SIZE
    ):
        raise InputError(f"{where}: {path[:200]!r} has no git object id or no size")
    if lfs is None:
        return TreeFile(path, size, bytes.fromhex(oid), None)
    sha256 = lfs.get("oid", lfs.get("sha256")) if isinstance(lfs, dict) else None
    if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256.removeprefix("sha256:")):
        raise InputError(f"{where}: {path[:200]!r} has no SHA-256 although it is in LFS")
    if lfs.get("size") != size:
        raise InputError(f"{where}: {path[:200]!r} has two sizes that disagree")
    return TreeFile(path, size, bytes.fromhex(oid), bytes.fromhex(sha256.removeprefix("sha256:")))
