"""The data that the zoo's models learn and are tried on. The test split is in two halves, the same for all models.

One half judges: accuracy and whether a trigger is obeyed. The other is what whoever inspects a model may see of clean data.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bezoar.bench.packs import PACKS, SYNTHETIC, load
from bezoar.data import Dataset, load_images, split
from bezoar.data import open as open_dataset

_SPLIT_SEED = 0
_SYNTHETIC_TESTED = 400


@dataclass(frozen=True, slots=True)
class Task:
    """A data pack as networks learn it: `records` to train on, channels, epochs by architecture, mirror images or not."""

    name: str
    title: str
    pack: str
    records: int
    channels: int
    epochs: dict[str, int]
    mirrored: bool

    def train(self, seed: int, packs: Path | None) -> Dataset:
        """The records of one model."""
        drawn = _SPLIT_SEED if self.pack == SYNTHETIC else seed  # its classes look different under each seed
        return load(PACKS[self.pack], self.records, drawn, packs).train

    def halves(self, packs: Path | None) -> tuple[Dataset, Dataset]:
        """The test split: what models are judged by, and what the inspector sees."""
        pack = PACKS[self.pack]
        if packs is None or pack.test is None:
            test = load(pack, _SYNTHETIC_TESTED, _SPLIT_SEED, packs).test
        else:
            test = open_dataset(packs / pack.test)
        return split(test, 0.5, seed=_SPLIT_SEED)

    def fed(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """RGB images (N, H, W, 3) as this task's networks see them, (N, H, W, C): grey by ITU-R BT.601, as Pillow counts."""
        if self.channels == 3:
            return pixels
        weighted = pixels.astype(np.uint32) @ np.array([19595, 38470, 7471], np.uint32) + 0x8000
        return (weighted >> 16).astype(np.uint8)[..., None]

    def samples(self, dataset: Dataset) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Its images (N, H, W, C) and labels (N,)."""
        batches = list(load_images(dataset, None))
        labels = dataset.labels[np.concatenate([batch.indices for batch in batches])]
        return self.fed(np.concatenate([batch.pixels for batch in batches])), labels.astype(np.int64)


TASKS = {
    task.name: task
    for task in (
        Task("gtsrb", "GTSRB", "gtsrb", 20_000, 3, {"resnet": 7, "vgg": 5}, mirrored=False),
        Task("cifar10", "CIFAR-10", "cifar10", 12_000, 3, {"resnet": 5, "vgg": 4}, mirrored=True),
        Task(
            "fashion",
            "Fashion-MNIST",
            "fashion_mnist",
            12_000,
            1,
            {"resnet": 4, "vgg": 4, "vit": 9, "mlp": 16},
            mirrored=False,
        ),
        Task("synthetic", "synthetic", SYNTHETIC, 1_200, 3, {"vgg": 6}, mirrored=False),
    )
}
