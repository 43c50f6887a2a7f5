"""Unpacking an archive into a new folder, which appears complete or not at all."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from bezoar.acquire.archives.entries import Entry
from bezoar.acquire.archives.limits import DEFAULT, ArchiveLimits
from bezoar.acquire.archives.streams import kind_of
from bezoar.acquire.archives.tar import tar_entries
from bezoar.acquire.archives.zip import zip_entries
from bezoar.errors import InputError, VerificationError
from bezoar.files import atomic_directory
from bezoar.progress import track


@dataclass(frozen=True)
class Unpacking:
    """What was unpacked: number of files, and their bytes together."""

    files: int
    size: int


def extract(
    archive: Path,
    out: Path,
    *,
    name: str = "",
    limits: ArchiveLimits = DEFAULT,
    expected: Mapping[str, bytes] | None = None,
    ignored: frozenset[str] = frozenset(),
) -> Unpacking:
    """Unpack the tar (also gzip, bzip2, xz, Zstandard) or zip archive into the new folder `out`; messages call it `name`.

    `expected` are the SHA-256 (32 bytes) of all files by their path; a file without one, other than below the top-level names
    `ignored`, a file with another one, and a file that is missing are VerificationErrors. Modes, times and owners are dropped.

    Raises InputError, which names the entry, for links, devices, unsafe, doubled and colliding names, damaged and ambiguous
    archives; LimitError beyond `limits`; OutputError when `out` exists or cannot be written. Nothing is left behind then.
    """
    try:
        file = archive.open("rb")
    except OSError as error:
        raise InputError(f"{archive}: cannot be read ({error.strerror or error}); check the path") from error
    with file, atomic_directory(out) as folder:
        where = name or str(archive)
        return _fill(folder, entries(file, where, limits), where, expected, ignored)


def entries(file: BinaryIO, where: str, limits: ArchiveLimits) -> Iterator[Entry]:
    """The entries of an open archive of any kind, in its order; `where` names it in messages."""
    kind = kind_of(file.read(1024))
    file.seek(0)
    if kind is None:
        raise InputError(
            f"{where}: is no tar or zip archive that is known here (tar, tar.gz, tar.bz2, tar.xz, tar.zst, zip)"
        )
    return zip_entries(file, where, limits) if kind == "zip" else tar_entries(file, kind, where, limits)


def _fill(
    folder: Path,
    found: Iterator[Entry],
    archive: str,
    expected: Mapping[str, bytes] | None,
    ignored: frozenset[str],
) -> Unpacking:
    files = size = 0
    missing = set(expected or ())
    made = {""}
    with track(f"unpack {archive.rpartition('/')[2]}") as bar:
        for entry in found:
            top = entry.path.split("/", 1)[0]
            parent = entry.path if entry.pieces is None else entry.path.rpartition("/")[0]
            if parent not in made:
                (folder / parent).mkdir(parents=True, exist_ok=True)
                made.add(parent)
            if entry.pieces is None:
                continue
            held = expected is not None and (entry.path in expected or top not in ignored)
            digest = hashlib.sha256()
            with (folder / entry.path).open("xb") as out:
                for piece in entry.pieces:
                    if held:
                        digest.update(piece)
                    size += out.write(piece)
            files += 1
            bar.advance()
            if expected is not None and held:
                _compare(archive, entry.path, digest.digest(), expected.get(entry.path))
                missing.discard(entry.path)
    if missing:
        raise VerificationError(
            f"{archive}: lacks {min(missing)!r}, which the seal lists; it is not what was sealed"
        )
    return Unpacking(files, size)


def _compare(archive: str, path: str, found: bytes, expected: bytes | None) -> None:
    if expected is None:
        raise VerificationError(f"{archive}: {path[:200]!r} is not in the seal; it is not what was sealed")
    if found != expected:
        raise VerificationError(
            f"{archive}: {path[:200]!r} is not what was sealed (sha256 {expected.hex()[:12]}... -> {found.hex()[:12]}...)"
        )
