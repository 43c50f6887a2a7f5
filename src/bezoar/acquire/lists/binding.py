"""Whether every row of a list carries the content's SHA-256, so that a signature over the list binds what will be fetched."""

from __future__ import annotations

from dataclasses import dataclass

from bezoar.acquire.lists.batches import batches
from bezoar.acquire.lists.hashes import well_formed
from bezoar.acquire.lists.reading import UrlList
from bezoar.errors import InputError, UsageError
from bezoar.progress import track

_SHOWN = 80


@dataclass(frozen=True)
class Binding:
    """How many `rows` there are, how many digests are `missing` or `malformed`, and the `first` such row (0-based) in words."""

    rows: int
    missing: int
    malformed: int
    first: str = ""

    @property
    def complete(self) -> bool:
        """Whether every row is bound to its content."""
        return self.rows > 0 and not self.missing and not self.malformed


def binding(source: UrlList) -> Binding:
    """Look at the digest of every row. UsageError for another kind than SHA-256."""
    _check_kind(source)
    rows = missing = malformed = 0
    first = ""
    with track("digests") as bar:
        for batch in batches(source):
            digests = batch.column("expected")
            mask = well_formed(digests)
            wrong = len(mask) - int(mask.sum())
            if wrong:
                missing += digests.null_count
                malformed += wrong - digests.null_count
                if not first:
                    place = int(mask.argmin())
                    first = _in_words(rows + place, digests[place].as_py())
            rows += len(mask)
            bar.advance(len(mask))
    return Binding(rows, missing, malformed, first)


def check_bound(source: UrlList) -> Binding:
    """The same; InputError, which names the first row and counts all, when a row carries no well-formed SHA-256."""
    found = binding(source)
    if not found.rows:
        raise InputError(f"{source.path}: has no rows; there is nothing to sign")
    if not found.complete:
        count = found.missing + found.malformed
        raise InputError(
            f"{source.path}: {found.first}; {count:,} of {found.rows:,} rows are like this (missing {found.missing:,}, "
            f"malformed {found.malformed:,}), and what they serve could not be told from anything else. "
            "Fetch the list and bind what arrived: bezoar index sign LIST --from OUT --out NEW"
        )
    return found


def check_column(source: UrlList) -> None:
    """UsageError when the rows are read without SHA-256s, whatever hashes another column may have."""
    _check_kind(source)
    if source.columns.hash is None:
        raise UsageError(
            f"{source.path}: no column of SHA-256s is read, and its signature binds nothing else; name the signed column with "
            "--verify-hash COLUMN,sha256"
        )


def _check_kind(source: UrlList) -> None:
    """Of the other kinds somebody may be able to make a second content with the same hash."""
    if source.columns.hash_kind != "sha256":
        raise UsageError(
            f"{source.path}: {source.columns.hash_kind} binds no content; a list is signed with SHA-256"
        )


def _in_words(row: int, value: str | None) -> str:
    if value is None:
        return f"row {row} has no sha256"
    shown = value if len(value) <= _SHOWN else value[: _SHOWN - 1] + "…"
    return f"row {row} has {shown!r}, which is not 64 hexadecimal digits"
