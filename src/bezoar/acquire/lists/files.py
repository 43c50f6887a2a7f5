"""What the kinds of list files have in common, and which files a path stands for."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from bezoar.acquire.lists.streams import COMPRESSIONS
from bezoar.errors import InputError

KINDS = {
    ".txt": "txt", ".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json",
    ".parquet": "parquet",
}  # fmt: skip
Cells = Mapping[str, Any] | str  # of a row by column name; a text says why it has none


class ListFile(Protocol):
    """One file of a list."""

    def names(self) -> tuple[str, ...]:
        """Its columns."""
        ...

    def count(self) -> int:
        """Its rows."""
        ...

    def rows(self, start: int, columns: tuple[str, ...]) -> Iterator[Cells]:
        """The cells of these columns from row `start` on; what comes before is skipped as cheaply as the kind allows."""
        ...


def found(path: Path) -> tuple[Path, ...]:
    """The files that `path` stands for: itself, those of a folder, or of a pattern, sorted by name, all of one kind."""
    if path.is_dir():
        files = sorted(p for p in path.iterdir() if _kind(p) and not p.name.startswith(".") and p.is_file())
        if not files:
            raise InputError(f"{path}: has no list in it ({' '.join(KINDS)}, also {' '.join(COMPRESSIONS)})")
        kinds = sorted({_kind(file) for file in files})
        if len(kinds) > 1:
            raise InputError(
                f"{path}: has lists of several kinds ({', '.join(kinds)}); name a pattern: {path}/*.{kinds[0]}"
            )
        return tuple(files)
    if path.is_file():
        return (path,)
    if glob.has_magic(str(path)) and not path.exists():
        files = sorted(Path(name) for name in glob.glob(str(path), recursive=True))
        files = [file for file in files if file.is_file()]
        if not files:
            raise InputError(f"{path}: no file matches this pattern")
        return tuple(files)
    raise InputError(f"{path}: {'not an ordinary file' if path.exists() else 'no such file or folder'}")


def kind_of(file: Path) -> str:
    """One of `KINDS`, by suffix, else by Parquet's magic bytes."""
    if kind := _kind(file):
        return kind
    with file.open("rb") as stream:
        if stream.read(4) == b"PAR1":
            return "parquet"
    raise InputError(
        f"{file}: is no list that is known ({' '.join(KINDS)}, also {' '.join(COMPRESSIONS)}); say its format"
    )


def _kind(file: Path) -> str:
    name = file.name.lower()
    for suffix in COMPRESSIONS:
        name = name.removesuffix(suffix)
    return next((kind for suffix, kind in KINDS.items() if name.endswith(suffix)), "")
