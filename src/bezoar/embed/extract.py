"""Features of a whole dataset: streamed through an encoder, and kept on disk for the next scan."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from bezoar.data import Dataset, load_images
from bezoar.embed.base import Encoder, Features
from bezoar.embed.store import FeatureStore
from bezoar.errors import InputError, OutputError
from bezoar.progress import track
from bezoar.seeds import generator

Unreadable = list[tuple[int, str]]  # record index, reason

_BATCH = 512
_CHECKPOINT = 8  # batches between two records of progress


def features(
    dataset: Dataset, encoder: Encoder, *, seed: int, cache: Path | None = None
) -> tuple[Features, Unreadable]:
    """Features, float32 (N, D), of all N records, and the records that cannot be decoded (rows of NaN).

    The encoder is first adapted to an unlabelled sample of the dataset (see `fit`). With a `cache` folder
    the features lie there in a memory-mapped file named by the digests of the dataset and the encoder and
    by the seed; an interrupted run goes on where it stopped, and a damaged file is computed again. Without
    one they are in memory. Raises InputError when no image can be read, OutputError when the cache cannot
    be written.
    """
    if cache is None:
        rows = np.empty((len(dataset), encoder.dim), np.float32)
        unreadable: Unreadable = []
        fitted = fit(dataset, encoder, seed)
        with track("features", len(dataset)) as bar:
            for start, block, lost in _blocks(dataset, fitted, 0):
                rows[start : start + len(block)] = block
                unreadable += lost
                bar.advance(len(block))
        return rows, unreadable
    try:
        with FeatureStore.open(cache, _key(dataset, encoder, seed), (len(dataset), encoder.dim)) as store:
            if not store.complete:
                _fill(store, dataset, fit(dataset, encoder, seed))
            return store.rows(), store.unreadable
    except OSError as error:
        advice = "free some space, or set BEZOAR_CACHE to another folder"
        raise OutputError(f"{cache}: features cannot be kept there ({error.strerror}); {advice}") from error


def fit(dataset: Dataset, encoder: Encoder, seed: int) -> Encoder:
    """The encoder adapted to a uniform, seeded, unlabelled sample of the dataset; a pretrained one as it is.

    Raises InputError when none of the sampled images can be read.
    """
    if encoder.sample_size == 0 or len(dataset) == 0:
        return encoder
    count = min(encoder.sample_size, len(dataset))
    chosen = np.sort(generator(seed, "encoder sample").choice(len(dataset), count, replace=False))
    sample = np.empty((count, encoder.size, encoder.size, 3), np.uint8)
    done = 0
    for batch in load_images(dataset.select(chosen), encoder.size, _BATCH):
        sample[done : done + len(batch.pixels)] = batch.pixels
        done += len(batch.pixels)
    if done == 0:
        raise InputError(f"{dataset.path}: none of {count} sampled records can be read as an image")
    return encoder.fit(sample[:done], seed)


def _fill(store: FeatureStore, dataset: Dataset, fitted: Encoder) -> None:
    """Compute the rows that the store lacks; keep what is done when interrupted."""
    store.begin(fitted.digest)
    with track("features", len(dataset)) as bar:
        bar.advance(store.done)
        for number, (_, block, lost) in enumerate(_blocks(dataset, fitted, store.done)):
            store.append(block, lost)
            bar.advance(len(block))
            if number % _CHECKPOINT == _CHECKPOINT - 1:
                store.checkpoint()
    store.finish()


def _blocks(dataset: Dataset, encoder: Encoder, start: int) -> Iterator[tuple[int, Features, Unreadable]]:
    """Blocks of rows from record `start` on: index of the first, rows, what was unreadable."""
    first = start
    rest = dataset.select(np.arange(start, len(dataset))) if start else dataset
    for batch in load_images(rest, encoder.size, _BATCH):
        lost = [(start + index, reason) for index, reason in batch.unreadable]
        block = np.full((len(batch.indices) + len(lost), encoder.dim), np.nan, np.float32)
        if len(batch.indices):
            block[start + batch.indices - first] = encoder.encode(batch.pixels)
        yield first, block, lost
        first += len(block)


def _key(dataset: Dataset, encoder: Encoder, seed: int) -> str:
    """Names the cache entry: changes with any record, any weight, the seed."""
    return hashlib.sha256(f"{dataset.digest}\n{encoder.digest}\n{seed}".encode()).hexdigest()
