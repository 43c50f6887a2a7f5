"""What an archive's reader hands over: one entry after the other, each with its bytes to be read before the next is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or folder of an archive.

    Attributes:
        path: clean and relative, as it may be created below a folder.
        pieces: the content, piece by piece; None for a folder.

    """

    path: str
    pieces: Iterator[bytes] | None
