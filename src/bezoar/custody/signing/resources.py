"""The resources of an OMS statement: which names and digests it may list, in which order, under which root.

A resource is a file (`method: files`) or a part of one (`method: shards`, named `path:start:end`). The root is the SHA-256
of the concatenated digests, in the code-point order of the names.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from bezoar.errors import InputError

DEFAULT_IGNORES = (".git", ".gitattributes", ".github", ".gitignore")
WHOLE = "."  # the name of a tree that is a single file

_LENGTHS = {"sha256": 32, "blake2b": 64, "blake2": 64, "blake3": 32}
_SHARD = re.compile(r"(.+):(0|[1-9][0-9]{0,18}):([1-9][0-9]{0,18})", re.DOTALL)
_MAX_SHARD_SIZE = 2**53


class Resource(NamedTuple):
    """A file or shard of the signed tree. A tuple, for they are made by the hundred thousand."""

    name: str
    digest: bytes
    algorithm: str


class Shard(NamedTuple):
    """Bytes `start` (included) to `end` (excluded) of the file at `path`."""

    path: str
    start: int
    end: int


def parse_shard(name: str) -> Shard:
    """The shard that a resource of `method: shards` names; a path may itself hold `:`. InputError when it is malformed."""
    match = _SHARD.fullmatch(name)
    if not match:
        raise InputError(f"resource {name[:200]!r}: expected path:start:end")
    shard = Shard(match[1], int(match[2]), int(match[3]))
    if shard.start >= shard.end:
        raise InputError(f"resource {name[:200]!r}: the shard ends before it starts")
    return shard


def root_of(digests: Iterable[bytes]) -> bytes:
    """SHA-256 over raw digests, in the order given."""
    root = hashlib.sha256()
    for digest in digests:
        root.update(digest)
    return root.digest()


def hash_name(algorithm: str) -> str:
    """The hash behind a resource's algorithm: `sha256-sharded-1000000` is made with `sha256`."""
    return algorithm.split("-sharded-", 1)[0]


def parse_serialization(value: Any) -> dict[str, Any]:
    """How the tree was hashed, checked: method, hash_type, allow_symlinks, ignore_paths, and shard_size for shards.

    Whole numbers may come as floats (`1000000.0`), as the reference tool writes them.
    """
    if not isinstance(value, Mapping):
        raise InputError("serialization must be an object")
    method, hash_type = value.get("method"), value.get("hash_type")
    if method not in ("files", "shards"):
        raise InputError(f"serialization method must be files or shards, not {str(method)[:40]!r}")
    if not isinstance(hash_type, str) or hash_type not in _LENGTHS:
        raise InputError(f"hash_type must be one of {', '.join(_LENGTHS)}, not {str(hash_type)[:40]!r}")
    symlinks = value.get("allow_symlinks", False)
    if not isinstance(symlinks, bool):
        raise InputError("allow_symlinks must be true or false")
    checked: dict[str, Any] = {"method": method, "hash_type": hash_type, "allow_symlinks": symlinks}
    if method == "shards":
        checked["shard_size"] = _whole(value.get("shard_size"))
    ignored = value.get("ignore_paths", [])
    if not isinstance(ignored, (list, tuple)):
        raise InputError("ignore_paths must be a list")
    for path in ignored:
        check_name(path, "ignored path")
        if path == WHOLE:
            raise InputError("ignored path '.' would leave the whole tree unsigned")
    checked["ignore_paths"] = list(ignored)
    return checked


def check_name(name: Any, what: str = "resource") -> None:
    """InputError unless `name` is a relative, normalised path with `/` and valid Unicode, or `.` for a tree of one file."""
    if not isinstance(name, str) or not name:
        raise InputError(f"{what}: a name must be a non-empty text")
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{what} {name[:200]!a}: the name is not valid Unicode") from error
    parts = name.split("/")
    if (".." in parts or "." in parts or "" in parts or "\0" in name) and name != WHOLE:
        raise InputError(f"{what} {name[:200]!r}: not a relative, normalised path inside the tree")


class ResourceCheck:
    """Checks resources one by one, as they are written or read; `finish` checks what only the whole can show."""

    def __init__(self, serialization: Mapping[str, Any]) -> None:
        hash_type = serialization["hash_type"]
        self._shard_size = serialization.get("shard_size", 0)
        self._algorithms = {hash_type}
        if self._shard_size:
            self._algorithms.add(f"{hash_type}-sharded-{self._shard_size}")
        self._length = _LENGTHS[hash_type]
        self._shards: dict[str, list[Shard]] = {}
        self._whole = False
        self.count = 0

    def add(self, resource: Resource) -> None:
        """InputError when the resource cannot be part of a tree hashed in this way."""
        name = resource.name
        if resource.algorithm not in self._algorithms:
            expected = " or ".join(sorted(self._algorithms))
            raise InputError(
                f"resource {name[:200]!r}: algorithm {resource.algorithm[:40]!r}, expected {expected}"
            )
        if len(resource.digest) != self._length:
            raise InputError(f"resource {name[:200]!r}: the digest is {len(resource.digest)} bytes long")
        if self._shard_size:
            shard = parse_shard(name)
            name = shard.path
            self._shards.setdefault(name, []).append(shard)
        check_name(name)
        self._whole = self._whole or name == WHOLE
        self.count += 1

    def finish(self) -> None:
        """InputError for an empty tree, for a single file among others, and for shards that leave bytes of a file out."""
        if not self.count:
            raise InputError("the tree is empty: there is nothing to sign or to verify")
        if self._whole and (len(self._shards) > 1 or (not self._shards and self.count > 1)):
            raise InputError("resource '.' names the whole tree and cannot stand beside others")
        for path, shards in self._shards.items():
            expected = 0
            shards.sort(key=lambda shard: shard.start)
            for shard in shards:
                full = shard.end - shard.start == self._shard_size
                if shard.start != expected or not (full or shard is shards[-1]):
                    raise InputError(f"resource {path[:200]!r}: its shards leave a gap at byte {expected:,}")
                if shard.end - shard.start > self._shard_size:
                    raise InputError(f"resource {path[:200]!r}: a shard is longer than shard_size")
                expected = shard.end


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != int(value):
        raise InputError("shard_size must be a whole number")
    if not 1 <= value <= _MAX_SHARD_SIZE:
        raise InputError("shard_size is out of range")
    return int(value)
