"""Applying a scan: the dataset without the records that it flagged."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from bezoar.data.dataset import Dataset
from bezoar.errors import InputError
from bezoar.scan.result import ScanResult, Severity


def clean(
    dataset: Dataset, result: ScanResult, *, drop: Collection[Severity] = (Severity.POISON,)
) -> Dataset:
    """The records of `dataset` that no finding of the severities in `drop` holds, in their order.

    InputError when `dataset` is not, byte for byte and label for label, the one that was scanned.
    """
    if len(dataset) != result.n_records or dataset.digest != result.digest:
        raise InputError(
            f"{dataset.path}: is not the dataset that was scanned, or has changed; scan it again"
        )
    return dataset.select(~dropped(result, drop))


def dropped(result: ScanResult, drop: Collection[Severity]) -> NDArray[np.bool_]:
    """Mask (N,) of the records that a finding of one of these severities holds."""
    numbers = [number for number, finding in enumerate(result.findings) if finding.severity in drop]
    return np.isin(np.asarray(result.scores["finding"].to_numpy()), numbers)
