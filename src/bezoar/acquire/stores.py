"""What lies in a store (`s3://`, `gs://` and whatever else fsspec knows): listed, and read with its digest on the way."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bezoar.acquire.archives.names import Names
from bezoar.acquire.reasons import Reason, Verdict
from bezoar.acquire.transfers import Arrived, Wanted
from bezoar.errors import InputError, LimitError, MissingExtraError, OutputError, UsageError

_BLOCK = 1 << 20
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
_NOT_HERE = frozenset({"http", "https", "file", "local", "hf", "data", "pipe"})


@dataclass(frozen=True)
class Stored:
    """An object: where the store has it, its path below the source, its size."""

    place: str
    path: str
    size: int


class Store:
    """What lies at an fsspec URL."""

    def __init__(self, source: str) -> None:
        scheme = _SCHEME.match(source)
        if scheme is None or scheme[1].lower() in _NOT_HERE or "::" in source or source.count("://") > 1:
            raise UsageError(
                f"{source[:200]}: is not the URL of an object store; give s3://BUCKET/PATH or gs://BUCKET/PATH"
            )
        self.source = source = f"{scheme[1].lower()}{source[scheme.end(1) :]}"
        try:
            from fsspec.core import url_to_fs  # type: ignore[import-untyped]
        except ImportError as error:
            raise MissingExtraError(f"Reading {scheme[1]}://", "remote") from error
        with _as_input_error(source):
            try:
                self.fs, self.root = url_to_fs(source)
            except ImportError as error:  # of the package for this very store
                raise MissingExtraError(f"Reading {scheme[1]}://", "remote") from error
            except ValueError as error:
                raise UsageError(f"{source[:200]}: fsspec does not know it ({error})") from error

    def is_object(self) -> bool:
        """Whether the URL names a single object."""
        with _as_input_error(self.source):
            return bool(self.fs.isfile(self.root))

    def size(self) -> int:
        """Of that object."""
        with _as_input_error(self.source):
            return _size(self.fs.info(self.root), self.source)

    def objects(self, max_objects: int) -> list[Stored]:
        """All objects below the URL, in the order of their paths; InputError for unsafe or colliding names."""
        names, found = Names(self.source), []
        with _as_input_error(self.source):
            listed: dict[str, Any] = self.fs.find(self.root, detail=True)
        if len(listed) > max_objects:
            raise LimitError(
                f"{self.source}: {len(listed):,} objects; at most {max_objects:,} are copied (--max-entries)"
            )
        prefix = self.root.rstrip("/") + "/"
        for place, info in sorted(listed.items()):
            if not place.startswith(prefix):
                raise InputError(f"{self.source}: lists {place[:200]!r}, which is not below it")
            if place.endswith("/"):
                continue  # what stands for an empty folder
            found.append(Stored(place, names.file(place.removeprefix(prefix)), _size(info, self.source)))
        if not found:
            raise InputError(f"{self.source}: no objects there; check the name and your access")
        return found

    def pieces(self, place: str) -> Iterator[bytes]:
        """The content of an object."""
        with (
            _as_input_error(self.source),
            self.fs.open(place, "rb", cache_type="readahead", block_size=8 * _BLOCK) as file,
        ):
            while piece := file.read(_BLOCK):
                yield piece

    def bring(
        self, stored: Stored, part: Path, sha256: bytes | None, advance: Callable[[int], None]
    ) -> Arrived:
        """Copy an object to a part, hashed and compared on its way; one that does not have its size is rejected."""
        wanted = Wanted(stored.path, f"{self.source}#{stored.path}", part, stored.size, stored.size, sha256)
        digest, size = hashlib.sha256(), 0
        try:
            part.parent.mkdir(parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
            with open(os.open(part, flags, 0o600), "wb") as out:
                for piece in self.pieces(stored.place):
                    size += len(piece)
                    if size > stored.size:
                        break
                    digest.update(piece)
                    out.write(piece)
                    advance(len(piece))
        except InputError as error:
            return Arrived(wanted, Verdict.REJECTED, digest.digest(), size, Reason.CONNECTION, str(error))
        except OSError as error:
            raise OutputError(f"{part}: cannot be written ({error.strerror or error}); try again") from error
        if size != stored.size:
            reason = Reason.TRUNCATED if size < stored.size else Reason.TOO_LARGE
            return Arrived(
                wanted,
                Verdict.REJECTED,
                digest.digest(),
                size,
                reason,
                f"not the {stored.size:,} bytes that are listed",
            )
        if sha256 is None:
            return Arrived(wanted, Verdict.UNVERIFIED, digest.digest(), size)
        if digest.digest() != sha256:
            detail = f"sha256 is {digest.hexdigest()}, not {sha256.hex()}"
            return Arrived(wanted, Verdict.REJECTED, digest.digest(), size, Reason.HASH_MISMATCH, detail)
        return Arrived(wanted, Verdict.VERIFIED, digest.digest(), size)


def _size(info: Mapping[str, Any], source: str) -> int:
    size = info.get("size")
    if type(size) is not int or size < 0:
        raise InputError(f"{source}: the store does not say how large {str(info.get('name'))[:200]!r} is")
    return size


@contextmanager
def _as_input_error(source: str) -> Iterator[None]:
    """Every store has errors of its own; none of them is a fault of this program."""
    try:
        yield
    except (InputError, OutputError, UsageError, MissingExtraError):
        raise
    except Exception as error:
        text = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(
            f"{source[:200]}: cannot be read ({text}); check the name, your access and the network"
        ) from error
