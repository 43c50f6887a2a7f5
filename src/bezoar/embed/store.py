"""One entry of the feature cache: a `.npy` file of rows, and a JSON file beside it that says how far it got.

Rows are appended to a partial file and the JSON is replaced at checkpoints, with the SHA-256 of all rows so
far, so a killed run goes on from its last checkpoint. The finished file is fsynced and renamed. Whatever
does not agree (another key, shape or hash, a truncated file, a JSON that is none) is thrown away and
computed again.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from bezoar.embed.base import Features

_VERSION = 1
_MAX_STATE_BYTES = 512 * 2**20
_CHUNK = 2**20


def default_cache() -> Path:
    """The folder of the feature cache: `$BEZOAR_CACHE`, or `~/.cache/bezoar/features`."""
    chosen = os.environ.get("BEZOAR_CACHE")
    return Path(chosen) if chosen else Path.home() / ".cache" / "bezoar" / "features"


@dataclass
class FeatureStore:
    """Rows of one cache entry; use within `with FeatureStore.open(...)`, which holds the entry's lock."""

    folder: Path
    key: str
    shape: tuple[int, int]
    done: int = 0
    encoder: str = ""
    unreadable: list[tuple[int, str]] = field(default_factory=list)
    _hash: Any = field(default_factory=hashlib.sha256)
    _file: BinaryIO | None = None

    @classmethod
    @contextmanager
    def open(cls, folder: Path, key: str, shape: tuple[int, int]) -> Iterator[FeatureStore]:
        """The entry of `key`, with what is intact of it; waits while another process fills the same."""
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / f"{key}.lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            store = cls(folder, key, shape)
            store._load()
            try:
                yield store
            finally:
                store._close()

    @property
    def complete(self) -> bool:
        """Whether all rows are there, checked against their hash."""
        return self._final.exists() and self.done == self.shape[0]

    def begin(self, encoder_digest: str) -> None:
        """Get ready to append rows of this fitted encoder; rows of another one are discarded."""
        if self.encoder != encoder_digest or self.done > self.shape[0] or not self._partial.exists():
            self._discard()
        self.encoder = encoder_digest
        self._file = self._partial.open("r+b" if self._partial.exists() else "w+b")
        if self.done == 0:
            self._file.write(self._header)
        self._file.truncate(self._offset(self.done))
        self._file.seek(0, os.SEEK_END)

    def append(self, rows: Features, unreadable: list[tuple[int, str]]) -> None:
        """Add the next rows."""
        content = np.ascontiguousarray(rows, np.float32).tobytes()
        self._writing.write(content)
        self._hash.update(content)
        self.done += len(rows)
        self.unreadable += unreadable

    def checkpoint(self) -> None:
        """Make the rows so far count after a crash."""
        self._writing.flush()
        temporary = self._state.with_suffix(".json.partial")
        temporary.write_text(json.dumps(self._description()))
        os.replace(temporary, self._state)

    def finish(self) -> None:
        """Give the complete file its final name."""
        if self.done != self.shape[0]:
            raise AssertionError(f"{self.done} of {self.shape[0]} rows were appended")
        self.checkpoint()
        os.fsync(self._writing.fileno())
        self._close()
        os.replace(self._partial, self._final)

    def rows(self) -> Features:
        """All rows, float32, memory-mapped read-only."""
        if 0 in self.shape:  # nothing to map
            return np.empty(self.shape, np.float32)
        return np.memmap(self._final, np.float32, "r", len(self._header), self.shape)

    def _load(self) -> None:
        """Take over the entry's state where file and JSON agree; else remove both."""
        path = self._final if self._final.exists() else self._partial
        try:
            state = self._read_state()
            self.done, self.encoder = int(state["done"]), str(state["encoder"])
            self.unreadable = [(int(index), str(reason)) for index, reason in state["unreadable"]]
            self._hash = _hash_rows(path, self._header, self._offset(self.done))
            intact = state == self._description()
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            intact = False
        if path == self._final and intact:
            intact = self.done == self.shape[0] and path.stat().st_size == self._offset(self.done)
        if not intact:
            self._discard()

    def _read_state(self) -> dict[str, Any]:
        if self._state.stat().st_size > _MAX_STATE_BYTES:
            raise ValueError("too large")
        state = json.loads(self._state.read_bytes())
        if not isinstance(state, dict):
            raise TypeError("no object")
        return state

    def _description(self) -> dict[str, Any]:
        return {
            "version": _VERSION,
            "key": self.key,
            "shape": list(self.shape),
            "encoder": self.encoder,
            "done": self.done,
            "sha256": self._hash.hexdigest(),
            "unreadable": [list(entry) for entry in self.unreadable],
        }

    def _discard(self) -> None:
        for path in (self._state, self._partial, self._final):
            path.unlink(missing_ok=True)
        self.done, self.encoder, self.unreadable, self._hash = 0, "", [], hashlib.sha256()

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    @property
    def _writing(self) -> BinaryIO:
        if self._file is None:
            raise AssertionError("begin() comes first")
        return self._file

    @property
    def _header(self) -> bytes:
        buffer = io.BytesIO()
        np.lib.format.write_array_header_1_0(
            buffer, {"descr": "<f4", "fortran_order": False, "shape": self.shape}
        )
        return buffer.getvalue()

    def _offset(self, rows: int) -> int:
        return len(self._header) + rows * self.shape[1] * 4

    @property
    def _final(self) -> Path:
        return self.folder / f"{self.key}.npy"

    @property
    def _partial(self) -> Path:
        return self.folder / f"{self.key}.npy.partial"

    @property
    def _state(self) -> Path:
        return self.folder / f"{self.key}.json"


def _hash_rows(path: Path, header: bytes, end: int) -> Any:
    """SHA-256 of the rows of `path` up to byte `end`; ValueError for another header or a shorter file."""
    total = hashlib.sha256()
    with path.open("rb") as file:
        if file.read(len(header)) != header:
            raise ValueError("another header")
        left = end - len(header)
        while left > 0:
            chunk = file.read(min(_CHUNK, left))
            if not chunk:
                raise ValueError("truncated")
            total.update(chunk)
            left -= len(chunk)
    return total
