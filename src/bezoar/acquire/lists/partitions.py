"""Rows of 64-bit numbers, grouped by their first one: in memory while they are few, in files of a temporary folder beyond.

Equal keys are in the same partition, so that groups are found in one partition at a time: memory stays bounded by the
largest partition, which for keys that are hashes is one 64th of all.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PARTITIONS = 64
_SHIFT = 64 - 6  # 2**6 partitions
_HELD = 1 << 19  # rows in memory


class Partitions:
    """Takes columns of uint64, gives them back partition by partition; within one, rows keep their order."""

    def __init__(self, folder: Path, name: str, width: int) -> None:
        self._files = [folder / f"{name}-{number:02}" for number in range(PARTITIONS)]
        self._width = width
        self._held: list[NDArray[np.uint64]] = []
        self._count = 0

    def add(self, *columns: NDArray[np.uint64]) -> None:
        """Rows as `width` columns of one length, the key first."""
        import numpy as np

        self._held.append(np.stack(columns, axis=1))
        self._count += len(columns[0])
        if self._count >= _HELD:
            for file, rows in zip(self._files, self._split(), strict=True):
                with file.open("ab") as stream:
                    stream.write(rows.tobytes())
            self._held.clear()
            self._count = 0

    def __iter__(self) -> Iterator[NDArray[np.uint64]]:
        """The rows of each partition that has any, shape (N, width)."""
        import numpy as np

        for file, held in zip(self._files, self._split(), strict=True):
            parts = [held]
            if file.exists():
                parts.insert(0, np.fromfile(file, np.uint64).reshape(-1, self._width))
            rows = np.concatenate(parts)
            if len(rows):
                yield rows

    def _split(self) -> list[NDArray[np.uint64]]:
        """What is held, by partition."""
        import numpy as np

        if not self._held:
            return [np.empty((0, self._width), np.uint64)] * PARTITIONS
        rows = np.concatenate(self._held)
        place = (rows[:, 0] >> np.uint64(_SHIFT)).astype(np.uint8)
        ends = np.cumsum(np.bincount(place, minlength=PARTITIONS))[:-1]
        return np.split(rows[np.argsort(place, kind="stable")], ends)
