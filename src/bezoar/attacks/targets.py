"""The one image that a targeted attack wants misread: a record of the dataset, or a file.

`OneTarget` has what the clean-label attacks on one image share.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from bezoar.attacks import patterns
from bezoar.attacks.base import require
from bezoar.attacks.defaults import SourceToTarget
from bezoar.data.dataset import Dataset
from bezoar.data.images import decode
from bezoar.errors import InputError, UsageError


@dataclass(frozen=True)
class Target:
    """Pixels (H, W, 3) of the target, and what the ground truth records of it."""

    pixels: NDArray[np.uint8]
    details: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class OneTarget(SourceToTarget):
    """Poison from `source`, which keeps its label, so that one image of another class is read as `source`."""

    name: ClassVar[str]

    source: int = field(metadata={"help": "class of the poisoned records, which keep this label"})
    target_index: int | None = field(
        default=None, metadata={"help": "record (by its place in the dataset) that is to be misread"}
    )
    target_image: str | None = field(
        default=None, metadata={"help": "image file that is to be misread, instead of a record"}
    )

    def __post_init__(self) -> None:
        given = (self.target_index is not None) + (self.target_image is not None)
        require(given == 1, f"{self.name} needs one target: target_index or target_image")

    @property
    def target(self) -> None:
        """No record changes its label."""
        return None

    def find_target(self, dataset: Dataset) -> Target:
        """The image; UsageError when it is no other class's image."""
        if self.target_image is None:
            return target_record(dataset, self.target_index, self.source)
        return target_file(self.target_image, self.source)


def target_record(dataset: Dataset, index: int | None, becomes: int) -> Target:
    """Record `index` of `dataset`, to be read as label `becomes`.

    UsageError when there is no such record or when it has that label already, InputError when it is
    unreadable.
    """
    if index is None or not 0 <= index < len(dataset):
        raise UsageError(f"target_index {index}: {dataset.path} has records 0 to {len(dataset) - 1}")
    record = dataset[index]
    if record.label == becomes:
        name = dataset.label_name(becomes)
        raise UsageError(f"target_index {index}: is of the class {name!r} already; choose another")
    details = {
        "target_key": record.key,
        "target_label": record.label,
        "target_becomes": becomes,
        "target_sha256": _sha256(record.content),
    }
    try:
        return Target(decode(record.content, dataset.raw_shape), details)
    except InputError as error:
        raise InputError(f"{dataset.path}: target record {record.key} is unreadable: {error}") from error


def target_file(path: str, becomes: int) -> Target:
    """The image file `path`, which is not in the dataset; UsageError or InputError when it is no image."""
    pixels = patterns.from_file(path, "a target_image: give the path of an image file")
    return Target(pixels, {"target_becomes": becomes, "target_sha256": _sha256(Path(path).read_bytes())})


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
