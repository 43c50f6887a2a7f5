"""The plug-in point for dataset formats."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bezoar.data.dataset import Dataset
from bezoar.registry import Registry


@dataclass(frozen=True, slots=True)
class OpenOptions:
    """Choices that a path alone does not settle."""

    label_column: str | None = None
    content_column: str | None = None


class Format(Protocol):
    """One way to lay records out on disk."""

    name: str

    def recognises(self, path: Path) -> bool:
        """Whether this format lies at `path`, judged cheaply by names and magic bytes; never raises."""
        ...

    def open(self, path: Path, options: OpenOptions) -> Dataset:
        """Open what lies at `path`; InputError with one clear line when it is malformed."""
        ...

    def write(self, dataset: Dataset, path: Path) -> list[str]:
        """Write all records to `path`, atomically, untouched bytes unchanged; the keys as written."""
        ...


FORMATS: Registry[Format] = Registry("format")
