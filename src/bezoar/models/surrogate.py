"""A classifier trained on a clean dataset, in whose stead of the victim's an attack reckons.

It has the shape that `bezoar.attacks.Surrogate` asks for.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from bezoar.data.dataset import Dataset
from bezoar.data.loading import image_sizes, load_images
from bezoar.errors import InputError
from bezoar.models.train import train_classifier

if TYPE_CHECKING:
    import torch

_SMALLEST, _LARGEST = 16, 64  # side of its images: what the network can take, what two cores can train


@dataclass(frozen=True)
class TrainedSurrogate:
    """`module` takes float images (N, 3, size, size) in [0, 1] to logits (N, K), without its last layer to features (N, D)."""

    name: str
    size: int
    module: torch.nn.Sequential

    @property
    def features(self) -> torch.nn.Sequential:
        """The module without its last layer."""
        return self.module[:-1]

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of the weights, by name."""
        total = hashlib.sha256()
        for name, weight in sorted(self.module.state_dict().items()):
            total.update(name.encode() + np.ascontiguousarray(weight.cpu().numpy()).tobytes())
        return total.hexdigest()


def train_surrogate(dataset: Dataset, *, epochs: int = 8, seed: int) -> TrainedSurrogate:
    """Train `bezoar.models.train`'s network on the readable, labelled records of `dataset`.

    Images are brought to one square size, within 16 to 64 pixels. InputError when there are no images to learn
    from; MissingExtraError without torch.
    """
    height, width = image_sizes(dataset) or (_LARGEST, _LARGEST)
    size = min(max(height, width, _SMALLEST), _LARGEST)
    batches = list(load_images(dataset, size))
    images = np.concatenate([batch.pixels for batch in batches])
    labels = dataset.labels[np.concatenate([batch.indices for batch in batches])]
    known = labels >= 0
    if not known.any():
        raise InputError(f"{dataset.path}: has no readable, labelled images to train a network on")
    classifier = train_classifier(
        images[known], labels[known], len(dataset.label_names), epochs=epochs, seed=seed
    )
    return TrainedSurrogate(f"four convolutions, {epochs} epochs", size, classifier.module)
