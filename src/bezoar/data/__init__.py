"""Opening and writing datasets: one `Dataset` of `Record`s over every format. Names are loaded on first use."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bezoar.data.arrays import from_arrays
    from bezoar.data.dataset import NO_LABEL, Dataset, FurtherReader, Modality, Reader, Record
    from bezoar.data.formats import FORMATS, Format, OpenOptions
    from bezoar.data.images import decode, encode
    from bezoar.data.loading import Batch, image_sizes, load_images
    from bezoar.data.opening import open_dataset as open  # noqa: A004 - `bezoar.data.open` is the documented name
    from bezoar.data.opening import write_dataset as write
    from bezoar.data.splitting import split, with_labels

__all__ = [
    "FORMATS",
    "NO_LABEL",
    "Batch",
    "Dataset",
    "Format",
    "FurtherReader",
    "Modality",
    "OpenOptions",
    "Reader",
    "Record",
    "decode",
    "encode",
    "from_arrays",
    "image_sizes",
    "load_images",
    "open",
    "split",
    "with_labels",
    "write",
]

_HOME = {
    "FORMATS": ("formats", "FORMATS"),
    "NO_LABEL": ("dataset", "NO_LABEL"),
    "Batch": ("loading", "Batch"),
    "Dataset": ("dataset", "Dataset"),
    "Format": ("formats", "Format"),
    "FurtherReader": ("dataset", "FurtherReader"),
    "Modality": ("dataset", "Modality"),
    "OpenOptions": ("formats", "OpenOptions"),
    "Reader": ("dataset", "Reader"),
    "Record": ("dataset", "Record"),
    "decode": ("images", "decode"),
    "encode": ("images", "encode"),
    "from_arrays": ("arrays", "from_arrays"),
    "image_sizes": ("loading", "image_sizes"),
    "load_images": ("loading", "load_images"),
    "open": ("opening", "open_dataset"),
    "split": ("splitting", "split"),
    "with_labels": ("splitting", "with_labels"),
    "write": ("opening", "write_dataset"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _HOME[name]
    return getattr(importlib.import_module(f"{__name__}.{module}"), attribute)
