"""Which files of a commit are fetched, and what each must be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from bezoar.acquire.hub.source import HubSource
from bezoar.acquire.hub.tree import TreeFile
from bezoar.acquire.reasons import Reason
from bezoar.errors import InputError

if TYPE_CHECKING:
    from bezoar.acquire.sealed_digests import Sealed


@dataclass(frozen=True)
class Refusal:
    """A file that is not fetched, or not there, because of what a seal says."""

    path: str
    reason: Reason
    detail: str


@dataclass(frozen=True)
class Selection:
    """Files to fetch, refusals, and how many files the seal says nothing of (`skipped`)."""

    files: Sequence[TreeFile]
    refused: Sequence[Refusal] = ()
    skipped: int = 0


def select(
    source: HubSource, tree: Sequence[TreeFile], include: Sequence[str], exclude: Sequence[str]
) -> list[TreeFile]:
    """The files of the source's part that match a pattern of `include` (none: all) and none of `exclude`.

    Patterns are the shell's; `*` also stands for `/`, and one that ends in `/` means all below. InputError when nothing is left.
    """
    wanted, unwanted = _patterns(include), _patterns(exclude)
    found = [
        file
        for file in tree
        if source.covers(file.path)
        and (not include or _matches(file.path, wanted))
        and not _matches(file.path, unwanted)
    ]
    if not found:
        there = ", ".join(repr(file.path[:60]) for file in tree[:5]) or "nothing"
        raise InputError(
            f"{source}: no file matches; the commit holds {there}{', ...' if len(tree) > 5 else ''}"
        )
    return found


def hold_against(sealed: Sealed, files: Sequence[TreeFile], *, whole: bool) -> Selection:
    """The files with the digests of a seal; `whole`: all sealed files must be among them."""
    kept, refused, skipped = [], [], 0
    for file in files:
        digest = sealed.files.get(file.path)
        if digest is None and not sealed.covers(file.path):
            skipped += 1
        elif digest is None:
            refused.append(Refusal(file.path, Reason.HASH_MISSING, "the seal does not list it"))
        elif file.sha256 is not None and file.sha256 != digest:
            why = f"the hub's tree says sha256 {file.sha256.hex()}, the seal {digest.hex()}"
            refused.append(Refusal(file.path, Reason.HASH_MISMATCH, why))
        else:
            kept.append(replace(file, sha256=digest))
    if whole:
        there = {file.path for file in files}
        refused += [
            Refusal(path, Reason.HASH_MISMATCH, "is sealed, and not in the repository")
            for path in sorted(sealed.files)
            if path not in there
        ]
    return Selection(kept, refused, skipped)


def _patterns(patterns: Sequence[str]) -> list[str]:
    return [pattern + "*" if pattern.endswith("/") else pattern for pattern in patterns]


def _matches(path: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(path, pattern) for pattern in patterns)
