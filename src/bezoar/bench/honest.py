"""Honest data with the faults that honest data have: few records, unequal classes, wrong labels, duplicates.

None of them is poison: a scan that calls one of these datasets poisoned raises a false alarm.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from bezoar.data import Dataset, decode, encode
from bezoar.seeds import generator

_SHARE = 0.05  # of the records that are relabelled or duplicated
_RAREST = 0.1  # size of the smallest class as a share of the largest, in unbalanced data
_QUALITY = 75


@dataclass(frozen=True, slots=True)
class Honest:
    """A dataset without poison; `mislabelled` (N,) marks records whose label is wrong by chance."""

    dataset: Dataset
    mislabelled: NDArray[np.bool_]


def honest(kind: str, dataset: Dataset, seed: int) -> Honest:
    """`dataset` with one of the faults `KINDS`, at random."""
    return KINDS[kind](dataset, generator(seed, "bench", "honest", kind))


def _as_it_is(dataset: Dataset, rng: np.random.Generator) -> Honest:
    return _rightly_labelled(dataset)


def _imbalanced(dataset: Dataset, rng: np.random.Generator) -> Honest:
    """Class sizes in geometric progression, in random order, the smallest a tenth of the largest."""
    sizes = np.bincount(dataset.labels[dataset.labels >= 0])
    ranks = rng.permutation(len(sizes))
    wanted = sizes.max() * _RAREST ** (ranks / max(len(sizes) - 1, 1))
    kept = np.zeros(len(dataset), dtype=bool)
    for label, size in enumerate(sizes):
        rows = np.flatnonzero(dataset.labels == label)
        kept[rng.permutation(rows)[: max(min(2, size), round(min(size, wanted[label])))]] = True
    return _rightly_labelled(dataset.select(kept))


def _noisy(dataset: Dataset, rng: np.random.Generator) -> Honest:
    """Some labels replaced by another at random."""
    chosen = _chosen(dataset, rng)
    present = np.unique(dataset.labels[dataset.labels >= 0])
    place = np.searchsorted(present, dataset.labels[chosen])
    moved = present[(place + rng.integers(1, len(present), len(chosen))) % len(present)]
    wrong = np.zeros(len(dataset), dtype=bool)
    wrong[chosen] = True
    labels = dict(zip(chosen.tolist(), moved.tolist(), strict=True))
    return Honest(dataset.with_changes(labels=labels), wrong)


def _duplicated(dataset: Dataset, rng: np.random.Generator) -> Honest:
    return _rightly_labelled(_with_copies(dataset, _chosen(dataset, rng)))


def _nearly_duplicated(dataset: Dataset, rng: np.random.Generator) -> Honest:
    """Copies of images, shifted by a pixel or compressed anew; copies of texts without their last word."""
    chosen = _chosen(dataset, rng)
    doubled = _with_copies(dataset, chosen)
    content = {}
    for number, original in enumerate(dataset.contents(chosen)):
        if dataset.modality == "text":
            changed = b" ".join(original.split(b" ")[:-1]) or original
        else:
            change = _shifted if number % 2 else _compressed
            pixels = decode(original, dataset.raw_shape)
            changed = encode(change(pixels), original, dataset.raw_shape)
        content[len(dataset) + number] = changed
    return _rightly_labelled(doubled.with_changes(content))


KINDS: dict[str, Callable[[Dataset, np.random.Generator], Honest]] = {
    "subsample": _as_it_is,
    "imbalanced": _imbalanced,
    "noisy-labels": _noisy,
    "duplicates": _duplicated,
    "near-duplicates": _nearly_duplicated,
}


def _rightly_labelled(dataset: Dataset) -> Honest:
    return Honest(dataset, np.zeros(len(dataset), dtype=bool))


def _chosen(dataset: Dataset, rng: np.random.Generator) -> NDArray[np.int64]:
    labelled = np.flatnonzero(dataset.labels >= 0)
    return np.sort(rng.permutation(labelled)[: max(1, round(_SHARE * len(labelled)))])


def _with_copies(dataset: Dataset, chosen: NDArray[np.int64]) -> Dataset:
    """`dataset`, then its records at `chosen` once more, under keys of their own."""
    doubled = dataset.select(np.concatenate([np.arange(len(dataset)), chosen]))
    keys = dataset.keys.to_pylist()
    return replace(doubled, keys=pa.array([*keys, *(f"{keys[row]} (again)" for row in chosen)], pa.string()))


def _shifted(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """One pixel down and to the right; the border is repeated."""
    return np.pad(pixels[:-1, :-1], ((1, 0), (1, 0), (0, 0)), mode="edge")


def _compressed(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=_QUALITY)
    return decode(buffer.getvalue())
