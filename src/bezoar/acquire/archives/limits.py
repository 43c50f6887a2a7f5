"""How much an archive may unpack to."""

from __future__ import annotations

from dataclasses import dataclass

from bezoar.errors import LimitError

RATIO_FROM = 1 << 30  # bytes unpacked before the ratio counts: a small archive of zeros is no bomb


@dataclass(frozen=True, slots=True)
class ArchiveLimits:
    """Caps on what comes out of one archive.

    Attributes:
        entries: files and folders.
        file_bytes: of one file.
        total_bytes: of all of them, with what tar adds.
        ratio: bytes out for each byte in; counts from a gibibyte on.

    """

    entries: int = 5_000_000
    file_bytes: int = 1 << 40
    total_bytes: int = 1 << 42
    ratio: int = 200

    def check_entries(self, number: int, where: str) -> None:
        """LimitError when there are more entries than allowed."""
        if number > self.entries:
            raise LimitError(
                f"{where}: holds more than {self.entries:,} entries; raise --max-entries if that is right"
            )

    def check_file(self, size: int, where: str, name: str) -> None:
        """LimitError when one file is larger than allowed."""
        if size > self.file_bytes:
            raise LimitError(
                f"{where}: {name[:200]!r} is larger than {self.file_bytes:,} bytes; raise --max-total-bytes if that is right"
            )

    def check_total(self, out: int, taken: int, where: str) -> None:
        """LimitError when `out` bytes are more than allowed, or too many for the `taken` compressed bytes they came from."""
        if out > self.total_bytes:
            raise LimitError(
                f"{where}: unpacks to more than {self.total_bytes:,} bytes; raise --max-total-bytes if that is right"
            )
        if out > RATIO_FROM and out > self.ratio * taken:
            raise LimitError(
                f"{where}: unpacks to more than {self.ratio} times its size; a bomb? Raise --max-ratio if not"
            )


DEFAULT = ArchiveLimits()
