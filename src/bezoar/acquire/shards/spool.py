"""What a shard's records are held in until all have arrived: memory, and beyond a limit a file without a name."""

from __future__ import annotations

import tempfile
from collections.abc import Hashable
from pathlib import Path
from typing import IO

from bezoar.acquire.shards.durable import as_output_error

MEMORY = 256 * 2**20  # bytes


class Spool:
    """Contents by key, put in any order; a context manager."""

    def __init__(self, folder: Path | None = None, memory: int = MEMORY) -> None:
        self._folder, self._left = folder, memory
        self._held: dict[Hashable, bytes] = {}
        self._places: dict[Hashable, tuple[int, int]] = {}
        self._file: IO[bytes] | None = None
        self._end = 0

    def put(self, key: Hashable, content: bytes) -> None:
        """Hold `content`; a second one of the same key replaces the first. OutputError when the disk is full."""
        self._places.pop(key, None)
        self._left += len(self._held.pop(key, b""))
        if len(content) <= self._left:
            self._left -= len(content)
            self._held[key] = content
            return
        with as_output_error(self._folder or Path(tempfile.gettempdir())):
            if self._file is None:
                self._file = tempfile.TemporaryFile(dir=self._folder, buffering=0)  # noqa: SIM115 - closed by `close`
            self._file.seek(self._end)
            self._write(content)
        self._places[key] = (self._end, len(content))
        self._end += len(content)

    def _write(self, content: bytes) -> None:
        """All of it now: an error must not wait in a buffer for whoever reads."""
        assert self._file is not None  # noqa: S101 - `put` made it
        rest = memoryview(content)
        while rest:
            rest = rest[self._file.write(rest) :]

    def get(self, key: Hashable) -> bytes:
        """What was put under `key`; KeyError when nothing was."""
        if key in self._held:
            return self._held[key]
        place, size = self._places[key]
        assert self._file is not None  # noqa: S101 - there is a place in it
        self._file.seek(place)
        return self._file.read(size)

    def close(self) -> None:
        """Let go of everything."""
        self._held.clear()
        self._places.clear()
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
