"""The plug-in point for dataset formats."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from bezoar.registry import Registry

if TYPE_CHECKING:
    from bezoar.data.dataset import Dataset


@dataclass(frozen=True, slots=True)
class OpenOptions:
    """Choices that a path alone does not settle."""

    label_column: str | None = None
    content_column: str | None = None


class Codec(Protocol):
    """Opens and writes one format."""

    def open(self, path: Path, options: OpenOptions) -> Dataset:
        """Open what lies at `path`; InputError with one clear line when it is malformed."""
        ...

    def write(self, dataset: Dataset, path: Path) -> list[str]:
        """Write all records to `path`, atomically, untouched bytes unchanged; the keys as written."""
        ...


class Format(Codec, Protocol):
    """One way to lay records out on disk."""

    @property
    def name(self) -> str:
        """Its name, as registered."""
        ...

    def recognises(self, path: Path) -> bool:
        """Whether this format lies at `path`, judged cheaply by names and magic bytes; never raises."""
        ...


FORMATS: Registry[Format] = Registry("format")
