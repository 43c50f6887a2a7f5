"""The data that a benchmark measures on: samples of real packs, a different one per seed, each with a held-out test set."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bezoar.data import Dataset, Modality, from_arrays, split
from bezoar.data import open as open_dataset
from bezoar.errors import InputError
from bezoar.seeds import generator

_HELD_OUT = 0.2  # of a pack that has no test set
_MOST_TESTED = 2_000
_SYNTHETIC_CLASSES, _SYNTHETIC_SIDE = 4, 20


@dataclass(frozen=True, slots=True)
class Pack:
    """One dataset: files relative to the folder of packs; `test` None where a fifth is held out of `train`.

    `group` is the column of near-duplicates that are sampled as a whole.
    """

    name: str
    title: str
    modality: Modality
    train: str
    test: str | None = None
    group: str | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """What one trial works on; no record is in both."""

    train: Dataset
    test: Dataset


SYNTHETIC = "synthetic"
PACKS = {
    pack.name: pack
    for pack in (
        Pack("gtsrb", "GTSRB", "image", "gtsrb/train32.parquet", "gtsrb/test32.parquet", "track"),
        Pack("cifar10", "CIFAR-10", "image", "cifar10/train.parquet", "cifar10/test.parquet"),
        Pack(
            "fashion_mnist",
            "Fashion-MNIST",
            "image",
            "fashion_mnist/train-images-idx3-ubyte.gz",
            "fashion_mnist/t10k-images-idx3-ubyte.gz",
        ),
        Pack("flowers128", "Flowers, 128 px", "image", "flowers128/train.parquet"),
        Pack("sst2", "SST-2", "text", "text/sst2/train.parquet", "text/sst2/test.parquet"),
        Pack("ag_news", "AG News", "text", "text/ag_news/train.parquet", "text/ag_news/test.parquet"),
        Pack("sms", "SMS Spam", "text", "text/sms_spam/train.parquet"),
        Pack(SYNTHETIC, "synthetic", "image", ""),
    )
}


def packs_folder() -> Path:
    """Where the real packs are: the environment variable BEZOAR_DATA; InputError when it names no folder."""
    value = os.environ.get("BEZOAR_DATA", "")
    if not value:
        raise InputError("BEZOAR_DATA is not set: it names the folder of the data packs that are measured on")
    if not Path(value).is_dir():
        raise InputError(f"BEZOAR_DATA: {value} is no folder; it must hold the data packs, such as cifar10/")
    return Path(value)


def missing_files(pack: Pack, folder: Path | None) -> list[Path]:
    """Files of `pack` that are not there."""
    if pack.name == SYNTHETIC or folder is None:
        return []
    wanted = [folder / name for name in (pack.train, pack.test) if name]
    return [path for path in wanted if not path.is_file()]


def load(pack: Pack, records: int, seed: int, folder: Path | None) -> Sample:
    """About `records` records to train on (all, where there are fewer), whole groups, and at most 2,000 to test on."""
    if pack.name == SYNTHETIC:
        return Sample(_synthetic(records, seed, "train"), _synthetic(max(100, records // 4), seed, "test"))
    if folder is None:
        raise InputError(f"{pack.name}: the folder of the data packs is not known; set BEZOAR_DATA")
    train = open_dataset(folder / pack.train)
    if pack.test is None:
        test, train = split(train, _HELD_OUT, seed=seed)
    else:
        test = open_dataset(folder / pack.test)
    if test.label_names != train.label_names:
        raise InputError(f"{pack.name}: its train and test files do not have the same labels")
    return Sample(
        _sampled(train, records, pack.group, seed, "train"), _sampled(test, _MOST_TESTED, None, seed, "test")
    )


def _sampled(dataset: Dataset, records: int, group: str | None, seed: int, purpose: str) -> Dataset:
    if len(dataset) <= records:
        return dataset
    if group is not None:
        return split(dataset, records / len(dataset), group=group, seed=seed)[0]
    chosen = generator(seed, "bench", purpose).permutation(len(dataset))[:records]
    return dataset.select(np.sort(chosen))


def _synthetic(records: int, seed: int, purpose: str) -> Dataset:
    """Four classes of coloured blobs in noise: enough for a scan to run on, not to judge it by."""
    side, classes = _SYNTHETIC_SIDE, _SYNTHETIC_CLASSES
    rng = generator(seed, "bench", "synthetic", purpose)
    colours = generator(seed, "bench", "synthetic colours").uniform(40, 215, (classes, 2, 2, 3))
    labels = np.arange(records) % classes
    coarse = colours[labels] + rng.normal(0, 20, (records, 2, 2, 3))
    smooth = np.kron(coarse, np.ones((1, side // 2, side // 2, 1)))
    pixels = np.clip(smooth + rng.normal(0, 25, smooth.shape), 0, 255).astype(np.uint8)
    return from_arrays(pixels, labels, tuple("abcd"))
