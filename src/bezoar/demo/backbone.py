"""A trained network without its last layer, as an encoder: the "pretrained backbone" that others build on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from bezoar.embed import Features, Images
from bezoar.models.train import Classifier


@dataclass(frozen=True)
class Backbone:
    """The penultimate activations of a classifier (see `bezoar.embed.DifferentiableEncoder`)."""

    classifier: Classifier
    name: str
    size: int
    dim: int
    sample_size: int = 0

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the weights."""
        total = hashlib.sha256()
        for key, value in self.classifier.module.state_dict().items():
            total.update(key.encode() + value.numpy().tobytes())
        return total.hexdigest()

    def fit(self, sample: Images, seed: int) -> Backbone:
        """Itself: it is pretrained."""
        return self

    def encode(self, images: Images) -> Features:
        """Features, float32 (N, D), of uint8 images (N, size, size, 3)."""
        return self.classifier.features(images)

    def torch_module(self) -> Any:
        """The same as a differentiable `torch.nn.Module`, frozen."""
        return self.classifier.module[:-1].eval().requires_grad_(False)
