"""The dataset formats, one module each, registered in the order in which `bezoar.data.open` tries them.

A format is recognised by its `signs`; its module is imported when something is to be opened or written in it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bezoar.data.formats import signs
from bezoar.data.formats.base import FORMATS, Codec, Format, OpenOptions

if TYPE_CHECKING:
    from bezoar.data.dataset import Dataset

__all__ = ["FORMATS", "Codec", "Format", "OpenOptions"]


@dataclass(frozen=True)
class _BuiltIn:
    """A format by its signs; `codec`, an attribute of `module`, opens and writes it."""

    name: str
    recognises: Callable[[Path], bool]
    module: str
    codec: str

    def open(self, path: Path, options: OpenOptions) -> Dataset:
        return self._codec().open(path, options)

    def write(self, dataset: Dataset, path: Path) -> list[str]:
        return self._codec().write(dataset, path)

    def _codec(self) -> Codec:
        found: Codec = getattr(importlib.import_module(f"{__name__}.{self.module}"), self.codec)
        return found


_BUILT_IN: tuple[Format, ...] = (  # the surest signs first, the image folder last
    _BuiltIn("arrow", signs.arrow, "arrow", "ARROW"),
    _BuiltIn("parquet", signs.parquet, "parquet", "PARQUET"),
    _BuiltIn("npz", signs.file_of(".npz"), "npz", "NPZ"),
    _BuiltIn("webdataset", signs.webdataset, "webdataset", "WEBDATASET"),
    _BuiltIn("idx", signs.idx, "idx", "IDX"),
    _BuiltIn("csv", signs.file_of(".csv"), "text", "CSV"),
    _BuiltIn("jsonl", signs.file_of(".jsonl"), "text", "JSONL"),
    _BuiltIn("folder", signs.folder, "folder", "FOLDER"),
)
for _format in _BUILT_IN:
    FORMATS.register(_format.name, _format)
