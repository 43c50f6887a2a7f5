"""Splitting a dataset in two, with groups kept whole (tracks, patients, sources)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bezoar.data.dataset import Dataset
from bezoar.errors import UsageError
from bezoar.seeds import generator


def split(
    dataset: Dataset, fraction: float, *, group: str | None = None, seed: int
) -> tuple[Dataset, Dataset]:
    """Two datasets, the first with about `fraction` of the records; no value of the column `group` is on both
    sides.

    Records keep their order. UsageError when `fraction` is not within (0, 1) or there is no such column.
    """
    if not 0.0 < fraction < 1.0:
        raise UsageError(f"fraction {fraction} must lie between 0 and 1")
    if group is None:
        units = np.arange(len(dataset))
    else:
        units = np.unique(dataset.column(group).astype(str), return_inverse=True)[1]
    sizes = np.bincount(units)
    order = generator(seed, "split").permutation(len(sizes))
    # groups are taken in random order for as long as the first side stays nearest to its share
    before = np.cumsum(sizes[order]) - sizes[order] / 2
    chosen = np.zeros(len(sizes), dtype=bool)
    chosen[order[before <= fraction * len(dataset)]] = True
    first = chosen[units]
    return dataset.select(first), dataset.select(~first)


def with_labels(dataset: Dataset, names: Sequence[str]) -> Dataset:
    """The records whose label has one of these names; UsageError for a name that no class has."""
    unknown = [name for name in names if name not in dataset.label_names]
    if unknown:
        raise UsageError(f"{dataset.path}: no label {unknown[0]!r}; labels: {', '.join(dataset.label_names)}")
    return dataset.select(np.isin(dataset.labels, [dataset.label_names.index(name) for name in names]))
